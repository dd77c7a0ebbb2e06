"""event_images: ours against TensorFlow, cp and a DataLoader, on toy pictures that are made first."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from functools import partial
from pathlib import Path

from benchmarks.measure import Numbers, compare, run_module, run_stage

PICTURES = 20_000
DRAWN = 2_000

_stage = partial(run_stage, "event_images")


def convert(work: Path) -> None:
    """20,000 pictures of 300 x 300: ours against decoding and writing raw pixels with TensorFlow."""
    pictures = _pictures(work)
    size = sum(file.stat().st_size for file in pictures.glob("*/*.png"))
    blocks = sum(file.stat().st_blocks * 512 for file in pictures.glob("*/*.png"))
    shards, raw = work / "new-shards", work / "raw"

    def ours() -> Numbers:
        shutil.rmtree(shards, ignore_errors=True)
        return _stage("convert", {}, source=pictures, shards=shards)

    def peer() -> Numbers:
        shutil.rmtree(raw, ignore_errors=True)
        raw.mkdir()
        return run_module("benchmarks.peers", "convert", str(pictures), str(raw))

    compare(ours, peer, PICTURES, "images")
    written = sum(file.stat().st_size for file in shards.iterdir())
    raw_bytes = sum(file.stat().st_size for file in raw.iterdir())
    overhead = (written - size) / PICTURES
    print(
        f"   files {size / 1e6:.1f} MB (on disk {blocks / 1e6:.1f}), ours {written / 1e6:.1f} MB = {written / size:.4f} x"
    )
    print(f"   {overhead:.0f} bytes a picture more than the file; raw pixels take {raw_bytes / written:.1f} times ours")


def organize(work: Path) -> None:
    """Raw copy of records into shuffled splits: ours against cp of the same shards, small and large records."""
    pictures = _pictures(work)
    for label, source, settings in (("files", pictures, {}), ("raw pixels", _few(work), {"storage": "raw"})):
        shards = work / f"shards-{label.replace(' ', '-')}"
        if not shards.exists():
            _stage("convert", settings, source=source, shards=shards)
        size = sum(file.stat().st_size for file in shards.iterdir())
        dataset, copy = work / "organized", work / "copy"

        def ours(shards: Path = shards, dataset: Path = dataset) -> Numbers:
            shutil.rmtree(dataset, ignore_errors=True)
            return _stage("organize", {}, shards=shards, dataset=dataset)

        def peer(shards: Path = shards, copy: Path = copy) -> Numbers:
            shutil.rmtree(copy, ignore_errors=True)
            return run_module("benchmarks.peers", "copy", str(shards), str(copy))

        print(f"   {label}, {size / 1e6:.0f} MB:")
        compare(ours, peer, size / 1e6, "MB")


def normalize(work: Path) -> None:
    """Mean and std of 2,000 pictures: ours against two passes of a DataLoader."""
    pictures, dataset = _few(work), work / "all-train"
    if not dataset.exists():
        _stage("convert", {}, source=pictures, shards=work / "few-shards")
        everything = {"train_fraction": 1, "valid_fraction": 0, "test_fraction": 0}
        _stage("organize", everything, shards=work / "few-shards", dataset=dataset)
    statistics_folder = work / "statistics"

    def ours() -> Numbers:
        shutil.rmtree(statistics_folder, ignore_errors=True)
        return _stage("normalize", {}, dataset=dataset, statistics=statistics_folder)

    own, other = compare(ours, lambda: run_module("benchmarks.peers", "normalize", str(pictures)), DRAWN, "images")
    measured = json.loads((statistics_folder / "statistics.json").read_text())
    worst = max(abs(measured[kind][c] - other[f"{kind}_{c}"]) for kind in ("mean", "std") for c in range(3))
    print(
        f"   largest difference of a mean or standard deviation: {worst:.1e}; memory of ours {own['memory_mb']:.0f} MB"
    )


def read(work: Path) -> None:
    """Read decoded, shuffled batches for training: ours against tf.data on the same shards."""
    dataset = work / "dataset"
    if not dataset.exists():
        _stage("convert", {}, source=_pictures(work), shards=work / "read-shards")
        _stage("organize", {}, shards=work / "read-shards", dataset=dataset)

    def rate(numbers: Numbers) -> Numbers:
        return {"seconds": numbers["seconds"] / numbers["images"]}

    compare(
        lambda: rate(run_module("benchmarks.ours", "read", str(dataset))),
        lambda: rate(run_module("benchmarks.peers", "read", str(dataset))),
        1,
        "images",
    )


def memory(work: Path) -> None:
    """Peak memory of convert and organize on 100,000 and 1,000,000 small pictures."""
    import imagecodecs
    import numpy as np

    noise = np.random.default_rng(0)
    for count in (100_000, 1_000_000):
        pictures = work / f"small-{count}"
        for number in range(count):
            folder = pictures / f"class{number % 2}" / f"{number // 10_000:03d}"
            if number % 10_000 < 2:
                folder.mkdir(parents=True, exist_ok=True)
            pixels = noise.integers(0, 255, (8, 8, 3), np.uint8)
            (folder / f"{number:07d}.png").write_bytes(imagecodecs.png_encode(pixels, level=1))
        shards, dataset = work / f"small-shards-{count}", work / f"small-dataset-{count}"
        for numbers, what in (
            (_stage("convert", {}, source=pictures, shards=shards), "convert"),
            (_stage("organize", {}, shards=shards, dataset=dataset), "organize"),
        ):
            memory = f"{numbers['memory_mb']:.0f} MB, each worker {numbers['worker_memory_mb']:.0f} MB"
            print(f"   {what} {count}: {numbers['seconds']:.1f} s, peak memory {memory}", flush=True)
        shutil.rmtree(pictures)


def _pictures(work: Path) -> Path:
    """Return 20,000 pictures: 2,000 that are drawn, and copies of them that differ in a comment."""
    pictures = work / "pictures"
    if not pictures.exists():
        for file in sorted(_few(work).glob("*/*.png")):
            content = file.read_bytes()
            folder = pictures / file.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            for copy in range(PICTURES // DRAWN):
                text = b"tEXtcopy\0%d" % copy
                chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
                (folder / f"{file.stem}_{copy}.png").write_bytes(content[:-12] + chunk + content[-12:])
    return pictures


def _few(work: Path) -> Path:
    pictures = work / "drawn"
    if not pictures.exists():
        _stage("generate", {"classes": ["higgs", "qcd"], "events_per_class": DRAWN // 2}, source=pictures)
    return pictures
