"""The report: right numbers of the right events, and nothing hostile in the page."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hepml_core import report as report_module
from hepml_core.config import build_config
from hepml_core.errors import DataError, FolderError, HepmlError
from hepml_core.event_images.config import (
    ConvertConfig,
    EvaluateConfig,
    NormalizeConfig,
    OrganizeConfig,
    TrainConfig,
)
from hepml_core.event_images.convert import convert
from hepml_core.event_images.evaluate import evaluate
from hepml_core.event_images.normalize import normalize
from hepml_core.event_images.organize import organize
from hepml_core.event_images.train import train
from hepml_core.storage import LocalFolder
from tests.class_folders import contents, examples, manifest_of, noise_classes, picture, png, write
from tests.conftest import Toy, Trained


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the seconds of drawing."""
    drawn = png(np.zeros((4, 4, 3), np.uint8))
    monkeypatch.setattr(report_module, "to_png", lambda _: drawn)
    monkeypatch.setattr(report_module, "to_pdf", lambda _: drawn)


QUICK = EvaluateConfig(replicas=20, device="cpu")
FIGURES = ("ROC_curves", "confusion_matrix", "examples", "probabilities", "training_history")


def rows_of(report: Path) -> list[dict[str, str]]:
    with (report / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def made(source: Path, *, test: float = 0.5, **settings: Any) -> tuple[LocalFolder, LocalFolder]:
    """Bring a source to a dataset and a model of one epoch."""
    names = ("shards", "dataset", "statistics", "model")
    shards, dataset, statistics, model = (LocalFolder(source.with_name(f"{source.name} {name}")) for name in names)
    convert(LocalFolder(source), shards, build_config(ConvertConfig, settings))
    split = OrganizeConfig(exact=True, train_fraction=0.75 - test, valid_fraction=0.25, test_fraction=test)
    organize(shards, dataset, split)
    normalize(dataset, statistics, NormalizeConfig())
    train(dataset, statistics, model, TrainConfig(epochs=1, batch_size=16, device="cpu"))
    return dataset, model


def test_what_any_network_can_learn_is_learned(trained: Trained) -> None:
    assert trained.metrics["auc"] > 0.95
    assert trained.metrics["accuracy"] > 0.9


def test_the_report_is_of_the_test_split_alone_and_of_all_of_it(toy: Toy, trained: Trained) -> None:
    expected = {one["key"].decode(): one["class"].decode() for one in examples(toy.dataset.path, "test")}
    rows = rows_of(trained.report.path)
    assert {row["key"]: row["true"] for row in rows} == expected
    assert len(rows) == len(expected) == trained.metrics["test_events"] == 36


def test_metrics_are_those_of_the_written_predictions(trained: Trained) -> None:
    rows = rows_of(trained.report.path)
    right = [row["true"] == row["predicted"] for row in rows]
    assert trained.metrics["accuracy"] == pytest.approx(np.mean(right))
    for name in ("bright", "dark"):
        probability_e = [float(row[f"p_{name}"]) for row in rows]
        area = roc_auc_score([row["true"] == name for row in rows], probability_e)
        assert trained.metrics[f"auc_{name}"] == pytest.approx(area, abs=1e-9)
        assert all(row["predicted"] == name for row in rows if float(row[f"p_{name}"]) > 0.5)
    assert all(abs(float(row["p_bright"]) + float(row["p_dark"]) - 1) < 2e-6 for row in rows)
    assert json.loads((trained.report.path / "metrics.json").read_text()) == pytest.approx(trained.metrics)
    assert manifest_of(trained.report.path)["metrics"] == pytest.approx(trained.metrics)


def test_all_files_are_there_and_listed(trained: Trained) -> None:
    expected = {"index.html", "metrics.json", "predictions.csv"}
    expected |= {f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")}
    there = set(contents(trained.report.path)) - {"manifest.json"}
    assert expected <= there <= expected | {"figures/most_confused.png", "figures/most_confused.pdf"}
    assert {file["name"] for file in manifest_of(trained.report.path)["files"]} == there


def test_two_evaluations_give_the_same_predictions_and_a_second_run_does_nothing(
    toy: Toy, trained: Trained, tmp_path: Path, undrawn: None
) -> None:
    report = LocalFolder(tmp_path / "report")
    config = EvaluateConfig(replicas=50, device="cpu", batch_size=7)
    metrics = evaluate(toy.dataset, trained.model, report, config)
    for row, other in zip(rows_of(tmp_path / "report"), rows_of(trained.report.path), strict=True):
        assert {**row, "p_bright": "", "p_dark": ""} == {**other, "p_bright": "", "p_dark": ""}
        assert float(row["p_dark"]) == pytest.approx(float(other["p_dark"]), abs=1e-5)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "report").rglob("*")}
    assert evaluate(toy.dataset, trained.model, report, config) == metrics
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "report").rglob("*")} == before


def test_noise_is_told_from_noise_by_chance_only(tmp_path: Path, undrawn: None) -> None:
    source = tmp_path / "source"
    for label, name in enumerate("ab"):
        write(source, {f"{name}/{n}.png": png(picture(500 * label + n, size=(16, 16))) for n in range(100)})
    dataset, model = made(source)
    metrics = evaluate(dataset, model, LocalFolder(tmp_path / "report"), QUICK)
    assert metrics["test_events"] == 100
    assert abs(metrics["auc"] - 0.5) < 5 * 0.058  # the error of an area of 0.5 with 50 events of each class
    assert 0.03 < metrics["auc_error"] < 0.1


def test_hostile_names_are_shown_and_never_interpreted(tmp_path: Path) -> None:
    source = tmp_path / "source"
    names = ("<script>alert(1)<", '"onload="x', "$alpha_{$ & 100%", "größe <b>")
    for label, name in enumerate(names):
        for n in range(8):
            write(source, {f"{name}/<img src=x>, $_{n}$.png": png(picture(100 * label + n, size=(16, 16)))})
    dataset, model = made(source)
    evaluate(dataset, model, LocalFolder(tmp_path / "report"), QUICK)
    page = (tmp_path / "report/index.html").read_text()
    for raw in ("<script", "<img src=x", '"onload="x', "<b>"):
        assert raw not in page
    assert "&lt;script&gt;alert(1)&lt;" in page
    assert {row["true"] for row in rows_of(tmp_path / "report")} == set(names)


@pytest.mark.parametrize(
    ("channels", "bits", "storage"),
    [
        (1, 16, "encoded"),
        pytest.param(1, 8, "raw", marks=pytest.mark.slow),
        pytest.param(3, 16, "raw", marks=pytest.mark.slow),
    ],
)
def test_grey_and_16_bit_pictures_go_all_the_way(tmp_path: Path, channels: int, bits: int, storage: str) -> None:
    source = tmp_path / "source"
    for label, name in enumerate("ab"):
        one = {
            f"{name}/{n}.png": png(picture(label * 50 + n, size=(16, 16), channels=channels, bits=bits))
            for n in range(12)
        }
        write(source, one)
    dataset, model = made(source, channels=channels, storage=storage)
    assert evaluate(dataset, model, LocalFolder(tmp_path / "report"), QUICK)["test_events"] == 12


def test_a_model_of_other_classes_or_channels_is_refused(trained: Trained, tmp_path: Path) -> None:
    source = noise_classes(tmp_path / "source", count=8)
    shards, dataset = LocalFolder(tmp_path / "shards"), LocalFolder(tmp_path / "dataset")
    convert(LocalFolder(source), shards, ConvertConfig())
    organize(shards, dataset, OrganizeConfig(exact=True))
    with pytest.raises(FolderError, match=r"class_names \['bright', 'dark'\].*\['higgs', 'qcd'\]"):
        evaluate(dataset, trained.model, LocalFolder(tmp_path / "report"), QUICK)


def test_another_dataset_of_the_same_classes_is_warned_of(
    toy: Toy, trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture, undrawn: None
) -> None:
    dataset = LocalFolder(tmp_path / "dataset")
    organize(toy.shards, dataset, OrganizeConfig(exact=True, seed=7))
    with caplog.at_level(logging.WARNING):
        evaluate(dataset, trained.model, LocalFolder(tmp_path / "report"), replace(QUICK, confused_events=0))
    assert "may have been in its training" in caplog.text
    assert not (tmp_path / "report/figures/most_confused.png").exists()


def test_a_dataset_without_a_test_split_is_refused(trained: Trained, toy: Toy, tmp_path: Path) -> None:
    dataset = LocalFolder(tmp_path / "dataset")
    config = OrganizeConfig(exact=True, train_fraction=0.8, valid_fraction=0.2, test_fraction=0)
    organize(toy.shards, dataset, config)
    with pytest.raises(DataError, match="no test split"):
        evaluate(dataset, trained.model, LocalFolder(tmp_path / "report"), QUICK)


@pytest.mark.real_data
@pytest.mark.slow
def test_real_jet_pictures_go_all_the_way(real_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "jets"
    source.symlink_to(real_data / "event_images/quark_gluon_jets")
    dataset, model = made(source, test=0.25)
    facts = manifest_of(tmp_path / "jets shards")["facts"]
    assert facts["events"] == {"gluons": 95, "quarks": 64}
    assert (facts["height"], facts["width"], facts["bits"]) == (32, 32, 8)
    # The degenerate pictures of the published sample are not in this one.
    assert facts["duplicates"]["copies"] == 0
    counts = manifest_of(dataset.path)["facts"]["events"]
    assert {name: sum(split[name] for split in counts.values()) for name in facts["class_names"]} == facts["events"]
    metrics = evaluate(dataset, model, LocalFolder(tmp_path / "report"), QUICK)
    assert metrics["test_events"] == 40
    assert 0 <= metrics["auc"] <= 1


@pytest.mark.parametrize("settings", [{"replicas": 0}, {"batch_size": 0}, {"confused_events": -1}, {"seed": -1}])
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HepmlError, match=next(iter(settings))):
        build_config(EvaluateConfig, settings)
