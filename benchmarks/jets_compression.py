"""The table of bytes per jet: every way to store jets, on the same jets, with the same largest errors.

Suffixes: e event, n jet.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.jets_codecs import Method, Stored, within
from benchmarks.jets_compressors import methods
from benchmarks.jets_samples import RECIPES, Sample, Sizes, Values, real_samples, toy_sample, training_rows
from benchmarks.measure import importable, numbers_of
from hepml_core.errors import DataError
from hepml_core.jets.bounds import Bound
from hepml_core.jets.codecs import AutoencoderCodec, Codec, ColumnCodec
from hepml_core.jets.compress import STEP_WITHOUT_BOUNDS
from hepml_core.jets.density_fit import DENSITY, read_density
from hepml_core.jets.grids import Grid
from hepml_core.jets.inference import Reconstructor
from hepml_core.jets.packing import pack
from hepml_core.training.checkpoints import WEIGHTS

ResultT = TypeVar("ResultT")

EVENTS_PER_BLOCK = 50_000
"""As compress has it; what learns nothing gets all jets at once."""
PART_BYTES = 8
"""What the archive says of the length of a part."""
BALER_ROWS = 200_000
ENOUGH_SECONDS = 1.0
MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        name: The method.
        jet_bytes: Bytes per jet; None where it could not be run.
        model_bytes: Bytes per jet of the model, spread over the jets of the sample.
        held: Part of the values that are within their bounds.
        encode_mb: Megabytes of float32 per second of one core.
        decode_mb: The same, back.
        remark: Why there are no numbers.
    """

    name: str
    jet_bytes: float | None = None
    model_bytes: float = 0.0
    held: float = 0.0
    encode_mb: float = 0.0
    decode_mb: float = 0.0
    remark: str = ""


def compression(work: Path, sizes: Sizes) -> None:
    """Bytes per jet of ours, of the autoencoder alone, and of 20 ways without learning, at the same largest errors."""
    import torch

    torch.set_num_threads(1)
    for name in RECIPES:
        sample = toy_sample(name, sizes)
        print_table(sample, [*table(sample), baler(sample, work)])
    for sample in real_samples(sizes):
        print_table(sample, table(sample))


def table(sample: Sample) -> Iterator[Row]:
    """Yield the line of each method.

    Raises:
        DataError: A method that promises bounds breaks one.
    """
    for method in methods():
        yield measure(method, sample)
    for own, lossy in ours(sample):
        yield measure(own, sample, holds_bounds=not lossy)


def measure(method: Method, sample: Sample, *, holds_bounds: bool = True) -> Row:
    """Encode and decode, by the clock of one core, and check every value.

    Raises:
        DataError: A value is outside its bound, where the method is to hold bounds.
    """
    if method.needs and not importable(method.needs):
        return Row(method.name, remark=f"not installed: pip install {method.needs} -c constraints.txt")
    method.tune(sample)
    parts, encode_seconds = timed(lambda: method.encode(sample))
    values, decode_seconds = timed(lambda: method.decode(parts, sample))
    held = share_within(sample.bounds, sample.values, values)
    if holds_bounds and held < 1:
        raise DataError(f"{method.name} keeps only {held:.6%} of the values of {sample.title} within their bounds")
    return Row(
        method.name,
        method.size(parts) / sample.jets,
        model_size(method) / sample.jets,
        held,
        sample.raw_bytes / 1e6 / encode_seconds,
        sample.raw_bytes / 1e6 / decode_seconds,
    )


def timed(work: Callable[[], ResultT]) -> tuple[ResultT, float]:
    """Return a result and the least time of this process's threads that it took in some rounds."""
    seconds: list[float] = []
    while not seconds or (len(seconds) < MOST_ROUNDS and sum(seconds) < ENOUGH_SECONDS):
        start = time.process_time()
        result = work()
        seconds.append(max(time.process_time() - start, 1e-9))
    return result, min(seconds)


def share_within(bounds: Mapping[str, Bound], values: Values, kept: Values) -> float:
    """Return the part of all values that are kept within their bounds."""
    return float(np.mean([within(bounds[name], value_n, kept[name]).mean() for name, value_n in values.items()]))


@dataclass
class Blocks(Stored):
    """One of our codecs, by blocks of events as compress writes them.

    Attributes:
        codec: The codec.
        model: Bytes of its model.
    """

    codec: Codec
    model: int = 0

    def encode(self, sample: Sample) -> list[bytes]:
        """See ``Method``."""
        return [part for values, count_e in blocks(sample) for part in self.codec.encode(values, count_e)]

    def decode(self, parts: Sequence[bytes], sample: Sample) -> Values:
        """See ``Method``."""
        dtypes = {name: np.dtype(np.float32) for name in sample.variables}
        counts = [count_e for _, count_e in blocks(sample)]
        per_block = len(parts) // len(counts)
        decoded = [
            self.codec.decode(parts[number * per_block : (number + 1) * per_block], count_e, dtypes)
            for number, count_e in enumerate(counts)
        ]
        return {name: np.concatenate([one[name] for one in decoded]) for name in sample.variables}

    def size(self, parts: Sequence[bytes]) -> int:
        """See ``Method``."""
        return sum(map(len, parts)) + PART_BYTES * len(parts)


@dataclass
class Latents(Stored):
    """The latent numbers of an autoencoder as they are: a ratio of dimensions."""

    reconstructor: Reconstructor
    model: int

    def encode(self, sample: Sample) -> list[bytes]:
        """See ``Method``."""
        return [self.reconstructor.encode(np.stack(list(sample.values.values()), axis=1)).tobytes()]

    def decode(self, parts: Sequence[bytes], sample: Sample) -> Values:
        """See ``Method``."""
        latent_nz = np.frombuffer(parts[0], np.float32).reshape(sample.jets, -1).copy()
        return dict(zip(sample.variables, self.reconstructor.decode(latent_nz).T, strict=True))


def model_size(method: Method) -> int:
    """Return the bytes of the model that decoding needs."""
    return int(getattr(method, "model", 0))


def blocks(sample: Sample) -> Iterator[tuple[dict[str, NDArray[Any]], NDArray[np.int64]]]:
    """Yield the values and numbers of jets of some events after the others."""
    edge_e = np.concatenate([[0], np.cumsum(sample.count_e)])
    for first in range(0, len(sample.count_e), EVENTS_PER_BLOCK):
        count_e = sample.count_e[first : first + EVENTS_PER_BLOCK]
        some = slice(edge_e[first], edge_e[first + len(count_e)])
        yield {name: value_n[some] for name, value_n in sample.values.items()}, count_e


def ours(sample: Sample) -> Iterator[tuple[Method, bool]]:
    """Yield our codecs, and whether each holds no bounds."""
    grids: dict[str, Grid | None] = {name: Grid(name, bound) for name, bound in sample.bounds.items()}
    yield Blocks("ours: codec=columns", ColumnCodec(grids)), False
    if "autoencoder" in sample.models:
        yield from autoencoders(sample, grids)
    if "density" in sample.models:
        folder = sample.models["density"]
        yield Blocks("ours: density", read_density(folder).coder(), len(folder.read(DENSITY))), False


def autoencoders(sample: Sample, grids: Mapping[str, Grid | None]) -> Iterator[tuple[Method, bool]]:
    """Yield the autoencoder alone, with rounded latent numbers, and with corrections."""
    folder = sample.models["autoencoder"]
    reconstructor, size = Reconstructor(folder, "cpu"), len(folder.read(WEIGHTS))
    widths = f"autoencoder {len(sample.values)}->{reconstructor.network.latent}"
    factors = dict.fromkeys(sample.variables, 1.0)

    def codec(step: float, some: Mapping[str, Grid | None]) -> AutoencoderCodec:
        return AutoencoderCodec(reconstructor, some, factors, step)

    yield Latents(f"{widths}, latent numbers alone", reconstructor, size), True
    rounded = f"{widths}, rounded to {STEP_WITHOUT_BOUNDS:g}, pcodec"
    yield Blocks(rounded, codec(STEP_WITHOUT_BOUNDS, {}), size), True
    yield Blocks(f"ours: {widths}, corrected", codec(0.0, grids), size), False


def baler(sample: Sample, work: Path) -> Row:
    """Train, compress and decompress by baler-compressor, as far as it goes."""
    name = f"baler-compressor {len(sample.values)}->{len(sample.values) * 3 // 4}, float64 latent numbers"
    if not importable("baler_compressor"):
        return Row(name, remark="not installed: pip install --no-deps baler-compressor numba llvmlite tqdm")
    train, test = work / "baler_train.npz", work / "baler_test.npz"
    for file, value_nf in (
        (train, training_rows(sample, BALER_ROWS)),
        (test, np.stack(list(sample.values.values()), axis=1)),
    ):
        np.savez(file, data=value_nf, names=np.array(sample.variables))
    restored = work / "baler_restored.npy"
    command = [sys.executable, "-m", "benchmarks.jets_peers", "baler", str(train), str(test), str(restored)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return Row(name, remark=f"cannot be run: {done.stderr.strip().splitlines()[-1]}")
    found = numbers_of(done.stdout)
    kept = dict(zip(sample.variables, np.load(restored).T, strict=True))
    return Row(
        name,
        found["bytes"] / sample.jets,
        found["model_bytes"] / sample.jets,
        share_within(sample.bounds, sample.values, kept),
        sample.raw_bytes / 1e6 / found["encode_seconds"],
        sample.raw_bytes / 1e6 / found["decode_seconds"],
    )


def print_table(sample: Sample, rows: Iterator[Row] | Sequence[Row]) -> None:
    """Print a sample's rows as they are measured, as a table in Markdown."""
    raw, structure = sample.raw_bytes / sample.jets, len(pack(sample.count_e)) / sample.jets
    print(f"\n   {sample.title}; {sample.jets} jets in {len(sample.count_e)} events, {raw:.0f} bytes a jet as float32")
    print(f"   (how many jets each event has takes {structure:.2f} bytes a jet more, in every row)\n")
    print("| method | bytes a jet | ratio | with its model | values within bound | encode MB/s | decode MB/s |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        if row.jet_bytes is None:
            print(f"| {row.name} | {row.remark} | | | | | |", flush=True)
            continue
        model = f"{row.jet_bytes + row.model_bytes:.2f}" if row.model_bytes else ""
        cells = (
            f"{row.jet_bytes:.2f}",
            f"{raw / row.jet_bytes:.2f}",
            model,
            "all" if row.held == 1 else f"{row.held:.2%}, no bound",
            f"{row.encode_mb:.0f}",
            f"{row.decode_mb:.0f}",
        )
        print(f"| {row.name} | {' | '.join(cells)} |", flush=True)
