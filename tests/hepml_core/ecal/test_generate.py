from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hepml_core.config import build_config
from hepml_core.ecal.config import GenerateConfig
from hepml_core.ecal.generate import EVENTS_PER_BLOCK, generate
from hepml_core.ecal.hits import hits_of_images
from hepml_core.ecal.toys import make_events
from hepml_core.errors import FolderError, SettingError
from hepml_core.storage import LocalFolder
from hepml_core.toy_folders import RECORD
from tests.class_folders import contents
from tests.kills import assert_mends

SMALL = GenerateConfig(events_per_class=90, events_per_file=50)


def test_each_class_has_its_files_with_images_labels_and_pseudorapidities(tmp_path: Path) -> None:
    metrics = generate(LocalFolder(tmp_path), SMALL)
    assert metrics == {"events": 180.0, "files": 4.0, "written": 4.0}
    names = {f"{name}_00{n}.hdf5": (label, n) for label, name in enumerate(("photon", "electron")) for n in (0, 1)}
    assert set(contents(tmp_path)) == {RECORD, *names}
    for name, (label, number) in names.items():
        with h5py.File(tmp_path / name, "r") as file:
            events = (50, 40)[number]
            assert file["X"].shape == (events, 32, 32, 2)
            assert file["X"].dtype == file["y"].dtype == np.float32
            assert (file["y"][:] == label).all()
            eta_e = file["eta"][:]
            assert eta_e.shape == (events,)
            assert np.abs(eta_e).max() < SMALL.eta_max


def test_a_file_holds_the_drawn_hits_block_after_block(tmp_path: Path) -> None:
    events = EVENTS_PER_BLOCK + 30
    generate(LocalFolder(tmp_path), GenerateConfig(events_per_class=events, seed=5))
    with h5py.File(tmp_path / "electron_000.hdf5", "r") as file:
        hits, eta_e = hits_of_images(file["X"][:]), file["eta"][:]
    for block, part in enumerate((slice(0, EVENTS_PER_BLOCK), slice(EVENTS_PER_BLOCK, events))):
        rng = np.random.default_rng([5, 1, 0, block])
        drawn = make_events(1, part.stop - part.start, GenerateConfig(), rng)
        mine = hits.of(np.arange(part.start, part.stop))
        assert np.array_equal(mine.crystal_h, drawn.hits.crystal_h)
        assert np.array_equal(mine.energy_h, drawn.hits.energy_h)
        assert np.array_equal(mine.time_h, drawn.hits.time_h)
        assert np.array_equal(eta_e[part], drawn.eta_e.astype(np.float32))


def test_one_process_writes_the_same_bytes_as_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(LocalFolder(tmp_path / "two"), SMALL)
    monkeypatch.setattr("hepml_core.parallel.cores", lambda: 1)
    generate(LocalFolder(tmp_path / "one"), SMALL)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_files_differ_from_one_another_and_between_seeds(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path / "a"), SMALL)
    generate(LocalFolder(tmp_path / "b"), replace(SMALL, seed=1))
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)
    etas = []
    for name in ("photon_000", "photon_001", "electron_000"):
        with h5py.File(tmp_path / "a" / f"{name}.hdf5", "r") as file:
            etas.append(set(file["eta"][:].tolist()))
    assert not etas[0] & etas[1]
    assert not etas[0] & etas[2]


def test_more_events_later_are_refused_and_the_files_left_as_they_are(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    before = contents(tmp_path)
    with pytest.raises(FolderError, match=r"other settings: events_per_class 90 \(now 200\)"):
        generate(LocalFolder(tmp_path), replace(SMALL, events_per_class=200))
    assert contents(tmp_path) == before


def test_a_full_file_does_not_depend_on_how_many_others_there_are(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path / "few"), SMALL)
    generate(LocalFolder(tmp_path / "many"), replace(SMALL, events_per_class=150))
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert few["photon_000.hdf5"] == many["photon_000.hdf5"]
    assert few["electron_000.hdf5"] == many["electron_000.hdf5"]


def test_a_killed_run_goes_on_to_the_same_bytes_as_one_that_was_not(tmp_path: Path) -> None:
    settings = {"events_per_class": 400, "events_per_file": 20}
    runs = assert_mends("ecal.generate", settings, {}, "source", tmp_path, moments=3)
    for run in runs:
        assert run.metrics == {"events": 800.0, "files": 40.0, "written": 41.0 - len(run.found | {RECORD})}
        assert run.kept == run.found
    assert 0 < runs[1].metrics["written"] < 40


def test_a_finished_run_writes_nothing_again_and_an_empty_file_is_made_again(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    before = contents(tmp_path)
    assert generate(LocalFolder(tmp_path), SMALL)["written"] == 0
    (tmp_path / "photon_001.hdf5").write_bytes(b"")
    assert generate(LocalFolder(tmp_path), SMALL)["written"] == 1
    assert contents(tmp_path) == before


def test_a_folder_with_files_of_the_user_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.hdf5").write_bytes(b"years of work")
    with pytest.raises(FolderError, match=r"thesis\.hdf5"):
        generate(LocalFolder(tmp_path), SMALL)
    assert contents(tmp_path) == {"thesis.hdf5": b"years of work"}


@pytest.mark.parametrize(
    "settings",
    [
        {"events_per_class": 0},
        {"events_per_file": 0},
        {"seed": -1},
        {"pt_gev": 1},
        {"eta_max": 2},
        {"positron_fraction": 1.1},
        {"material_scale": -1},
        {"width_jitter": 5},
        {"spot_gev": 0},
        {"noise_gev": 0},
        {"trigger_jitter_ns": -1},
        {"field_tesla": "nan"},
    ],
)
def test_nonsense_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        build_config(GenerateConfig, settings)


def test_a_detector_without_field_material_jitter_and_spread_still_gives_events(tmp_path: Path) -> None:
    bare = replace(SMALL, field_tesla=0.0, material_scale=0.0, width_jitter=0.0, trigger_jitter_ns=0.0)
    assert generate(LocalFolder(tmp_path), bare)["written"] == 4
