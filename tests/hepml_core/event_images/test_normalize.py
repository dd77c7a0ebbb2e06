"""Means and standard deviations against numpy over the same pictures."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from hepml_core.artifacts import read_manifest
from hepml_core.config import build_config
from hepml_core.errors import FolderError, SettingError
from hepml_core.event_images.batches import PictureBatch
from hepml_core.event_images.config import ConvertConfig, NormalizeConfig, OrganizeConfig
from hepml_core.event_images.convert import convert
from hepml_core.event_images.normalize import normalize, pixel_moments
from hepml_core.event_images.organize import organize
from hepml_core.storage import LocalFolder
from tests.class_folders import Picture, contents, examples, manifest_of, picture, png, write


def organized(root: Path, pictures: dict[str, Picture], channels: Any = 3) -> Path:
    """Bring pictures by name to a dataset, 60 % of each class to train."""
    source = write(root / "source", {name: png(picture) for name, picture in pictures.items()})
    convert(LocalFolder(source), LocalFolder(root / "shards"), ConvertConfig(channels=channels))
    config = OrganizeConfig(exact=True, train_fraction=0.6, valid_fraction=0.2, test_fraction=0.2)
    organize(LocalFolder(root / "shards"), LocalFolder(root / "dataset"), config)
    return root / "dataset"


def measured(dataset: Path, **settings: Any) -> dict[str, Any]:
    """Run the stage and return what it wrote."""
    statistics = dataset.with_name("statistics")
    normalize(LocalFolder(dataset), LocalFolder(statistics), NormalizeConfig(**settings))
    written: dict[str, Any] = json.loads((statistics / "statistics.json").read_text())
    return written


def train_keys(dataset: Path) -> list[str]:
    return [one["key"].decode() for one in examples(dataset, "train")]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (5, 13)])
def test_statistics_are_those_of_numpy_over_the_training_pictures(
    tmp_path: Path, channels: int, bits: int, size: tuple[int, int]
) -> None:
    pictures = {
        f"{name}/{n}.png": picture(100 * label + n, size=size, channels=channels, bits=bits)
        for label, name in enumerate("ab")
        for n in range(20)
    }
    dataset = organized(tmp_path, pictures, channels)
    found = measured(dataset)
    train_nyxc = np.stack([pictures[key] for key in train_keys(dataset)]) / (2**bits - 1)
    assert len(train_nyxc) == found["events"] == 24
    assert found["pixels"] == 24 * size[0] * size[1]
    assert found["mean"] == pytest.approx(train_nyxc.mean((0, 1, 2)), rel=1e-9)
    assert found["std"] == pytest.approx(train_nyxc.std((0, 1, 2)), rel=1e-9)


def test_mixed_bits_count_the_same(tmp_path: Path) -> None:
    eight = {f"a/{n}.png": picture(n) for n in range(10)}
    sixteen = {f"b/{n}.png": picture(n, bits=16) for n in range(10)}
    dataset = organized(tmp_path, {**eight, **sixteen})
    found = measured(dataset)
    scaled = {name: one / np.iinfo(one.dtype).max for name, one in {**eight, **sixteen}.items()}
    train_nyxc = np.stack([scaled[key] for key in train_keys(dataset)])
    assert found["mean"] == pytest.approx(train_nyxc.mean((0, 1, 2)), rel=1e-9)
    assert found["std"] == pytest.approx(train_nyxc.std((0, 1, 2)), rel=1e-9)


def test_only_the_train_split_is_read(tmp_path: Path) -> None:
    dataset = organized(tmp_path, {f"{c}/{n}.png": picture(ord(c) + 300 * n) for c in "ab" for n in range(10)})
    entries = read_manifest(LocalFolder(dataset), "dataset", "event_images").files
    before = measured(dataset)
    reads: list[str] = []
    read = LocalFolder.read

    def noted(folder: LocalFolder, name: str, *bounds: Any) -> bytes:
        reads.append(name)
        return read(folder, name, *bounds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hepml_core.event_images.normalize.check_files", lambda *_: None)  # that reads all, to check
        patch.setattr(LocalFolder, "read", noted)
        normalize(LocalFolder(dataset), LocalFolder(tmp_path / "again"), NormalizeConfig())
    assert json.loads((tmp_path / "again/statistics.json").read_text()) == before
    assert not [name for name in reads if name.startswith(("valid", "test"))]
    assert [name for name in reads if name.startswith("train")]
    assert {entry.split for entry in entries if entry.records} == {"train", "valid", "test"}


def test_max_samples_takes_so_many_pictures_and_the_same_ones_every_time(tmp_path: Path) -> None:
    pictures = {f"{name}/{n}.png": picture(100 * label + n) for label, name in enumerate("ab") for n in range(20)}
    dataset = organized(tmp_path, pictures)
    found = measured(dataset, max_samples=7)
    assert (found["events"], found["pixels"]) == (7, 7 * 64)
    everything = np.stack([pictures[key] for key in train_keys(dataset)]) / 255
    assert found["mean"] == pytest.approx(everything.mean((0, 1, 2)), abs=0.1)
    normalize(LocalFolder(dataset), LocalFolder(tmp_path / "again"), NormalizeConfig(max_samples=7))
    assert contents(tmp_path / "again") == contents(tmp_path / "statistics")
    normalize(LocalFolder(dataset), LocalFolder(tmp_path / "all"), NormalizeConfig(max_samples=10_000))
    assert json.loads((tmp_path / "all/statistics.json").read_text())["events"] == 24


@pytest.mark.parametrize("bits", [8, 16])
def test_a_constant_channel_has_exactly_no_deviation_and_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bits: int
) -> None:
    pictures = {}
    for name in ("a", "b"):
        for n in range(10):
            pictures[f"{name}/{n}.png"] = picture(n + 100 * ord(name), bits=bits)
            pictures[f"{name}/{n}.png"][..., 1] = 2**bits - 3
    found = measured(organized(tmp_path, pictures))
    assert found["mean"][1] == pytest.approx((2**bits - 3) / (2**bits - 1), rel=1e-12)
    assert found["std"][1] == 0.0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(("dtype", "size"), [(np.uint16, (1500, 1500)), (np.uint8, (70_000, 2))])
def test_large_pictures_overflow_no_sum(dtype: type, size: tuple[int, int]) -> None:
    full = np.iinfo(dtype).max
    image_byxc: Picture = np.full((2, *size, 1), full, dtype)
    nothing = np.zeros(2, np.int64)
    constant = pixel_moments(PictureBatch(image_byxc, nothing, nothing, []))
    assert (constant.mean_c[0], constant.std_c[0]) == (1.0, 0.0)
    image_byxc[0, 0, 0] = full - 1
    moments = pixel_moments(PictureBatch(image_byxc, nothing, nothing, []))
    count = image_byxc.size
    assert moments.std_c[0] == pytest.approx(np.sqrt((1 / count) * (1 - 1 / count)) / full, rel=1e-9)


def test_the_manifest_names_the_dataset_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    dataset = organized(tmp_path, {f"{c}/{n}.png": picture(ord(c) + 300 * n) for c in "ab" for n in range(10)})
    measured(dataset)
    manifest = manifest_of(tmp_path / "statistics")
    assert manifest["inputs"] == {"dataset": read_manifest(LocalFolder(dataset), "dataset", "event_images").digest}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "statistics").rglob("*")}
    measured(dataset)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "statistics").rglob("*")} == before
    with pytest.raises(FolderError, match="max_samples was 0, is 3"):
        measured(dataset, max_samples=3)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("higgs", [0.0068, 0.0377, 0.0404], [0.081, 0.190, 0.197]),
        ("jpsi", [0.0060, 0.0311, 0.0322], [0.076, 0.173, 0.177]),
    ],
)
def test_a_picture_of_cms_has_the_known_moments(
    real_data: Path, tmp_path: Path, name: str, mean: list[float], std: list[float]
) -> None:
    one_yxc = imagecodecs.png_decode((real_data / f"event_images/cms_views/{name}.png").read_bytes())
    found = measured(organized(tmp_path, {f"{label}/{n}.png": one_yxc for label in "ab" for n in range(5)}))
    assert found["mean"] == pytest.approx(mean, abs=5.1e-5)
    assert found["std"] == pytest.approx(std, abs=5.1e-4)


def test_a_changed_dataset_is_refused(tmp_path: Path) -> None:
    dataset = organized(tmp_path, {f"{c}/{n}.png": picture(ord(c) + 300 * n) for c in "ab" for n in range(10)})
    (shard,) = dataset.glob("train-*.tfrecord")
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(FolderError, match=rf"{shard.name} has \d+ bytes"):
        measured(dataset)


def test_a_negative_number_of_samples_is_refused() -> None:
    with pytest.raises(SettingError, match="max_samples"):
        build_config(NormalizeConfig, {"max_samples": -1})
