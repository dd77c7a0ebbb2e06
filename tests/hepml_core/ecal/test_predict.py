"""A model applied to new files: every row, in blocks, cut and cropped as the model's events were."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepml_core.config import build_config
from hepml_core.ecal import hdf5_layout
from hepml_core.ecal import predict as predict_module
from hepml_core.ecal.config import PredictConfig
from hepml_core.ecal.hits import hits_of_images
from hepml_core.ecal.predict import predict
from hepml_core.errors import DataError, FolderError, HepmlError, UnknownNameError
from hepml_core.storage import LocalFolder
from tests.ecal_models import KnownScores, blurred, make_model
from tests.ecal_shards import (
    ELECTRON,
    PHOTON,
    ToyFolders,
    class_file,
    make_dataset,
    make_folders,
    make_shards,
    shower_images,
    write_hdf5,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> ToyFolders:
    return make_folders(tmp_path_factory.mktemp("ecal"), 20)


@pytest.fixture(scope="module")
def model(folders: ToyFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(folders.dataset, tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> KnownScores:
    known = KnownScores(blurred)
    monkeypatch.setattr(predict_module, "Classifier", known)
    return known


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A labelled file of electrons and an unlabelled one of photons, in a folder of its own."""
    class_file(tmp_path / "new/electrons.h5", ELECTRON, 30, first=100)
    write_hdf5(tmp_path / "new/run/unknown.hdf5", {"X": shower_images(23, PHOTON, first=200)})
    return tmp_path / "new"


def run(source: Path, model: Path, predictions: Path, **settings: Any) -> dict[str, float]:
    config = build_config(PredictConfig, {"device": "cpu", **settings})
    return dict(predict(LocalFolder(source), LocalFolder(model), LocalFolder(predictions), config))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def manifest_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def test_every_row_of_every_file_is_classified_labelled_or_not(
    new: Path, model: Path, tmp_path: Path, scores: KnownScores
) -> None:
    assert run(new, model, tmp_path / "out") == {"events": 53, "skipped": 0}
    rows = rows_of(tmp_path / "out")
    places = [("electrons.h5", n) for n in range(30)] + [("run/unknown.hdf5", n) for n in range(23)]
    assert [(row["file"], int(row["row"])) for row in rows] == places
    images = np.concatenate([shower_images(30, ELECTRON, first=100), shower_images(23, PHOTON, first=200)])
    for row, electron in zip(rows, blurred(hits_of_images(images)), strict=True):
        assert float(row["p_electron"]) == pytest.approx(electron, abs=1e-5)
        assert row["predicted"] == ("electron" if electron > 0.5 else "photon")
    assert [file["name"] for file in manifest_of(tmp_path / "out")["files"]] == ["predictions.csv"]
    assert scores.seen


def test_events_are_read_in_blocks_and_neither_these_nor_batches_change_a_byte(
    new: Path, model: Path, tmp_path: Path, scores: KnownScores, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(new, model, tmp_path / "whole")
    assert [len(hits) for hits in scores.seen] == [30, 23]
    scores.seen.clear()
    monkeypatch.setattr(hdf5_layout, "BLOCK_BYTES", 7 * 32 * 32 * 2 * 4)
    run(new, model, tmp_path / "blocks", batch_size=3)
    assert max(len(hits) for hits in scores.seen) <= 16, "a chunk of the file"
    assert sum(len(hits) for hits in scores.seen) == 53
    one, other = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "blocks"))
    assert one == other


def test_hits_are_cut_and_images_cropped_as_those_of_the_model_were(
    folders: ToyFolders, new: Path, tmp_path: Path, scores: KnownScores
) -> None:
    shards = make_shards(folders.source, tmp_path / "shards", crop=16, min_energy=0.002, max_time=0.02)
    model = make_model(make_dataset(shards, tmp_path / "dataset"), tmp_path / "model")
    run(new, model, tmp_path / "out")
    expected = hits_of_images(shower_images(30, ELECTRON, first=100))
    expected = expected.where((expected.energy_h > 0.002) & (np.abs(expected.time_h) < 0.02)).cropped(16)
    for found, wanted in zip(
        (scores.seen[0].crystal_h, scores.seen[0].energy_h, scores.seen[0].time_h, scores.seen[0].first_e),
        (expected.crystal_h, expected.energy_h, expected.time_h, expected.first_e),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)
    assert scores.seen[0].shape == (16, 16)


def test_images_of_another_size_are_refused_before_any_work(
    new: Path, model: Path, tmp_path: Path, scores: KnownScores
) -> None:
    class_file(new / "small.h5", PHOTON, 4, size=24)
    with pytest.raises(DataError, match=r"small\.h5 has images of 24 x 24 crystals, the model was fitted to 32 x 32"):
        run(new, model, tmp_path / "out")
    assert not scores.seen
    assert not (tmp_path / "out").exists()


def test_images_smaller_than_the_models_crop_are_refused(
    folders: ToyFolders, tmp_path: Path, scores: KnownScores
) -> None:
    shards = make_shards(folders.source, tmp_path / "shards", crop=16)
    model = make_model(make_dataset(shards, tmp_path / "dataset"), tmp_path / "model")
    class_file(tmp_path / "new/small.h5", PHOTON, 4, size=12)
    with pytest.raises(DataError, match=r"12 x 12 crystals, the model was fitted to 16 x 16 \(crop=16\)"):
        run(tmp_path / "new", model, tmp_path / "out")
    assert not scores.seen


def test_files_in_other_units_are_read_with_their_scales_and_noticed_without(
    model: Path, tmp_path: Path, scores: KnownScores
) -> None:
    image_eyxc = shower_images(30, ELECTRON)
    write_hdf5(tmp_path / "known/a.h5", {"X": image_eyxc})
    write_hdf5(tmp_path / "gev/a.h5", {"X": image_eyxc * np.array([50, 25], np.float32)})
    run(tmp_path / "known", model, tmp_path / "one")
    with pytest.raises(DataError, match=r"time_scale=0\.04"):
        run(tmp_path / "gev", model, tmp_path / "two")
    run(tmp_path / "gev", model, tmp_path / "two", energy_scale=0.02, time_scale=0.04)
    np.testing.assert_allclose(scores.seen[-1].energy_h, scores.seen[0].energy_h, rtol=1e-6)
    np.testing.assert_allclose(scores.seen[-1].time_h, scores.seen[0].time_h, rtol=1e-5)
    for one, two in zip(rows_of(tmp_path / "one"), rows_of(tmp_path / "two"), strict=True):
        assert one["row"] == two["row"]


def test_a_bad_event_stops_with_its_place_and_remedy_or_is_left_out_if_asked(
    model: Path, tmp_path: Path, scores: KnownScores
) -> None:
    image_eyxc = shower_images(20, PHOTON)
    image_eyxc[4, 0, 0, 0] = np.nan
    image_eyxc[17, 3, 3, 0] = -1
    write_hdf5(tmp_path / "new/a.h5", {"X": image_eyxc, "y": np.full(20, np.nan, np.float32)})
    with pytest.raises(DataError, match=r"a\.h5, row 4: .*on_bad_input=skip"):
        run(tmp_path / "new", model, tmp_path / "out")
    assert run(tmp_path / "new", model, tmp_path / "skipped", on_bad_input="skip") == {"events": 18, "skipped": 2}
    assert [int(row["row"]) for row in rows_of(tmp_path / "skipped")] == [n for n in range(20) if n not in (4, 17)]
    skipped = manifest_of(tmp_path / "skipped")["facts"]["skipped"]
    assert [(one["file"], one["row"]) for one in skipped] == [("a.h5", 4), ("a.h5", 17)]
    assert scores.seen


def test_a_file_of_bad_events_only_is_refused(model: Path, tmp_path: Path, scores: KnownScores) -> None:
    write_hdf5(tmp_path / "new/a.h5", {"X": np.full((3, 32, 32, 2), np.nan, np.float32)})
    with pytest.raises(DataError, match=r"none of the events .* a\.h5, row 0"):
        run(tmp_path / "new", model, tmp_path / "out", on_bad_input="skip")
    assert not (tmp_path / "out/manifest.json").exists()
    assert not (tmp_path / "out/predictions.csv").exists()
    assert not scores.seen


def test_what_is_no_file_of_images_is_refused(new: Path, model: Path, tmp_path: Path, scores: KnownScores) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file"):
        run(tmp_path / "empty", model, tmp_path / "out")
    write_hdf5(tmp_path / "other/a.h5", {"x": np.zeros(3)})
    with pytest.raises(UnknownNameError, match="'X'"):
        run(tmp_path / "other", model, tmp_path / "out")
    whole = (new / "electrons.h5").read_bytes()
    (new / "electrons.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"electrons\.h5 is cut or damaged"):
        run(new, model, tmp_path / "out")
    assert not scores.seen


def test_a_second_run_does_nothing_and_other_files_are_refused(
    new: Path, model: Path, tmp_path: Path, scores: KnownScores
) -> None:
    first = run(new, model, tmp_path / "out")
    scores.seen.clear()
    assert run(new, model, tmp_path / "out") == first
    assert not scores.seen
    class_file(new / "more.h5", PHOTON, 4)
    with pytest.raises(FolderError, match="the source changed"):
        run(new, model, tmp_path / "out")


def test_a_killed_run_is_begun_anew_with_the_same_bytes(
    new: Path, model: Path, tmp_path: Path, scores: KnownScores, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(new, model, tmp_path / "whole")
    scores.seen.clear()

    def die(*rest: Any, **options: Any) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict_module, "lines_of", die)
        with pytest.raises(KeyboardInterrupt):
            run(new, model, tmp_path / "out")
    assert not (tmp_path / "out/predictions.csv").exists()
    run(new, model, tmp_path / "out")
    for name in ("predictions.csv", "manifest.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.csv", "manifest.json"}


@pytest.mark.parametrize(
    "settings", [{"batch_size": 0}, {"energy_scale": 0}, {"time_scale": -1}, {"on_bad_input": "ask"}]
)
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HepmlError, match=next(iter(settings))):
        build_config(PredictConfig, settings)
