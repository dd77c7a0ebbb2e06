"""Statistics of the training hits, and of nothing else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.artifacts import read_manifest
from hepml_core.config import build_config
from hepml_core.ecal import hit_set
from hepml_core.ecal.config import NormalizeConfig, TimeOrigin
from hepml_core.ecal.hits import Hits, hits_of_images
from hepml_core.ecal.normalize import STATISTICS, normalize, origin_of
from hepml_core.errors import DataError, FolderError, HepmlError
from hepml_core.storage import LocalFolder
from tests.ecal_shards import (
    class_file,
    events_of,
    make_dataset,
    make_folders,
    make_shards,
    shower_images,
    write_hdf5,
)
from tests.kills import assert_mends

ORIGINS: tuple[TimeOrigin, ...] = ("trigger", "seed", "energy_weighted")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folders(tmp_path_factory.mktemp("normalize")).dataset


def run(dataset: Path, statistics: Path, **settings: Any) -> dict[str, Any]:
    metrics = normalize(LocalFolder(dataset), LocalFolder(statistics), build_config(NormalizeConfig, settings))
    found: dict[str, Any] = json.loads((statistics / STATISTICS).read_text())
    assert metrics.items() <= found.items()
    return found


def naive_origin(energies: list[float], times: list[float], method: str) -> float:
    """The definition, for one event."""
    if method == "trigger" or not energies:
        return 0
    if method == "seed":
        return times[energies.index(max(energies))]
    return sum(energy * time for energy, time in zip(energies, times, strict=True)) / sum(energies)


def split_by_event(hits: Hits) -> list[tuple[list[float], list[float]]]:
    return [
        (hits.energy_h[first:stop].tolist(), hits.time_h[first:stop].tolist())
        for first, stop in zip(hits.first_e[:-1], hits.first_e[1:], strict=True)
    ]


EVENT = st.lists(st.tuples(st.sampled_from([0.25, 0.5, 1.0, 1.5]), st.floats(-2, 2, width=32)), max_size=5)


@given(st.lists(EVENT, max_size=6), st.sampled_from(ORIGINS))
def test_the_origin_of_times_is_that_of_its_definition(events: list[Any], method: TimeOrigin) -> None:
    image_eyxc = np.zeros((len(events), 1, 5, 2), np.float32)
    for image_yxc, event in zip(image_eyxc, events, strict=True):
        for crystal, hit in enumerate(event):
            image_yxc[0, crystal] = hit
    hits = hits_of_images(image_eyxc)
    expected = [naive_origin(energies, times, method) for energies, times in split_by_event(hits)]
    assert origin_of(hits, method).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("method", ["seed", "energy_weighted"])
def test_a_jitter_of_the_trigger_cancels_in_times_against_the_event(method: TimeOrigin) -> None:
    image_eyxc = shower_images(20, 1)
    shifted = image_eyxc.copy()
    shifted[..., 1] += 0.5 * (shifted[..., 0] > 0)
    hits, late = hits_of_images(image_eyxc), hits_of_images(shifted)
    found, moved = (one.time_h - origin_of(one, method)[one.event_h] for one in (hits, late))
    np.testing.assert_allclose(moved, found, atol=1e-6)


@pytest.mark.parametrize("time", ORIGINS)
@pytest.mark.parametrize("energy", ["none", "max", "standard", "log"])
def test_scales_are_those_of_all_training_hits(energy: str, time: TimeOrigin, dataset: Path, tmp_path: Path) -> None:
    found = run(dataset, tmp_path, energy=energy, time=time, log_energy=3e-3)
    hits = events_of(dataset, "train").hits
    energy_h = hits.energy_h.astype(np.float64)
    scales = {
        "none": 1.0,
        "max": energy_h.max(),
        "standard": energy_h.std(),
        "log": np.log1p(energy_h / 3e-3).std(),
    }
    time_h = hits.time_h - origin_of(hits, time)[hits.event_h].astype(np.float64)
    assert found["energy_scale"] == pytest.approx(scales[energy], rel=1e-12)
    assert found["time_scale"] == pytest.approx(time_h.std(), rel=1e-9)
    assert (found["energy"], found["time"], found["log_energy"]) == (energy, time, 3e-3)
    assert (found["events"], found["hits"]) == (60, len(energy_h))
    assert (found["energy_mean"], found["energy_max"]) == pytest.approx((energy_h.mean(), energy_h.max()), rel=1e-12)


def test_parts_do_not_change_what_is_measured(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(dataset, tmp_path / "whole")
    monkeypatch.setattr(hit_set, "RECORDS_PER_READ", 7)
    parts = run(dataset, tmp_path / "parts")
    assert {name: value for name, value in parts.items() if not isinstance(value, str)} == pytest.approx(
        {name: value for name, value in whole.items() if not isinstance(value, str)}, rel=1e-9
    )


def test_valid_and_test_events_are_not_looked_at(tmp_path: Path) -> None:
    for name, factor in (("one", 1.0), ("two", 3.0)):
        for label, file in enumerate(("photons", "electrons")):
            image_eyxc = shower_images(40, label)
            image_eyxc[20:] *= factor
            write_hdf5(tmp_path / name / "source" / f"{file}.h5", {"X": image_eyxc, "y": np.full(40, label)})
        shards = make_shards(tmp_path / name / "source", tmp_path / name / "shards")
        make_dataset(shards, tmp_path / name / "dataset", method="rows", valid_row=20, test_row=30)
        run(tmp_path / name / "dataset", tmp_path / name / "statistics")
    one, two = ((tmp_path / name / "statistics" / STATISTICS).read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_number_of_samples_takes_so_many_of_each_class(dataset: Path, tmp_path: Path) -> None:
    found = run(dataset, tmp_path, max_samples=11)
    folder = LocalFolder(dataset)
    events = hit_set.read_events(folder, read_manifest(folder, "dataset", "ecal"), "train", 11)
    assert (found["events"], found["hits"]) == (22, len(events.hits.energy_h))
    assert found["energy_std"] == pytest.approx(events.hits.energy_h.astype(np.float64).std(), rel=1e-9)


def test_times_that_are_all_the_same_are_left_unscaled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for label in (0, 1):
        image_eyxc = shower_images(20, label)
        image_eyxc[..., 1] = 0
        write_hdf5(tmp_path / "source" / f"{label}.h5", {"X": image_eyxc, "y": np.full(20, label)})
    dataset = make_dataset(make_shards(tmp_path / "source", tmp_path / "shards"), tmp_path / "dataset")
    with caplog.at_level(logging.WARNING):
        assert run(dataset, tmp_path / "statistics")["time_scale"] == 1
    assert "all times are the same" in caplog.text


def test_training_events_without_a_hit_are_refused(tmp_path: Path) -> None:
    for label in (0, 1):
        class_file(tmp_path / "source" / f"{label}.h5", label, 10)
    shards = make_shards(tmp_path / "source", tmp_path / "shards", min_energy=5)
    dataset = make_dataset(shards, tmp_path / "dataset")
    with pytest.raises(DataError, match=r"no training event of .* has a hit: convert with a lower min_energy"):
        normalize(LocalFolder(dataset), LocalFolder(tmp_path / "statistics"), NormalizeConfig())


def test_a_folder_of_another_stage_and_other_settings_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="is a shards folder, made by convert; a dataset folder"):
        run(dataset.with_name("shards"), tmp_path / "one")
    run(dataset, tmp_path / "two")
    with pytest.raises(FolderError, match="energy was 'log', is 'max'"):
        run(dataset, tmp_path / "two", energy="max")


def test_a_run_that_is_killed_anywhere_ends_with_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    assert_mends("ecal.normalize", {}, {"dataset": dataset}, "statistics", tmp_path, moments=3, at_least=3)


@pytest.mark.parametrize("settings", [{"log_energy": 0}, {"max_samples": -1}, {"energy": "sqrt"}, {"time": "bunch"}])
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HepmlError, match=r"must|unknown value"):
        build_config(NormalizeConfig, settings)
