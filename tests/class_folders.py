"""Sources built for tests: folders of small pictures, one a class, and what a stage left of them."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hepml_core.examples import decode_example
from hepml_core.storage import LocalFolder
from hepml_core.tfrecord import read_records

Picture = NDArray[Any]


def picture(number: int, *, size: tuple[int, int] = (8, 8), channels: int = 3, bits: int = 8) -> Picture:
    """Return a picture (y, x, c) of noise that no other number gives."""
    chance = np.random.default_rng([number, *size, channels, bits])
    return chance.integers(0, 2**bits, (*size, channels), f"uint{bits}")


def png(picture_yxc: Picture) -> bytes:
    """Encode a picture as PNG: 1 grey, 2 grey and alpha, 3 colour or 4 colour and alpha channels."""
    return bytes(imagecodecs.png_encode(picture_yxc[..., 0] if picture_yxc.shape[-1] == 1 else picture_yxc))


def with_pillow(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Encode a picture in one of Pillow's modes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(number: int, size: int = 8) -> bytes:
    """Return a JPEG of noise."""
    return with_pillow(Image.fromarray(picture(number, size=(size, size))), "JPEG")


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a PNG chunk with the right checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    """Return an 8-bit colour PNG whose header and checksums are right, whatever pixels are in it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files by name."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def noise_classes(folder: Path, first: int = 0, count: int = 6, names: tuple[str, ...] = ("higgs", "qcd")) -> Path:
    """Write ``count`` different pictures of each class, numbered from ``first``."""
    return write(
        folder,
        {
            f"{name}/{n:04d}.png": png(picture(1000 * label + n))
            for label, name in enumerate(names)
            for n in range(first, first + count)
        },
    )


def bright_and_dark(folder: Path, count: int = 60, size: int = 32) -> Path:
    """Write two classes that any network can tell: hits over the whole picture, or over a small part of it."""
    for label, name in enumerate(("bright", "dark")):
        for n in range(count):
            chance = np.random.default_rng([label, n])
            lit_yx = chance.random((size, size)) < (0.05 if label else 0.4)
            shown = chance.integers(100, 256, (size, size, 3), np.uint8) * lit_yx[..., None]
            write(folder, {f"{name}/{n:04d}.png": png(shown.astype(np.uint8))})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder by name, without what killed processes left behind."""
    walk = LocalFolder(folder).walk()
    return {found.name: (folder / found.name).read_bytes() for found in walk if not found.name.startswith(".")}


def shard_bytes(folder: Path) -> dict[str, bytes]:
    """Return the shards and indices of a folder by name."""
    return {name: content for name, content in contents(folder).items() if ".tfrecord" in name}


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return what a manifest says."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def examples(folder: Path, start: str = "") -> list[dict[str, Any]]:
    """Return all records of the shards whose names start so; features of one value come without their list."""
    return [
        {name: values[0] if len(values) == 1 else values for name, values in decode_example(content).items()}
        for shard in sorted(folder.glob(f"{start}*.tfrecord"))
        for content in read_records(shard)
    ]


def skipped(folder: Path) -> dict[str, str]:
    """Return the files that a stage left out, with its reasons."""
    return {one["file"]: one["reason"] for one in manifest_of(folder)["facts"]["skipped"]}
