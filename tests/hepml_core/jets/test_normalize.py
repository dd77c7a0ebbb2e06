"""Statistics of the training rows, and of nothing else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepml_core.artifacts import read_manifest
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.jets import rows
from hepml_core.jets.config import NormalizeConfig, OrganizeConfig
from hepml_core.jets.normalize import STATISTICS, normalize, read_scaler, read_statistics
from hepml_core.jets.organize import organize
from hepml_core.jets.quantiles import Quantile
from hepml_core.jets.rows import read_values
from hepml_core.jets.scalers import Scaler
from hepml_core.storage import LocalFolder
from tests.class_folders import contents
from tests.jet_shards import FOUR, Columns, jets, make_shards, rows_of, whole_events
from tests.kills import assert_mends

METHODS = ("standard", "log", "custom", "quantile")


def organized(folder: Path, columns: Columns, **given: Any) -> Path:
    make_shards(folder / "shards", columns)
    organize(LocalFolder(folder / "shards"), LocalFolder(folder / "dataset"), OrganizeConfig(**given))
    return folder / "dataset"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return organized(tmp_path_factory.mktemp("normalize"), jets(300), rows_per_shard=400)


def run(dataset: Path, statistics: Path, **given: Any) -> Scaler:
    normalize(LocalFolder(dataset), LocalFolder(statistics), NormalizeConfig(**given))
    return read_statistics(LocalFolder(statistics))[1]


def values_of(dataset: Path, split: str) -> Any:
    return read_values(LocalFolder(dataset), read_manifest(LocalFolder(dataset), "dataset", "jets"), split)


def test_standard_gives_training_rows_mean_zero_and_sample_spread_one(dataset: Path, tmp_path: Path) -> None:
    scaled_nf = run(dataset, tmp_path, method="standard").forward(values_of(dataset, "train"), dtype=np.float64)
    assert scaled_nf.mean(0) == pytest.approx([0] * 4, abs=1e-12)
    assert scaled_nf.std(0, ddof=1) == pytest.approx([1] * 4, rel=1e-12)


def test_moments_do_not_depend_on_how_many_rows_are_read_at_once(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(dataset, tmp_path / "whole", method="standard")
    monkeypatch.setattr(rows, "ROWS_AT_ONCE", 17)
    parts = run(dataset, tmp_path / "parts", method="standard")
    value_nf = values_of(dataset, "test")
    np.testing.assert_allclose(whole.forward(value_nf), parts.forward(value_nf), rtol=1e-6, atol=1e-7)


def test_quantiles_make_the_training_rows_flat(dataset: Path, tmp_path: Path) -> None:
    scaled_nf = run(dataset, tmp_path, method="quantile").forward(values_of(dataset, "train"), dtype=np.float64)
    count = len(scaled_nf)
    expected_n = 2 * np.arange(1, count + 1) / (count + 1) - 1
    # Few values occur twice and take the middle of their places.
    assert np.abs(np.sort(scaled_nf, axis=0) - expected_n[:, None]).max() < 3 / count


@pytest.mark.parametrize("target", ["uniform", "gauss"])
def test_the_quantile_sample_is_drawn_evenly_over_the_training_rows(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(rows, "ROWS_AT_ONCE", 100)
    scaler = run(dataset, tmp_path, method="quantile", target=target, max_samples=150)
    value_nf = values_of(dataset, "train")
    chosen_n = [number * len(value_nf) // 150 for number in range(150)]
    for number, transform in enumerate(scaler.transforms):
        assert isinstance(transform, Quantile)
        assert transform.target == target
        assert np.array_equal(transform.sample_i, np.sort(value_nf[chosen_n, number]))


@pytest.mark.parametrize("method", METHODS)
def test_statistics_do_not_depend_on_valid_and_test_rows(method: str, tmp_path: Path) -> None:
    columns = jets(120)
    before = organized(tmp_path / "one", columns)
    seen = rows_of(before, "train")["event"]
    hidden_n = ~np.isin(columns["event"], seen)
    changed = {name: np.where(hidden_n, 7 * columns[name], columns[name]).astype(np.float32) for name in FOUR}
    after = organized(tmp_path / "two", {**columns, **changed})
    assert not np.array_equal(values_of(before, "test"), values_of(after, "test"))
    found = []
    for name, dataset in (("one", before), ("two", after)):
        run(dataset, tmp_path / name / "statistics", method=method)
        found.append((tmp_path / name / "statistics" / STATISTICS).read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("method", METHODS)
def test_test_rows_come_back_within_what_float32_allows(method: str, dataset: Path, tmp_path: Path) -> None:
    scaler, value_nf = run(dataset, tmp_path, method=method), values_of(dataset, "test")
    again_nf = scaler.inverse(scaler.forward(value_nf))
    allowed = 1e-3 if method == "quantile" else 1e-6
    assert (np.abs(again_nf - value_nf) <= allowed * np.maximum(np.abs(value_nf), value_nf.std(0) / 10)).all()
    again_nf = scaler.inverse(scaler.forward(value_nf, dtype=np.float64), dtype=np.float64)
    assert again_nf == pytest.approx(value_nf, rel=1e-9)


def test_rows_and_events_that_were_used_are_reported(dataset: Path, tmp_path: Path) -> None:
    metrics = normalize(LocalFolder(dataset), LocalFolder(tmp_path), NormalizeConfig())
    train = rows_of(dataset, "train")
    assert metrics == {"events": len(set(train["event"].tolist())), "rows": len(train["pt"])}
    manifest, _ = read_statistics(LocalFolder(tmp_path))
    assert manifest.inputs == {"dataset": read_manifest(LocalFolder(dataset), "dataset", "jets").digest}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_rows_give_the_same_bytes(method: str, dataset: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(dataset, tmp_path / name, method=method)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("method", METHODS)
def test_whole_events_keep_their_absent_objects(method: str, tmp_path: Path) -> None:
    dataset = organized(tmp_path, whole_events(300))
    scaler, value_nf = run(dataset, tmp_path / "statistics", method=method), values_of(dataset, "test")
    scaled_nf = scaler.forward(value_nf)
    again_nf = scaler.inverse(scaled_nf)
    assert ((again_nf == 0) == (value_nf == 0)).all()
    assert 0.2 < (value_nf == 0).mean() < 0.9
    flags = [number for number, name in enumerate(scaler.columns) if name.startswith("is_")]
    assert np.array_equal(scaled_nf[:, flags], value_nf[:, flags])


def test_a_value_outside_the_domain_is_refused_with_its_place(tmp_path: Path) -> None:
    columns = jets(60)
    columns["pt"][::3] = -1
    dataset = organized(tmp_path, columns)
    train = rows_of(dataset, "train")
    row = int(np.flatnonzero(train["pt"] < 0)[0])
    with pytest.raises(DataError, match=rf"dataset, train split: pt is -1 GeV in row {row}, it must be above 0 GeV"):
        run(dataset, tmp_path / "statistics")
    assert not (tmp_path / "statistics/manifest.json").exists()


def test_a_value_that_is_not_finite_is_refused_by_measured_methods_too(tmp_path: Path) -> None:
    columns = jets(60)
    columns["eta"][:] = np.nan
    dataset = organized(tmp_path, columns)
    for method in ("standard", "quantile"):
        with pytest.raises(DataError, match=r"eta is nan in row 0, it must be finite"):
            run(dataset, tmp_path / method, method=method)


def test_a_constant_variable_is_told_and_left_unscaled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = {**jets(60), "phi": np.full(len(jets(60)["phi"]), 0.1, np.float32)}
    dataset = organized(tmp_path, columns)
    with caplog.at_level(logging.WARNING):
        scaler = run(dataset, tmp_path / "statistics", method="standard")
    assert "1 variables are the same in every training row" in caplog.text
    assert (scaler.forward(values_of(dataset, "test"))[:, 3] == 0).all()


def test_one_training_row_is_too_few(tmp_path: Path) -> None:
    dataset = organized(tmp_path, jets(1, most=1), train_fraction=1.0, valid_fraction=0.0, test_fraction=0.0)
    with pytest.raises(DataError, match=r"too few training rows to normalize \(1\)"):
        run(dataset, tmp_path / "statistics", method="standard")


def test_a_variable_without_constants_is_refused_before_the_rows_are_read(tmp_path: Path) -> None:
    columns = jets(60)
    dataset = organized(tmp_path, {**columns, "Jvt": columns["phi"]})
    for file in dataset.glob("*.parquet"):
        file.write_bytes(b"")
    with pytest.raises(SettingError, match=r"no constants for Jvt"):
        run(dataset, tmp_path / "statistics")


@pytest.mark.parametrize("content", ["", "{}", '{"variables": []}', '{"variables": {"pt": {"kind": "cube"}}}'])
def test_damaged_statistics_are_named(content: str, tmp_path: Path) -> None:
    (tmp_path / STATISTICS).write_text(content)
    with pytest.raises(FolderError, match=r"statistics.json is damaged"):
        read_scaler(LocalFolder(tmp_path))


def test_changed_statistics_are_refused(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path)
    plain = json.loads((tmp_path / STATISTICS).read_text())
    plain["variables"]["pt"]["scale"] = 2.0
    (tmp_path / STATISTICS).write_text(json.dumps(plain))
    with pytest.raises(FolderError, match=r"statistics.json"):
        read_statistics(LocalFolder(tmp_path))


def test_statistics_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"statistics.json is missing"):
        read_scaler(LocalFolder(tmp_path))


def test_a_run_that_is_killed_anywhere_ends_with_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    assert_mends("jets.normalize", {}, {"dataset": dataset}, "statistics", tmp_path, moments=3, at_least=3)
