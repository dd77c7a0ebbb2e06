"""The compressors that jets are given to, with the packages that hold them; each package's only door in the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray
from pcodec import standalone

from benchmarks.jets_codecs import Bounded, Columns, Method, Numbers, Quantized, RootFile, Rows
from hepml_core.jets.bounds import Bound
from hepml_core.jets.packing import pack

Pack = Callable[[NDArray[Any]], bytes]
Unpack = Callable[[bytes], NDArray[Any]]

ZSTD_LEVEL = 19
BLOSC_LEVEL = 9
MANTISSA_BITS = 23
BELOW_HALF = 0.49
"""Error below which a whole number is still itself when it is rounded."""
MARGIN = 1 - 1e-3
"""Part of the bound that a compressor of floats is given; the rest is for the rounding of float32 and of logarithms."""


def methods() -> list[Method]:
    """Return the rows of the table that learn nothing."""
    return [
        Rows("zstd-19, rows", zstd, unzstd),
        Columns("zstd-19, columns", zstd, unzstd),
        Columns("blosc2 zstd-9, shuffle", blosc("SHUFFLE"), unblosc, needs="blosc2"),
        Columns("blosc2 zstd-9, bitshuffle", blosc("BITSHUFFLE"), unblosc, needs="blosc2"),
        Columns("pcodec", pack, unpack_floats),
        RootFile("ROOT zlib-1", "zlib"),
        RootFile("ROOT lz4-4", "lz4"),
        RootFile("ROOT zstd-5", "zstd"),
        truncated("truncation, zstd-19", zstd, unzstd),
        truncated("truncation, blosc2 shuffle", blosc("SHUFFLE"), unblosc, needs="blosc2"),
        truncated("truncation, blosc2 bitshuffle", blosc("BITSHUFFLE"), unblosc, needs="blosc2"),
        zfp("zfp, tolerance"),
        sz3("SZ3, interpolation (its default)", "INTERP_LORENZO"),
        sz3("SZ3, no prediction", "NOPRED"),
        Quantized("quantization, pcodec", guessed=False),
        truncated("arithmetic, truncation, zstd-19", zstd, unzstd, guessed=True),
        truncated(
            "arithmetic, truncation, blosc2 bitshuffle", blosc("BITSHUFFLE"), unblosc, guessed=True, needs="blosc2"
        ),
        zfp("arithmetic, zfp", guessed=True),
        sz3("arithmetic, SZ3, no prediction", "NOPRED", guessed=True),
        Quantized("arithmetic, quantization, pcodec", guessed=True),
    ]


def zstd(value_n: NDArray[Any]) -> bytes:
    """Compress the bytes of numbers as they are."""
    return zstandard.compress(value_n.tobytes(), ZSTD_LEVEL)


def unzstd(content: bytes) -> Numbers:
    """Return numbers of 32 bits again."""
    return np.frombuffer(zstandard.decompress(content), np.float32).copy()


def blosc(regroup: str) -> Pack:
    """Return zstd of blosc2 behind a filter: SHUFFLE regroups the bytes of numbers, BITSHUFFLE their bits."""

    def packed(value_n: NDArray[Any]) -> bytes:
        import blosc2

        return bytes(
            blosc2.compress2(
                np.ascontiguousarray(value_n),
                codec=blosc2.Codec.ZSTD,
                clevel=BLOSC_LEVEL,
                typesize=value_n.itemsize,
                filters=[blosc2.Filter[regroup]],
                filters_meta=[0],
                nthreads=1,
            )
        )

    return packed


def unblosc(content: bytes) -> Numbers:
    """Return numbers of 32 bits again."""
    import blosc2

    return np.frombuffer(blosc2.decompress2(content, nthreads=1), np.float32).copy()


def unpack_floats(content: bytes) -> Numbers:
    """Return numbers of 32 bits that pcodec packed."""
    return np.asarray(standalone.simple_decompress(content[1:]), np.float32)


def truncate(value_n: Numbers, bits: float) -> Numbers:
    """Round to the nearest floats with so many mantissa bits, those in the middle to even ones."""
    dropped = MANTISSA_BITS - int(bits)
    if not dropped:
        return value_n
    bits_n = np.ascontiguousarray(value_n).view(np.uint32)
    odd_n = (bits_n >> np.uint32(dropped)) & np.uint32(1)
    rounded_n = bits_n + np.uint32((1 << (dropped - 1)) - 1) + odd_n
    return (rounded_n >> np.uint32(dropped) << np.uint32(dropped)).view(np.float32)


def limit_of(bound: Bound) -> float:
    """Return the largest absolute error that a compressor is given, of logarithms where the bound is relative."""
    if not bound.size:
        return BELOW_HALF
    return float(np.log1p(bound.size) if bound.relative else bound.size) * MARGIN


def truncated(name: str, pack: Pack, unpack: Unpack, *, guessed: bool = False, needs: str = "") -> Bounded:
    """Return floats of the fewest mantissa bits that hold the bound."""

    def packed(value_n: Numbers, bits: float) -> bytes:
        return pack(truncate(value_n, bits))

    def choices(bound: Bound) -> Sequence[float]:  # noqa: ARG001
        return range(MANTISSA_BITS + 1)

    return Bounded(name, packed, unpack, truncate, choices, log=False, guessed=guessed, needs=needs)


def sz3(name: str, algorithm: str, *, guessed: bool = False) -> Bounded:
    """Return SZ3 with an absolute error; it predicts from neighbours, which tell nothing of jets, unless told not to."""

    def packed(value_n: Numbers, error: float) -> bytes:
        from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

        config = szConfig(value_n.shape)
        config.errorBoundMode = szErrorBoundMode.ABS
        config.absErrorBound = error
        config.cmprAlgo = getattr(szAlgorithm, algorithm)
        content: bytes = sz.compress(np.ascontiguousarray(value_n), config)[0].tobytes()
        return np.array([len(value_n)], "<u8").tobytes() + content

    def unpacked(content: bytes) -> Numbers:
        from pysz import sz

        count = int(np.frombuffer(content[:8], "<u8")[0])
        return np.asarray(sz.decompress(np.frombuffer(content[8:], np.uint8), np.float32, (count,))[0])

    def lossy(value_n: Numbers, error: float) -> Numbers:
        return unpacked(packed(value_n, error))

    return Bounded(
        name, packed, unpacked, lossy, lambda bound: [limit_of(bound)], log=True, guessed=guessed, needs="pysz"
    )


def zfp(name: str, *, guessed: bool = False) -> Bounded:
    """Return zfp with a tolerance: the largest that holds the bound, for its errors stay far below what it is given."""

    def packed(value_n: Numbers, tolerance: float) -> bytes:
        import zfpy

        return bytes(zfpy.compress_numpy(np.ascontiguousarray(value_n), tolerance=tolerance))

    def unpacked(content: bytes) -> Numbers:
        import zfpy

        return np.asarray(zfpy.decompress_numpy(content))

    def lossy(value_n: Numbers, tolerance: float) -> Numbers:
        return unpacked(packed(value_n, tolerance))

    def choices(bound: Bound) -> Sequence[float]:
        return [limit_of(bound) * factor for factor in (16, 8, 4, 2, 1)]

    return Bounded(name, packed, unpacked, lossy, choices, log=True, guessed=guessed, needs="zfpy")
