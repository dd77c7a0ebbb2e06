"""The report on jets, end to end with models that do what they are told."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hepml_core import report as report_module
from hepml_core.artifacts import Manifest, Output, read_manifest
from hepml_core.config import build_config
from hepml_core.errors import DataError, FolderError, HepmlError
from hepml_core.jets import evaluate as module
from hepml_core.jets.config import EvaluateConfig, NormalizeConfig, OrganizeConfig, TrainConfig
from hepml_core.jets.evaluate import evaluate
from hepml_core.jets.inference import Reconstruction
from hepml_core.jets.normalize import normalize
from hepml_core.jets.organize import organize
from hepml_core.jets.residuals import Values
from hepml_core.jets.train import train
from hepml_core.storage import Folder, LocalFolder
from hepml_core.training.history import write_history
from tests.class_folders import contents, png
from tests.jet_shards import jets, make_shards, rows_of, whole_events
from tests.kills import assert_mends

EVENTS = 200
FOUR = ["E", "pt", "eta", "phi"]
Change = Callable[[Values], Values]


@dataclass(frozen=True)
class Pretender:
    """Reconstructs by changing the rows as it is told."""

    manifest: Manifest
    change: Change
    latent: int

    def reconstruct(self, value_nf: Values, batch_size: int) -> Reconstruction:
        assert len(value_nf) <= batch_size
        latent_nz = np.resize(value_nf, (len(value_nf), self.latent)).astype(np.float32)
        seconds = 1e-6 * len(value_nf)
        output_nf = self.change(value_nf.copy())
        loss_n = np.square(output_nf - value_nf).mean(axis=1)
        return Reconstruction(output_nf, latent_nz, loss_n, 2 * seconds, 3 * seconds)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> LocalFolder:
    """Massless objects of seven kinds, half of the events in the test split."""
    return split(tmp_path_factory.mktemp("objects"), jets(EVENTS))


def split(folder: Path, columns: Mapping[str, Any], test: float = 0.5) -> LocalFolder:
    make_shards(folder / "shards", columns)
    made = LocalFolder(folder / "dataset")
    config = OrganizeConfig(exact=True, train_fraction=0.75 - test, valid_fraction=0.25, test_fraction=test)
    organize(LocalFolder(folder / "shards"), made, config)
    return made


def model_of(
    folder: Path, dataset: LocalFolder, method: str = "autoencoder", variables: Sequence[str] = (), latent: int = 3
) -> LocalFolder:
    """Write a model folder as train does, of no weights."""
    manifest = read_manifest(dataset, "dataset", "jets")
    made = LocalFolder(folder)
    inputs = {"dataset": manifest.digest, "statistics": "0"}
    output = Output(made, "model", "jets", TrainConfig(seed=latent), inputs)
    rows = [{"epoch": epoch, "wall_time": epoch, "train_loss": 2 / epoch, "valid_loss": 1 / epoch} for epoch in (1, 2)]
    write_history(made, rows)
    output.keep_written()
    facts = {"method": method, "variables": list(variables) or manifest.facts["variables"], "latent": latent}
    output.publish(metrics={"best_epoch": 2, "valid_loss": 0.5}, facts=facts)
    return made


def pretend(monkeypatch: pytest.MonkeyPatch, change: Change, undrawn: bool = True) -> None:
    """Let models change rows so; leave out the seconds of drawing."""

    def load(model: Folder, device: str) -> Pretender:
        assert device == "cpu"
        manifest = read_manifest(model, "model", "jets")
        return Pretender(manifest, change, manifest.facts["latent"])

    monkeypatch.setattr(module, "Reconstructor", load)
    drawn = png(np.zeros((4, 4, 3), np.uint8))
    monkeypatch.setattr(report_module, "to_pdf", lambda _: drawn)
    if undrawn:
        monkeypatch.setattr(report_module, "to_png", lambda _: drawn)
        for name in ("add_figures", "add_latent", "plot_history"):
            monkeypatch.setattr(module, name, lambda *_, **__: None)


def table_of(report: Path, name: str) -> list[list[str]]:
    """Return the cells of a table of the page."""
    page = (report / "index.html").read_text()
    body = page.split(f"<h2><bdi>{name}</bdi></h2>", 1)[1].split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    rows = [row.split("<bdi>")[1:] for row in body.split("<tr>")[1:]]
    return [[cell.split("</bdi>")[0] for cell in row] for row in rows]


def value_of(cell: str) -> float:
    """Return the value of a measured number as the page shows it."""
    number, _, power = cell.replace("(", "").partition("·10")
    exponent = power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return float(number.split(" ")[0]) * 10.0 ** int(exponent or 0)


QUICK = EvaluateConfig(device="cpu", batch_size=100)


def test_an_exact_reconstruction_has_no_residuals_and_the_report_shows_every_figure(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda value_nf: value_nf, undrawn=False)
    report = LocalFolder(tmp_path / "report")
    metrics = evaluate(dataset, model_of(tmp_path / "model", dataset), report, QUICK)
    assert [metrics[f"{what}_{name}"] for name in FOUR for what in ("sigma", "mean")] == [0] * 8
    assert metrics["encode_us_per_row"] == pytest.approx(2)
    assert metrics["decode_us_per_row"] == pytest.approx(3)
    assert metrics["test_rows"] == len(rows_of(dataset.path, "test")["pt"])
    assert metrics["valid_loss"] == 0.5
    figures = {"residuals", "input_and_output", "residual_correlations", "corner", "residuals_by_object"}
    figures |= {"response", "dijet_mass", "latent_variables", "training_history"}
    expected = {"index.html", "metrics.json", "manifest.json"}
    assert set(contents(tmp_path / "report")) == expected | {
        f"figures/{name}.{kind}" for name in figures for kind in ("png", "pdf")
    }
    listed = {file.name for file in read_manifest(report, "report", "jets").files}
    assert listed == set(contents(tmp_path / "report")) - {"manifest.json"}
    assert json.loads((tmp_path / "report/metrics.json").read_text()) == pytest.approx(metrics)


def test_a_turn_of_phi_by_two_pi_is_no_residual(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda value_nf: value_nf + np.array([0, 0, 0, 2 * math.pi], np.float32))
    metrics = evaluate(dataset, model_of(tmp_path / "model", dataset), LocalFolder(tmp_path / "report"), QUICK)
    assert abs(metrics["mean_phi"]) < 1e-6
    assert metrics["sigma_phi"] < 1e-6


def test_smearing_and_scale_come_back_in_metrics_and_tables(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(0)

    def smear(value_nf: Values) -> Values:
        value_nf[:, 0] *= np.float32(1.02)
        value_nf[:, 1] *= (1 + 0.01 * chance.normal(size=len(value_nf))).astype(np.float32)
        return value_nf

    pretend(monkeypatch, smear)
    metrics = evaluate(dataset, model_of(tmp_path / "model", dataset), LocalFolder(tmp_path / "report"), QUICK)
    error = 0.01 / math.sqrt(2 * metrics["test_rows"])
    assert abs(metrics["sigma_pt"] - 0.01) < 4 * error
    assert metrics["mean_E"] == pytest.approx(0.02, abs=1e-6)
    assert metrics["sigma_eta"] == 0
    rows = {row[0]: row for row in table_of(tmp_path / "report", "Residuals")}
    assert [rows[name][2] for name in FOUR] == ["relative", "relative", "difference", "angle"]
    assert value_of(rows["E"][3]) == pytest.approx(0.02, abs=1e-5)
    assert float(rows["E = pt cosh eta, no network"][6]) < 1e-6  # the objects are massless


def test_kinds_of_objects_have_rows_of_their_own(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind_n = rows_of(dataset.path, "test")["object"]
    start = iter(range(0, 10_000, 100))

    def spoil_photons(value_nf: Values) -> Values:
        first = next(start)
        value_nf[kind_n[first : first + len(value_nf)] == "g", 1] *= np.float32(1.5)
        return value_nf

    pretend(monkeypatch, spoil_photons)
    evaluate(dataset, model_of(tmp_path / "model", dataset), LocalFolder(tmp_path / "report"), QUICK)
    rows = [row for row in table_of(tmp_path / "report", "Objects") if row[2] == "pt"]
    assert [row[0] for row in rows] == ["jet", "b jet", "electron", "antimuon", "photon"]
    assert [int(row[1]) for row in rows] == [int((kind_n == kind).sum()) for kind in ("j", "b", "e-", "m+", "g")]
    assert [value_of(row[3]) for row in rows] == pytest.approx([0, 0, 0, 0, 0.5])
    losses = table_of(tmp_path / "report", "Losses")
    assert [row[:2] for row in losses] == [row[:2] for row in rows]
    pt_n = rows_of(dataset.path, "test")["pt"][kind_n == "g"]
    assert [value_of(row[2]) for row in losses] == pytest.approx(
        [0, 0, 0, 0, float(np.mean((pt_n / 2) ** 2)) / 4], rel=1e-2
    )


def test_rows_of_whole_events_are_judged_by_their_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = split(tmp_path, whole_events(100))
    pretend(monkeypatch, lambda value_nf: value_nf + np.float32(0.25))
    metrics = evaluate(dataset, model_of(tmp_path / "model", dataset), LocalFolder(tmp_path / "report"), QUICK)
    assert metrics["test_rows"] == len(rows_of(dataset.path, "test")["event"])
    assert metrics["mean_eta"] == pytest.approx(0.25)
    assert {name.removeprefix("sigma_") for name in metrics if name.startswith("sigma_")} == set(FOUR)
    # Energies around 60 GeV: had places without an object counted, nothing were defined or like this.
    assert metrics["mean_E"] == pytest.approx(0.25 / 60, rel=0.01)


def test_other_models_are_drawn_against_their_latent_sizes(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda value_nf: value_nf)
    first, other = (model_of(tmp_path / f"model {latent}", dataset, latent=latent) for latent in (3, 2))
    config = EvaluateConfig(device="cpu", compare=(str(other.path),))
    evaluate(dataset, first, LocalFolder(tmp_path / "report"), config)
    assert [row[1] for row in table_of(tmp_path / "report", "Models")] == ["3", "2"]
    assert (tmp_path / "report/figures/sigma_against_latent_size.png").is_file()
    density = model_of(tmp_path / "density", dataset, "density")
    with pytest.raises(FolderError, match="density, which has no latent size"):
        evaluate(
            dataset, first, LocalFolder(tmp_path / "no"), EvaluateConfig(device="cpu", compare=(str(density.path),))
        )


def test_a_density_is_judged_by_its_bits(dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, lambda value_nf: value_nf)
    seen: list[Any] = []

    def bits(model: Folder, value_nf: Values, event_n: Values) -> dict[str, float]:
        seen.append(value_nf)
        assert len(event_n) == len(value_nf)
        return {"E": 1.5, "pt": 12, "eta": 11, "phi": 10.5}

    monkeypatch.setattr(module, "bits_per_variable", bits)
    model = model_of(tmp_path / "model", dataset, "density")
    metrics = evaluate(dataset, model, LocalFolder(tmp_path / "report"), QUICK)
    assert metrics["bits_per_row"] == 35
    assert (metrics["bits_E"], metrics["bits_phi"]) == (1.5, 10.5)
    assert metrics["test_rows"] == len(seen[0]) == len(rows_of(dataset.path, "test")["pt"])
    rows = table_of(tmp_path / "report", "Bits per variable")
    assert rows[1] == ["pt", "GeV", "12", "37.5 %"]


def test_a_second_run_does_nothing_and_fewer_rows_can_be_asked_for(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda value_nf: value_nf)
    model, report = model_of(tmp_path / "model", dataset), LocalFolder(tmp_path / "report")
    config = EvaluateConfig(device="cpu", max_rows=17)
    metrics = evaluate(dataset, model, report, config)
    assert metrics["test_rows"] == 17
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "report").rglob("*")}
    assert evaluate(dataset, model, report, config) == metrics
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "report").rglob("*")} == before


def test_the_dataset_table_counts_events_rows_processes_and_objects(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda value_nf: value_nf)
    evaluate(dataset, model_of(tmp_path / "model", dataset), LocalFolder(tmp_path / "report"), QUICK)
    rows = {row[0]: row[1:] for row in table_of(tmp_path / "report", "Dataset")}
    test = rows_of(dataset.path, "test")
    assert sum(map(int, rows["events"])) == EVENTS
    assert rows["events"][2] == str(len(set(test["event"].tolist())))
    assert rows["rows"][2] == str(len(test["pt"]))
    assert rows["objects b"][2] == str(int((test["object"] == "b").sum()))
    assert rows["events of ttbar"][2] == str(len(set(test["event"][test["process"] == "ttbar"].tolist())))


def test_a_model_of_other_variables_is_refused_before_anything_is_read(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda value_nf: value_nf)
    monkeypatch.setattr(module, "read_values", SimpleNamespace())
    model = model_of(tmp_path / "model", dataset, variables=("m", "pt", "phi", "eta"))
    with pytest.raises(FolderError, match=r"m, pt, phi, eta, .* has E, pt, eta, phi"):
        evaluate(dataset, model, LocalFolder(tmp_path / "report"), QUICK)


def test_a_damaged_model_and_a_dataset_without_a_test_split_are_refused(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda value_nf: value_nf)
    empty = split(tmp_path / "other", jets(20), test=0)
    with pytest.raises(DataError, match="no test split"):
        evaluate(empty, model_of(tmp_path / "fitting", empty), LocalFolder(tmp_path / "report"), QUICK)
    model = model_of(tmp_path / "model", dataset)
    (tmp_path / "model/history.csv").write_text("epoch\n")
    with pytest.raises(FolderError, match=r"history\.csv has 6 bytes"):
        evaluate(dataset, model, LocalFolder(tmp_path / "second"), QUICK)


def test_another_dataset_of_the_same_variables_is_warned_of(
    dataset: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pretend(monkeypatch, lambda value_nf: value_nf)
    other = split(tmp_path / "other", jets(20, seed=7))
    with caplog.at_level(logging.WARNING):
        evaluate(other, model_of(tmp_path / "model", dataset), LocalFolder(tmp_path / "report"), QUICK)
    assert "may have been in its training" in caplog.text


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"max_rows": -1}, {"device": "abacus"}])
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HepmlError, match=next(iter(settings))):
        build_config(EvaluateConfig, settings)


@pytest.mark.slow
def test_a_run_that_is_killed_anywhere_ends_with_the_same_numbers_and_figures(
    dataset: LocalFolder, tmp_path: Path
) -> None:
    statistics, model = LocalFolder(tmp_path / "statistics"), LocalFolder(tmp_path / "model")
    normalize(dataset, statistics, NormalizeConfig())
    train(dataset, statistics, model, TrainConfig(nodes=(4, 8, 3, 8, 4), epochs=1, device="cpu"))

    def look(report: Path) -> tuple[dict[str, float], dict[str, bytes]]:
        metrics = json.loads((report / "metrics.json").read_text())
        pictures = {name: picture for name, picture in contents(report).items() if name.endswith(".png")}
        return {name: value for name, value in metrics.items() if "_us_" not in name}, pictures

    inputs = {"dataset": dataset.path, "model": model.path}
    assert_mends("jets.evaluate", {"device": "cpu"}, inputs, "report", tmp_path, moments=3, look=look)
    metrics, pictures = look(tmp_path / "whole")
    assert len(pictures) > 5
    assert "sigma_pt" in metrics
