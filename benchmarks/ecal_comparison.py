"""ecal: does time help? Networks on the same events, for the same epochs, from three seeds each.

Toys, dataset and fits are made once and kept in ``TMPDIR``, so that a run that was stopped goes on. Two fits run side by
side, each on one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hepml_core.artifacts import read_manifest
from hepml_core.metrics import Measured
from hepml_core.plots import plot_comparison
from hepml_core.provenance import describe_run
from hepml_core.report import Cell, Report
from hepml_core.storage import open_folder
from hepml_core.training.history import read_history

NETWORKS: Mapping[str, Mapping[str, object]] = {
    "2D, energy (bearnet)": {"architecture": "bearnet", "use_time": False},
    "2D, energy and time": {"architecture": "bearnet"},
    "3D, movies (cnn3d)": {"architecture": "cnn3d"},
    "3D, movies (cnn3d_opt)": {"architecture": "cnn3d_opt", "t_step": 0.0124},
    "hits, energy": {"architecture": "hit_transformer", "use_time": False},
    "hits, energy and time": {"architecture": "hit_transformer"},
}
ALL = {"crop": 16, "t_step": 0.0198, "mirror": False}
"""Settings of all: a quarter of the crystals and half of the frames, an eighth of the time that whole movies take.

The four halvings of cnn3d_opt need 16 frames of the same window.
"""
TIME_GAINS = {"2D": ("2D, energy and time", "2D, energy (bearnet)"), "hits": ("hits, energy and time", "hits, energy")}
SEEDS = (1, 2, 3)
SIDE_BY_SIDE = 2


@dataclass(frozen=True, slots=True)
class EcalSizes:
    """How much is drawn and how long is fitted."""

    name: str
    train: int
    """Training events of each class."""
    valid: int
    test: int
    epochs: int


FULL = EcalSizes("full", train=10_000, valid=5_000, test=20_000, epochs=6)
SMALL = EcalSizes("small", train=300, valid=100, test=300, epochs=1)


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted network, judged on the test split."""

    auc: float
    auc_error: float
    valid_loss: float
    minutes: float


def ecal_comparison(work: Path, sizes: EcalSizes) -> None:  # noqa: ARG001 - its data outlive the run
    """2D, 3D and hits, with time and without: areas under the curve of three seeds each."""
    home = Path(tempfile.gettempdir()) / f"hepml-bench-ecal-{sizes.name}"
    _make_dataset(home, sizes)
    jobs = [(name, seed) for name in NETWORKS for seed in SEEDS]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        fits = dict(zip(jobs, pool.map(lambda job: _fit(home, job, sizes), jobs), strict=True))
    print(f"   {2 * sizes.train} training events, {sizes.epochs} epochs, {2 * sizes.test} test events, seeds {SEEDS}")
    rows: list[list[Cell]] = []
    for name in NETWORKS:
        of_name = [fits[name, seed] for seed in SEEDS]
        auc, minutes = _measured([fit.auc for fit in of_name]), float(np.mean([fit.minutes for fit in of_name]))
        rows.append([name, auc, of_name[0].auc_error, minutes])
        print(f"   {name:24s} AUC {auc.value:.4f} +- {auc.error:.4f} (seeds), {minutes:.1f} minutes on one thread")
    for kind, (with_time, without) in TIME_GAINS.items():
        gain = _measured([fits[with_time, seed].auc - fits[without, seed].auc for seed in SEEDS])
        print(f"   {kind}: time adds {gain.value:.4f} +- {gain.error:.4f}")
    _write_page(home / "page", fits, rows, sizes)
    print(f"   page: {home / 'page' / 'index.html'}")


def _make_dataset(home: Path, sizes: EcalSizes) -> None:
    whole = sizes.train + sizes.valid + sizes.test
    parts = {split: getattr(sizes, split) / whole for split in ("train", "valid", "test")}
    fractions = {f"{split}_fraction": part for split, part in parts.items()}
    _stage("generate", {"events_per_class": whole}, source=home / "toys")
    _stage("convert", {}, source=home / "toys", shards=home / "shards")
    _stage("organize", {**fractions, "exact": True}, shards=home / "shards", dataset=home / "dataset")
    _stage("normalize", {}, dataset=home / "dataset", statistics=home / "statistics")


def _fit(home: Path, job: tuple[str, int], sizes: EcalSizes) -> Fit:
    name, seed = job
    place = home / f"{name}, seed {seed}".replace(" ", "-").replace(",", "")
    settings = {**ALL, **NETWORKS[name], "seed": seed, "epochs": sizes.epochs}
    dataset, model, report = home / "dataset", place / "model", place / "report"
    _stage("train", settings, dataset=dataset, statistics=home / "statistics", model=model)
    _stage("evaluate", {"movies": 0}, dataset=dataset, model=model, report=report)
    judged = read_manifest(open_folder(str(report)), "report", "ecal").metrics
    fitted = read_manifest(open_folder(str(model)), "model", "ecal").metrics
    seconds = sum(float(row["seconds"]) for row in read_history(open_folder(str(model))))
    return Fit(judged["auc"], judged["auc_error"], fitted["valid_loss"], seconds / 60)


def _stage(stage: str, settings: Mapping[str, object], **folders: Path) -> None:
    """Run a stage of ecal in a process of one thread; what is there already is not made again."""
    words = [f"{folder}={path}" for folder, path in folders.items()]
    command = [sys.executable, "-m", "benchmarks.ours", "stage", "ecal", stage, json.dumps(dict(settings)), *words]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=one_thread, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


def _measured(values: Sequence[float]) -> Measured:
    """Return the mean of the seeds, and the standard deviation of a single one."""
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    return Measured(mean, mean - spread, mean + spread)


def _write_page(
    folder: Path,
    fits: Mapping[tuple[str, int], Fit],
    rows: Sequence[Sequence[Cell]],
    sizes: EcalSizes,
) -> None:
    page = Report("Does time help?", f"{2 * sizes.train} training events, {sizes.epochs} epochs, seeds {SEEDS}")
    areas = {name: [fits[name, seed].auc for seed in SEEDS] for name in NETWORKS}
    page.add_figure(
        "areas",
        plot_comparison(areas, "area under the ROC curve", label="toy showers"),
        "Points are seeds, bars their mean and standard deviation. All saw the same events for the same epochs.",
    )
    page.add_table(
        "networks",
        ["network", "AUC (mean and deviation of seeds)", "error of one AUC by the test events", "minutes, one thread"],
        rows,
        "The best epoch by validation loss counts; the test events are the same for all.",
    )
    metrics = {f"auc {name}, seed {seed}": fit.auc for (name, seed), fit in fits.items()}
    page.write(open_folder(str(folder)), metrics, describe_run({}))
