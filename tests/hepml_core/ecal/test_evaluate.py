"""The report: right numbers of the right events, movies of what the network saw."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from hepml_core.config import build_config
from hepml_core.ecal import evaluate as evaluate_module
from hepml_core.ecal import figures as figures_module
from hepml_core.ecal.config import (
    ConvertConfig,
    EvaluateConfig,
    GenerateConfig,
    NormalizeConfig,
    OrganizeConfig,
    PredictConfig,
    TrainConfig,
)
from hepml_core.ecal.convert import convert
from hepml_core.ecal.evaluate import evaluate
from hepml_core.ecal.generate import generate
from hepml_core.ecal.normalize import normalize
from hepml_core.ecal.organize import organize
from hepml_core.ecal.predict import predict
from hepml_core.ecal.train import train
from hepml_core.errors import DataError, FolderError, HepmlError
from hepml_core.plots import Movie
from hepml_core.report import Report
from hepml_core.storage import LocalFolder
from tests.ecal_models import KnownScores, Score, blurred, make_model, noise, second_cluster
from tests.ecal_shards import (
    ELECTRON,
    PHOTON,
    ToyFolders,
    events_of,
    make_dataset,
    make_folders,
    make_shards,
    shower_images,
)
from tests.kills import assert_mends

QUICK = EvaluateConfig(replicas=20, device="cpu", movies=2, slices=3)
FIGURES = {
    "ROC_curve",
    "probabilities",
    "confusion_matrix",
    "training_history",
    "AUC_by_slice",
    "mean_showers",
    "showers",
    "hits_in_space_and_time",
    "times",
}
EVENTS = 100
TESTED = 30
"""Test events of each class."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> ToyFolders:
    return make_folders(tmp_path_factory.mktemp("ecal"), EVENTS)


@pytest.fixture(scope="module")
def model(folders: ToyFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(folders.dataset, tmp_path_factory.mktemp("models") / "model")


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "predictions.csv").read_text())))


@dataclass
class Evaluated:
    metrics: dict[str, float]
    report: Path

    @property
    def page(self) -> str:
        return (self.report / "index.html").read_text()

    @property
    def rows(self) -> list[dict[str, str]]:
        return rows_of(self.report)

    def contents(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.report).as_posix(): path.read_bytes()
            for path in self.report.rglob("*")
            if path.is_file()
        }


def run(
    dataset: Path, model: Path, report: Path, score: Score, patch: pytest.MonkeyPatch, config: EvaluateConfig = QUICK
) -> Evaluated:
    patch.setattr(evaluate_module, "Classifier", KnownScores(score))
    metrics = evaluate(LocalFolder(dataset), LocalFolder(model), LocalFolder(report), config)
    return Evaluated(dict(metrics), report)


@pytest.fixture(scope="module")
def judged(folders: ToyFolders, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """A report of a model that makes mistakes, to be read only."""
    with pytest.MonkeyPatch.context() as patch:
        return run(folders.dataset, model, tmp_path_factory.mktemp("judged") / "report", blurred, patch)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> list[Movie]:
    """Leave out what takes seconds and is looked at elsewhere: figures, and movies, which are only noted."""
    noted: list[Movie] = []

    def note(movies: list[Movie], *, lowest: float) -> list[bytes]:
        assert lowest > 0
        noted.extend(movies)
        return [b"GIF89a" + bytes(10) for _ in movies]

    monkeypatch.setattr(evaluate_module, "movie_gifs", note)
    monkeypatch.setattr(Report, "add_figure", lambda *_: None)
    for module in (evaluate_module, figures_module):
        for name in [name for name in vars(module) if name.startswith("plot_")]:
            monkeypatch.setattr(module, name, lambda *_, **__: None)
    return noted


def test_all_files_are_there_and_listed(judged: Evaluated) -> None:
    expected = {"index.html", "metrics.json", "predictions.csv"}
    expected |= {f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")}
    expected |= {f"figures/movies_of_{name}_{number}.gif" for name in ("photons", "electrons") for number in (1, 2)}
    there = set(judged.contents()) - {"manifest.json"}
    assert there == expected
    manifest = json.loads((judged.report / "manifest.json").read_text())
    assert {file["name"] for file in manifest["files"]} == there


def test_metrics_are_those_of_the_table_of_predictions(judged: Evaluated) -> None:
    electron_e = np.array([float(row["p_electron"]) for row in judged.rows])
    true_e = np.array([row["true"] == "electron" for row in judged.rows])
    assert judged.metrics["auc"] == pytest.approx(roc_auc_score(true_e, electron_e), abs=1e-4)
    assert judged.metrics["accuracy"] == pytest.approx(np.mean((electron_e > 0.5) == true_e))
    cut = np.sort(electron_e[true_e])[::-1][int(np.ceil(0.8 * true_e.sum())) - 1]
    assert judged.metrics["rejection_80"] == pytest.approx(1 / np.mean(electron_e[~true_e] >= cut))
    loss_e = -np.log(np.where(true_e, electron_e, 1 - electron_e))
    assert judged.metrics["log_loss"] == pytest.approx(loss_e.mean(), rel=1e-4)
    assert judged.metrics["test_events"] == 2 * TESTED
    assert json.loads((judged.report / "metrics.json").read_text()) == pytest.approx(judged.metrics)


def test_predictions_are_those_of_the_events_that_they_name(judged: Evaluated) -> None:
    files = {"photons.hdf5": PHOTON, "electrons.hdf5": ELECTRON}
    assert len({(row["file"], row["row"]) for row in judged.rows}) == 2 * TESTED
    for row in judged.rows:
        label = files[row["file"]]
        assert row["true"] == ("photon", "electron")[label]
        assert row["predicted"] == ("electron" if float(row["p_electron"]) > 0.5 else "photon")
        energy = shower_images(1, label, first=int(row["row"]))[..., 0].astype(np.float64).sum()
        told = 0.35 * label + 0.65 * (energy * 1e4 % 1)
        assert float(row["p_electron"]) == pytest.approx(told, abs=1e-4)


def test_slices_have_the_areas_that_scikit_learn_finds_in_them(judged: Evaluated, folders: ToyFolders) -> None:
    events = events_of(folders.dataset, "test")
    hits = events.hits
    energy_e = 50 * np.bincount(hits.event_h, hits.energy_h, minlength=len(hits))
    for name, value_e in (("Energy in the image \\[GeV\\]", energy_e), ("\\|eta\\|", np.abs(events.eta_e))):
        found = [
            [float(cell) for cell in re.findall(r"<bdi>([\d.]+)(?: ±[^<]*)?</bdi>", row)]
            for row in re.findall(rf"<tr>\s*<td><bdi>{name}</bdi></td>(.*?)</tr>", judged.page, flags=re.DOTALL)
        ]
        assert len(found) == 3
        for number, (low, high, photons, electrons, auc) in enumerate(found):
            inside_e = (value_e >= low - 5e-3) & (value_e < high - 5e-3 if number < 2 else value_e <= high + 5e-3)
            label_e, score_e = events.label_e[inside_e], blurred(hits)[inside_e]
            assert (photons, electrons) == ((label_e == 0).sum(), (label_e == 1).sum())
            assert auc == pytest.approx(roc_auc_score(label_e, score_e), abs=0.006)


def test_a_model_that_knows_all_has_area_one_and_infinite_rejection(
    folders: ToyFolders, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: list[Movie]
) -> None:
    found = run(folders.dataset, model, tmp_path / "report", second_cluster, monkeypatch)
    assert (found.metrics["auc"], found.metrics["accuracy"]) == (1, 1)
    assert not [name for name in found.metrics if name.startswith("rejection")]
    assert "Infinity" not in (tmp_path / "report/metrics.json").read_text()
    assert "Infinity" not in (tmp_path / "report/manifest.json").read_text()
    assert found.page.count("<bdi>inf</bdi>") == 6, "three headline numbers and three working points"
    assert len(undrawn) == 2, "the first event of each class, and no mistakes"


def test_a_model_that_knows_nothing_has_half_the_area(
    folders: ToyFolders, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: list[Movie]
) -> None:
    found = run(folders.dataset, model, tmp_path / "report", noise, monkeypatch, replace(QUICK, replicas=200))
    expected = np.sqrt((2 * TESTED + 1) / (12 * TESTED**2))  # of equal distributions (Mann and Whitney 1947)
    assert found.metrics["auc"] == pytest.approx(0.5, abs=4 * expected)
    assert found.metrics["auc_error"] == pytest.approx(expected, rel=0.3)
    assert undrawn


def test_a_movie_on_the_page_has_a_frame_for_each_window(judged: Evaluated) -> None:
    for name in ("movies_of_photons_1", "movies_of_electrons_2"):
        with Image.open(judged.report / f"figures/{name}.gif") as movie:
            assert getattr(movie, "n_frames", 1) == 20
    assert judged.page.count("data:image/gif;base64,") == 4
    assert 'alt="Movies of electrons: electron taken for photon, p(electron) = 0.' in judged.page


def images_of(folders: ToyFolders, movie: Movie) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the energies (GeV) and times (ns) of the event that a movie shows."""
    file, _, row = movie.lines[1].partition(" row ")
    label = ELECTRON if file == "electrons.hdf5" else PHOTON
    image_yxc = shower_images(1, label, first=int(row))[0]
    assert folders.source.joinpath(file).exists()
    return image_yxc[..., 0] * 50, image_yxc[..., 1] * 25


def test_the_last_frame_shows_every_hit_in_time_above_the_cut(
    folders: ToyFolders, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: list[Movie]
) -> None:
    run(folders.dataset, model, tmp_path / "report", blurred, monkeypatch)
    assert len(undrawn) == 4
    for movie in undrawn:
        energy_yx, time_yx = images_of(folders, movie)
        expected_yx = np.where((energy_yx > 0.25) & (time_yx <= 25 * 0.098), energy_yx, 0)
        np.testing.assert_allclose(movie.energy_kyx[-1], expected_yx, rtol=1e-6)
        assert (movie.edge_k[0], movie.edge_k[-1]) == pytest.approx((-2.5, 2.45))
        assert movie.window_k[-1] == "t ≤ +2.45 ns"
        for number, frame_yx in enumerate(movie.energy_kyx):
            np.testing.assert_array_equal(frame_yx > 0, (energy_yx > 0.25) & (time_yx <= movie.edge_k[number + 1]))


@pytest.mark.parametrize(
    ("settings", "first", "last"),
    [
        ({"cumulative": True, "early": "first"}, "t ≤ -1.00 ns", "t ≤ +1.00 ns"),
        ({"cumulative": True, "early": "drop"}, "-2.00 < t ≤ -1.00 ns", "-2.00 < t ≤ +1.00 ns"),
        ({"cumulative": False, "early": "first"}, "t ≤ -1.00 ns", "+0.00 < t ≤ +1.00 ns"),
        ({"cumulative": False, "early": "drop"}, "-2.00 < t ≤ -1.00 ns", "+0.00 < t ≤ +1.00 ns"),
    ],
)
def test_frames_say_and_show_the_windows_of_the_fit(
    folders: ToyFolders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undrawn: list[Movie],
    settings: dict[str, Any],
    first: str,
    last: str,
) -> None:
    windows: dict[str, Any] = {"t_min": -0.08, "t_max": 0.05, "t_step": 0.04, "min_energy": 0.002}
    model = make_model(folders.dataset, tmp_path / "model", **windows, **settings)
    run(folders.dataset, model, tmp_path / "report", blurred, monkeypatch)
    for movie in undrawn:
        assert (movie.window_k[0], movie.window_k[-1]) == (first, last)
        energy_yx, time_yx = images_of(folders, movie)
        after = -np.inf if settings["early"] == "first" else -2
        after = after if settings["cumulative"] else 0
        expected_yx = (energy_yx > 0.1) & (time_yx > after) & (time_yx <= 1)
        np.testing.assert_array_equal(movie.energy_kyx[-1] > 0, expected_yx)


def test_times_are_told_against_what_the_network_measures_them(
    folders: ToyFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: list[Movie]
) -> None:
    facts = {"normalization": {"time": "seed", "time_scale": 0.4}}
    model = make_model(folders.dataset, tmp_path / "model", facts=facts)
    run(folders.dataset, model, tmp_path / "report", blurred, monkeypatch)
    for movie in undrawn:
        assert movie.origin == "the seed"
        energy_yx, time_yx = images_of(folders, movie)
        lit_yx = (energy_yx > 0.25) & (time_yx - time_yx[16, 16] <= movie.edge_k[10])
        np.testing.assert_array_equal(movie.energy_kyx[9] > 0, lit_yx)


def test_movies_show_the_part_of_the_image_that_the_network_sees(
    folders: ToyFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: list[Movie]
) -> None:
    model = make_model(folders.dataset, tmp_path / "model", crop=6)
    run(folders.dataset, model, tmp_path / "report", blurred, monkeypatch)
    for movie in undrawn:
        energy_yx, time_yx = images_of(folders, movie)
        lit_yx = ((energy_yx > 0.25) & (time_yx <= 2.45))[13:19, 13:19]
        np.testing.assert_array_equal(movie.energy_kyx[-1] > 0, lit_yx)


def test_movies_are_of_the_first_event_and_of_the_surest_mistakes(
    folders: ToyFolders, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: list[Movie]
) -> None:
    found = run(folders.dataset, model, tmp_path / "report", blurred, monkeypatch, replace(QUICK, movies=3))
    for name in ("photon", "electron"):
        own = [row for row in found.rows if row["true"] == name]
        wrong = sorted(
            (row for row in own if row["predicted"] != name),
            key=lambda row: float(row["p_electron"]),
            reverse=name == "photon",
        )
        expected = [own[0], *[row for row in wrong if row is not own[0]][:2]]
        shown = [movie for movie in undrawn if movie.lines[0].startswith(name)]
        assert [movie.lines[1] for movie in shown] == [f"{row['file']} row {row['row']}" for row in expected]
        assert "taken for" in shown[1].lines[0]


def test_without_movies_and_without_pseudorapidities_the_page_has_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: list[Movie]
) -> None:
    folders = make_folders(tmp_path, 40, size=16, eta=False)
    model = make_model(folders.dataset, tmp_path / "model")
    found = run(folders.dataset, model, tmp_path / "report", blurred, monkeypatch, replace(QUICK, movies=0))
    assert "Movies" not in found.page
    assert "<bdi>|eta|</bdi>" not in found.page
    assert found.page.count("<bdi>Energy in the image [GeV]</bdi>") == 3
    assert not undrawn


@pytest.mark.slow
def test_two_evaluations_give_the_same_bytes(
    folders: ToyFolders, model: Path, judged: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = run(folders.dataset, model, tmp_path / "report", blurred, monkeypatch)
    assert again.contents() == judged.contents()


def test_a_killed_evaluation_goes_on_and_a_finished_one_does_nothing(
    folders: ToyFolders, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: list[Movie]
) -> None:
    write = LocalFolder.write

    def die(folder: LocalFolder, name: str, *rest: Any, **options: Any) -> None:
        if name == "metrics.json":
            raise KeyboardInterrupt
        write(folder, name, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "write", die)
        with pytest.raises(KeyboardInterrupt):
            run(folders.dataset, model, tmp_path / "report", blurred, patch)
    assert (tmp_path / "report/figures/movies_of_photons_1.gif").exists()
    assert not (tmp_path / "report/manifest.json").exists()
    again = run(folders.dataset, model, tmp_path / "report", blurred, monkeypatch)
    whole = run(folders.dataset, model, tmp_path / "whole", blurred, monkeypatch)
    assert again.contents() == whole.contents()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "report").rglob("*")}
    assert run(folders.dataset, model, tmp_path / "report", blurred, monkeypatch).metrics == again.metrics
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "report").rglob("*")} == before
    assert len(undrawn) == 12


def test_a_model_of_other_images_is_refused(
    folders: ToyFolders, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(make_shards(folders.source, tmp_path / "shards", crop=16), tmp_path / "dataset")
    with pytest.raises(FolderError, match=r"fitted to images of 32 x 32 crystals, .* has 16 x 16"):
        run(dataset, model, tmp_path / "report", blurred, monkeypatch)


def test_another_dataset_of_the_same_images_is_warned_of(
    folders: ToyFolders,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undrawn: list[Movie],
    caplog: pytest.LogCaptureFixture,
) -> None:
    dataset = make_dataset(folders.shards, tmp_path / "dataset", seed=7)
    with caplog.at_level(logging.WARNING):
        run(dataset, model, tmp_path / "report", blurred, monkeypatch)
    assert "may have been in its training" in caplog.text
    assert undrawn


def test_a_dataset_without_a_test_split_is_refused(
    folders: ToyFolders, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fractions = {"train_fraction": 0.8, "valid_fraction": 0.2, "test_fraction": 0.0}
    dataset = make_dataset(folders.shards, tmp_path / "dataset", **fractions)
    with pytest.raises(DataError, match="no test split"):
        run(dataset, model, tmp_path / "report", blurred, monkeypatch)


@pytest.mark.parametrize(
    "settings", [{"replicas": 0}, {"batch_size": 0}, {"movies": -1}, {"slices": 0}, {"seed": -1}, {"device": "abacus"}]
)
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HepmlError, match=next(iter(settings))):
        build_config(EvaluateConfig, settings)


@dataclass
class Chain:
    """Folders of toys that went through the stages as far as a trained model."""

    toys: Path
    dataset: Path
    model: Path


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    root = tmp_path_factory.mktemp("chain")
    names = ("toys", "shards", "dataset", "statistics", "model")
    toys, shards, dataset, statistics, model = (LocalFolder(root / name) for name in names)
    generate(toys, GenerateConfig(events_per_class=400))
    convert(toys, shards, ConvertConfig())
    organize(shards, dataset, OrganizeConfig(exact=True))
    normalize(dataset, statistics, NormalizeConfig())
    train(dataset, statistics, model, TrainConfig(epochs=2, device="cpu"))
    return Chain(toys.path, dataset.path, model.path)


@pytest.mark.slow
def test_toys_go_all_the_way_and_evaluate_and_predict_agree(chain: Chain, tmp_path: Path) -> None:
    toys, dataset, model = (LocalFolder(path) for path in (chain.toys, chain.dataset, chain.model))
    report, predictions = LocalFolder(tmp_path / "report"), LocalFolder(tmp_path / "predictions")
    metrics = evaluate(dataset, model, report, EvaluateConfig(replicas=50, device="cpu"))
    assert metrics["test_events"] == 120
    assert predict(toys, model, predictions, PredictConfig(device="cpu"))["events"] == 800
    told = {(row["file"], row["row"]): row for row in rows_of(predictions.path)}
    judged_rows = rows_of(report.path)
    for row in judged_rows:
        mine = told[row["file"], row["row"]]
        assert float(mine["p_electron"]) == pytest.approx(float(row["p_electron"]), abs=1e-5)
    true_e = [row["true"] == "electron" for row in judged_rows]
    area = roc_auc_score(true_e, [float(row["p_electron"]) for row in judged_rows])
    assert metrics["auc"] == pytest.approx(area, abs=1e-3)
    for name in ("photons", "electrons"):
        with Image.open(tmp_path / f"report/figures/movies_of_{name}_1.gif") as movie:
            assert getattr(movie, "n_frames", 1) == 20


@pytest.mark.slow
def test_an_evaluation_that_is_killed_anywhere_ends_with_the_same_bytes(chain: Chain, tmp_path: Path) -> None:
    settings = {"replicas": 10, "movies": 1, "device": "cpu"}
    inputs = {"dataset": chain.dataset, "model": chain.model}
    assert_mends("ecal.evaluate", settings, inputs, "report", tmp_path, moments=3, at_least=2)


@pytest.mark.slow
def test_a_prediction_that_is_killed_anywhere_ends_with_the_same_bytes(chain: Chain, tmp_path: Path) -> None:
    inputs = {"source": chain.toys, "model": chain.model}
    assert_mends("ecal.predict", {"device": "cpu"}, inputs, "predictions", tmp_path, moments=3, at_least=2)
