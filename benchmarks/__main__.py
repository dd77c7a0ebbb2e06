"""``python -m benchmarks [NAME …]``: measure ours and the peer's in turn, print times and ratios.

Every pair runs three times, ours and the peer's alternating; the medians count. The data are toy pictures that are made
first, and everything is read from the page cache, for both sides.
"""

from __future__ import annotations

import json
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

PICTURES = 20_000
DRAWN = 2_000
ROUNDS = 3

Numbers = dict[str, float]


def main(names: list[str]) -> None:
    """Run the benchmarks of the given names, or all."""
    with tempfile.TemporaryDirectory(prefix="hepml-bench-") as folder:
        work = Path(folder)
        for name in names or list(BENCHMARKS):
            print(f"== {name}: {(BENCHMARKS[name].__doc__ or '').splitlines()[0]}", flush=True)
            start = time.perf_counter()
            BENCHMARKS[name](work)
            print(f"   ({time.perf_counter() - start:.0f} s)\n", flush=True)


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
        return _run("benchmarks.peers", "convert", str(pictures), str(raw))

    _compare(ours, peer, PICTURES, "images")
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
            return _run("benchmarks.peers", "copy", str(shards), str(copy))

        print(f"   {label}, {size / 1e6:.0f} MB:")
        _compare(ours, peer, size / 1e6, "MB")


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

    own, other = _compare(ours, lambda: _run("benchmarks.peers", "normalize", str(pictures)), DRAWN, "images")
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

    _compare(
        lambda: rate(_run("benchmarks.ours", "read", str(dataset))),
        lambda: rate(_run("benchmarks.peers", "read", str(dataset))),
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


def _stage(name: str, settings: Mapping[str, object], **folders: Path) -> Numbers:
    words = [f"{folder}={path}" for folder, path in folders.items()]
    return _run("benchmarks.ours", "stage", name, json.dumps(dict(settings)), *words)


def _run(module: str, *words: str) -> Numbers:
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(words)} failed:\n{done.stderr}")
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: float(value) for name, separator, value in pairs if separator}


def _compare(
    ours: Callable[[], Numbers], peer: Callable[[], Numbers], amount: float, unit: str
) -> tuple[Numbers, Numbers]:
    """Run both in turn, print rates and their ratio; return the last numbers of each."""
    rounds = [(ours(), peer()) for _ in range(ROUNDS)]
    rates = [[amount / numbers["seconds"] for numbers in side] for side in zip(*rounds, strict=True)]
    own, other = (statistics.median(side) for side in rates)
    spread = [f"{min(side):.0f}-{max(side):.0f}" for side in rates]
    print(f"   ours {own:.0f} {unit}/s ({spread[0]}), peer {other:.0f} {unit}/s ({spread[1]}): ratio {own / other:.2f}")
    return rounds[-1]


BENCHMARKS: dict[str, Callable[[Path], None]] = {
    "convert": convert,
    "organize": organize,
    "normalize": normalize,
    "read": read,
    "memory": memory,
}

if __name__ == "__main__":
    main(sys.argv[1:])
