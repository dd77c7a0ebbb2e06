"""A model applied to new pictures."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from hepml_core.config import build_config
from hepml_core.errors import DataError, FolderError, HepmlError, SettingError
from hepml_core.event_images.config import (
    ConvertConfig,
    NormalizeConfig,
    OrganizeConfig,
    PredictConfig,
    TrainConfig,
)
from hepml_core.event_images.convert import convert
from hepml_core.event_images.normalize import normalize
from hepml_core.event_images.organize import organize
from hepml_core.event_images.predict import predict
from hepml_core.event_images.train import train
from hepml_core.storage import LocalFolder, open_folder
from tests.class_folders import jpeg, manifest_of, picture, png, skipped, with_pillow, write
from tests.conftest import Toy, Trained
from tests.gcs_emulator import GcsEmulator

pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning")

SIZE = (32, 32)


def run(source: Path, trained: Trained, predictions: Path, **settings: Any) -> dict[str, float]:
    config = PredictConfig(**{"device": "cpu", **settings})
    return dict(predict(LocalFolder(source), trained.model, LocalFolder(predictions), config))


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Pictures of many kinds in folders of any depth."""
    image = Image.fromarray(picture(1, size=SIZE))
    return write(
        tmp_path / "new",
        {
            "top.png": png(picture(2, size=SIZE)),
            'train/a, b/größe "1".png': png(picture(3, size=SIZE)),
            "run/1/2/jet.jpeg": jpeg(4, size=32),
            "run/1/grey.png": png(picture(5, size=SIZE, channels=1)),
            "run/1/sixteen.png": png(picture(6, size=SIZE, bits=16)),
            "run/1/rgba.png": png(picture(7, size=SIZE, channels=4)),
            "run/cmyk.jpg": with_pillow(image.convert("CMYK"), "JPEG"),
            "run/palette.png": with_pillow(image.quantize(5)),
        },
    )


def test_pictures_of_every_kind_in_any_folder_are_classified(new: Path, trained: Trained, tmp_path: Path) -> None:
    assert run(new, trained, tmp_path / "out") == {"events": 8, "skipped": 0}
    rows = rows_of(tmp_path / "out")
    assert set(rows) == {path.relative_to(new).as_posix() for path in new.rglob("*.*")}
    for row in rows.values():
        assert float(row["p_bright"]) + float(row["p_dark"]) == pytest.approx(1, abs=2e-6)
        assert row["predicted"] == ("bright" if float(row["p_bright"]) > float(row["p_dark"]) else "dark")
    assert manifest_of(tmp_path / "out")["facts"]["class_names"] == ["bright", "dark"]


def test_batches_do_not_change_what_is_predicted(new: Path, trained: Trained, tmp_path: Path) -> None:
    for size in (1, 3, 64):
        run(new, trained, tmp_path / str(size), batch_size=size)
    expected = rows_of(tmp_path / "64")
    for size in (1, 3):
        for key, row in rows_of(tmp_path / str(size)).items():
            assert float(row["p_dark"]) == pytest.approx(float(expected[key]["p_dark"]), abs=1e-5)


def test_evaluate_and_predict_agree_on_the_same_picture(toy: Toy, trained: Trained, tmp_path: Path) -> None:
    run(toy.source.path, trained, tmp_path / "out")
    mine = rows_of(tmp_path / "out")
    judged = rows_of(trained.report.path)
    assert len(judged) == 36
    assert len(mine) == 120
    for key, row in judged.items():
        assert mine[key]["predicted"] == row["predicted"]
        assert float(mine[key]["p_dark"]) == pytest.approx(float(row["p_dark"]), abs=1e-5)


BAD = {
    "cut.png": (png(picture(1, size=SIZE))[:-9], "cut"),
    "empty.png": (b"", "empty"),
    "notes.txt": (b"calibration", "neither PNG nor JPEG"),
    "run/large.png": (png(picture(1, size=(40, 32))), "has 32x40 pixels, the model was fitted to 32x32"),
    "run/two\nlines.png": (png(picture(1, size=SIZE)), "control character"),
    os.fsdecode(b"latin\xe9.png"): (png(picture(1, size=SIZE)), "not valid UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_stops_with_its_name_reason_and_remedy(
    new: Path, trained: Trained, tmp_path: Path, name: str
) -> None:
    write(new, {name: BAD[name][0]})
    with pytest.raises(DataError) as error:
        run(new, trained, tmp_path / "out")
    assert str(new / name) in str(error.value)
    assert BAD[name][1] in str(error.value)
    assert "on_bad_input=skip" in str(error.value)
    assert not (tmp_path / "out/manifest.json").exists()


def test_bad_files_are_left_out_and_listed_if_asked(new: Path, trained: Trained, tmp_path: Path) -> None:
    write(new, {name: content for name, (content, _) in BAD.items()})
    (new / "link.png").symlink_to("nowhere")
    metrics = run(new, trained, tmp_path / "out", on_bad_input="skip", batch_size=2)
    assert metrics == {"events": 8, "skipped": len(BAD) + 1}
    told = skipped(tmp_path / "out")
    assert set(told) == {*BAD, "link.png"}
    assert all(reason in told[name] for name, (_, reason) in BAD.items())


def test_a_file_that_vanishes_amid_the_work_is_a_bad_one(
    new: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = LocalFolder.read

    def lose(folder: LocalFolder, name: str, *bounds: Any) -> bytes:
        if name == "top.png":
            (new / name).unlink(missing_ok=True)
        return read(folder, name, *bounds)

    monkeypatch.setattr(LocalFolder, "read", lose)
    run(new, trained, tmp_path / "out", on_bad_input="skip")
    assert "removed" in skipped(tmp_path / "out")["top.png"]


def test_a_folder_of_bad_files_only_is_refused(trained: Trained, tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"a.png": b"", "b.png": b"x"})
    with pytest.raises(DataError, match=r"none of the pictures .* a\.png: the file is empty"):
        run(source, trained, tmp_path / "out", on_bad_input="skip")


def test_a_second_run_does_nothing_and_other_pictures_are_refused(new: Path, trained: Trained, tmp_path: Path) -> None:
    first = run(new, trained, tmp_path / "out")
    assert run(new, trained, tmp_path / "out") == first
    write(new, {"more.png": png(picture(9, size=SIZE))})
    with pytest.raises(FolderError, match="the source changed"):
        run(new, trained, tmp_path / "out")


def test_a_model_of_resized_pictures_resizes_new_ones(toy: Toy, tmp_path: Path) -> None:
    names = ("shards", "dataset", "statistics", "model")
    shards, dataset, statistics, model = (LocalFolder(tmp_path / name) for name in names)
    convert(toy.source, shards, ConvertConfig(image_size=16))
    organize(shards, dataset, OrganizeConfig(exact=True))
    normalize(dataset, statistics, NormalizeConfig())
    train(dataset, statistics, model, TrainConfig(epochs=1, device="cpu"))
    source = write(tmp_path / "new", {f"{n}.png": png(picture(n, size=(10 + n, 50 - n))) for n in range(3)})
    assert predict(LocalFolder(source), model, LocalFolder(tmp_path / "out"), PredictConfig())["events"] == 3


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsEmulator]:
    with GcsEmulator("bucket") as store:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
        yield store


def test_pictures_in_an_object_store_are_classified_alike(
    new: Path, trained: Trained, tmp_path: Path, store: GcsEmulator
) -> None:
    there = open_folder("gs://bucket/new")
    there.upload(new, [path.relative_to(new).as_posix() for path in new.rglob("*.*")])
    run(new, trained, tmp_path / "here")
    predict(there, trained.model, LocalFolder(tmp_path / "there"), PredictConfig(device="cpu"))
    assert rows_of(tmp_path / "there") == rows_of(tmp_path / "here")


def test_a_gpu_that_is_not_there_is_told(new: Path, trained: Trained, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SettingError, match="device=gpu"):
        run(new, trained, tmp_path / "out", device="gpu")


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"max_pixels": 0}, {"on_bad_input": "ignore"}])
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HepmlError, match=next(iter(settings))):
        build_config(PredictConfig, settings)
