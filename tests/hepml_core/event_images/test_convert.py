"""Class folders become shards: nothing is lost, changed or kept secret."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from hepml_core import parallel
from hepml_core.config import build_config
from hepml_core.errors import DataError, FolderError, HepmlError, StorageError
from hepml_core.event_images.config import ConvertConfig, OrganizeConfig
from hepml_core.event_images.convert import convert
from hepml_core.event_images.organize import organize
from hepml_core.event_images.pictures import decode_into
from hepml_core.storage import LocalFolder, open_folder
from tests.class_folders import (
    contents,
    examples,
    jpeg,
    manifest_of,
    noise_classes,
    picture,
    png,
    png_of,
    shard_bytes,
    skipped,
    with_pillow,
    write,
)
from tests.gcs_emulator import GcsEmulator

pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning")

SKIP = ConvertConfig(on_bad_input="skip")
EXACT = OrganizeConfig(exact=True)


def run(source: Path, shards: Path, config: ConvertConfig | None = None, **settings: Any) -> dict[str, float]:
    return dict(convert(LocalFolder(source), LocalFolder(shards), replace(config or ConvertConfig(), **settings)))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return noise_classes(tmp_path / "source")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def test_every_file_becomes_one_record_with_its_bytes_shape_class_and_name(source: Path, shards: Path) -> None:
    metrics = run(source, shards)
    assert metrics == {"events": 12, "skipped": 0, "duplicates": 0}
    found = examples(shards)
    assert {one["key"].decode(): one["image"] for one in found} == contents(source)
    for one in found:
        assert set(one) == {"image", "height", "width", "channels", "label", "class", "key"}
        assert (one["height"], one["width"], one["channels"]) == (8, 8, 3)
        assert one["class"].decode() == one["key"].decode().split("/")[0] == ("higgs", "qcd")[one["label"]]


def test_labels_follow_the_sorted_names_of_classes_whatever_a_disk_says(tmp_path: Path, shards: Path) -> None:
    source = noise_classes(tmp_path / "source", names=("zeta", "Alpha", "beta", "alpha"))
    run(source, shards)
    facts = manifest_of(shards)["facts"]
    assert facts["class_names"] == ["Alpha", "alpha", "beta", "zeta"]
    assert facts["events"] == dict.fromkeys(facts["class_names"], 6)
    assert {one["class"].decode(): one["label"] for one in examples(shards)} == {
        "Alpha": 0,
        "alpha": 1,
        "beta": 2,
        "zeta": 3,
    }


def test_the_manifest_tells_shape_bits_and_schema(tmp_path: Path, shards: Path) -> None:
    for label in "ab":
        write(tmp_path / "source", {f"{label}/1.png": png(picture(ord(label), size=(4, 6), channels=1, bits=16))})
    run(tmp_path / "source", shards, channels=1)
    manifest = manifest_of(shards)
    facts = manifest["facts"]
    assert (facts["height"], facts["width"], facts["channels"], facts["bits"]) == (4, 6, 1, 16)
    assert [column["name"] for column in manifest["schema"]] == [*sorted(examples(shards)[0], key=_place_in_schema)]
    assert all(column["meaning"] for column in manifest["schema"])


def _place_in_schema(name: str) -> int:
    return ("image", "height", "width", "channels", "label", "class", "key").index(name)


@pytest.mark.parametrize("bits", [8, 16])
def test_raw_storage_holds_the_decoded_pixels(tmp_path: Path, shards: Path, bits: int) -> None:
    source = write(
        tmp_path / "source", {f"{c}/{n}.png": png(picture(n, size=(4, 6), bits=bits)) for n in range(3) for c in "ab"}
    )
    run(source, shards, storage="raw")
    for one in examples(shards):
        stored = np.frombuffer(one["image"], f"uint{bits}").reshape(one["height"], one["width"], one["channels"])
        assert np.array_equal(stored, imagecodecs.png_decode((source / one["key"].decode()).read_bytes()))


def test_a_second_run_does_nothing_and_says_the_same(source: Path, shards: Path) -> None:
    first = run(source, shards)
    before = {path: path.stat().st_mtime_ns for path in shards.rglob("*")}
    assert run(source, shards) == first
    assert {path: path.stat().st_mtime_ns for path in shards.rglob("*")} == before


def test_other_settings_or_another_source_are_refused_and_change_nothing(source: Path, shards: Path) -> None:
    run(source, shards)
    before = contents(shards)
    with pytest.raises(FolderError, match="records_per_shard was 1000, is 5"):
        run(source, shards, records_per_shard=5)
    write(source, {"qcd/new.png": png(picture(99))})
    with pytest.raises(FolderError, match="the source changed"):
        run(source, shards)
    assert contents(shards) == before


def test_a_folder_of_something_else_is_refused_and_left_alone(source: Path, tmp_path: Path) -> None:
    holidays = write(tmp_path / "holidays", {"beach.jpg": b"sand"})
    with pytest.raises(FolderError, match=r"beach\.jpg"):
        run(source, holidays)
    assert contents(holidays) == {"beach.jpg": b"sand"}


@pytest.mark.parametrize("storage", ["encoded", "raw"])
def test_several_processes_write_the_same_bytes_as_one(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    run(source, tmp_path / "one", records_per_shard=5, storage=storage)
    monkeypatch.setattr(parallel, "cores", lambda: 3)
    run(source, tmp_path / "three", records_per_shard=5, storage=storage)
    assert len(shard_bytes(tmp_path / "one")) == 6
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_copies_hard_links_and_links_are_counted_as_duplicates_with_examples(source: Path, shards: Path) -> None:
    shutil.copy(source / "qcd/0000.png", source / "qcd/copy.png")
    (source / "qcd/hard.png").hardlink_to(source / "qcd/0000.png")
    (source / "higgs/soft.png").symlink_to(source / "higgs/0001.png")
    (source / "higgs/torn.png").hardlink_to(source / "qcd/0002.png")
    assert run(source, shards)["duplicates"] == 4
    found = manifest_of(shards)["facts"]["duplicates"]
    assert (found["copies"], found["across_classes"]) == (4, 2)
    assert sorted(map(sorted, found["examples"])) == [
        ["higgs/0001.png", "higgs/soft.png"],
        ["higgs/torn.png", "qcd/0002.png"],
        ["qcd/0000.png", "qcd/copy.png", "qcd/hard.png"],
    ]


BAD = {
    "qcd/cut.png": (png(picture(1))[:-20], "cut"),
    "qcd/damaged.png": (png(picture(1))[:60] + b"\0" + png(picture(1))[61:], "checksum"),
    "qcd/cut.jpeg": (jpeg(1)[:-80], "the JPEG"),
    "qcd/empty.png": (b"", "empty"),
    "qcd/notes.txt": (b"calibration of May", "neither PNG nor JPEG"),
    "higgs/bomb.png": (png_of(60_000, 60_000, b""), "max_pixels"),
    "higgs/large.png": (png(picture(2, size=(9, 8))), "image_size resizes all"),
    "higgs/two\nlines.png": (png(picture(3)), "control character"),
    os.fsdecode(b"higgs/latin\xe9.png"): (png(picture(4)), "not valid UTF-8"),
    "higgs/few.png": (with_pillow(Image.fromarray(picture(5)).quantize(3))[:-12], "cut"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_stops_with_its_name_reason_and_remedy(source: Path, shards: Path, name: str) -> None:
    content, reason = BAD[name]
    write(source, {name: content})
    with pytest.raises(DataError) as error:
        run(source, shards)
    assert str(source / name) in str(error.value)
    assert reason in str(error.value)
    assert "on_bad_input=skip" in str(error.value)
    assert not (shards / "manifest.json").exists()


def test_all_bad_files_are_listed_with_their_reasons_where_they_are_left_out(source: Path, shards: Path) -> None:
    write(source, {name: content for name, (content, _) in BAD.items()})
    (source / "upsilon").mkdir()
    (source / "qcd/link.png").symlink_to("nowhere")
    os.mkfifo(source / "qcd/pipe.png")
    metrics = run(source, shards, SKIP, records_per_shard=4)
    assert metrics == {"events": 12, "skipped": len(BAD) + 3, "duplicates": 0}
    told = skipped(shards)
    assert set(told) == {*BAD, "upsilon/", "qcd/link.png", "qcd/pipe.png"}
    assert all(reason in told[name] for name, (_, reason) in BAD.items())
    assert [*told] == sorted(told)
    assert manifest_of(shards)["facts"]["class_names"] == ["higgs", "qcd"]
    assert {one["key"].decode() for one in examples(shards)} == {
        f"{name}/{n:04d}.png" for name in ("higgs", "qcd") for n in range(6)
    }


def test_two_runs_over_bad_files_say_the_same(source: Path, tmp_path: Path) -> None:
    write(source, {name: content for name, (content, _) in BAD.items()})
    for name in ("one", "two"):
        run(source, tmp_path / name, SKIP)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_shard_of_bad_files_only_is_empty(source: Path, shards: Path) -> None:
    write(source, {f"aaa/{n}.png": b"" for n in range(4)} | {"aaa/9.png": png(picture(9))})
    assert run(source, shards, SKIP, records_per_shard=2)["events"] == 13
    assert min(len(content) for content in shard_bytes(shards).values()) == 0


def test_a_class_of_which_no_picture_can_be_used_is_refused(source: Path, shards: Path) -> None:
    write(source, {"upsilon/1.png": b"", "upsilon/2.png": b"x"})
    with pytest.raises(DataError, match=r"no picture of upsilon .* upsilon/1\.png: the file is empty"):
        run(source, shards, SKIP)


def test_one_class_only_is_refused(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(DataError, match=r"one class only \(qcd\)"):
        run(noise_classes(tmp_path / "source", names=("qcd",)), shards)


def test_an_empty_class_folder_stops_or_is_left_out(source: Path, shards: Path) -> None:
    (source / "upsilon").mkdir()
    with pytest.raises(DataError, match="upsilon/: the class folder is empty"):
        run(source, shards)
    run(source, shards.with_name("others"), SKIP)
    assert skipped(shards.with_name("others")) == {"upsilon/": "the class folder is empty"}


def test_of_mixed_sizes_most_decide_and_image_size_takes_all(source: Path, tmp_path: Path) -> None:
    write(source, {f"qcd/large{n}.png": png(picture(n, size=(20, 30))) for n in range(3)})
    run(source, tmp_path / "most", SKIP)
    assert set(skipped(tmp_path / "most")) == {f"qcd/large{n}.png" for n in range(3)}
    assert "has 30x20 pixels, most have 8x8" in skipped(tmp_path / "most")["qcd/large0.png"]
    run(source, tmp_path / "all", image_size=16)
    found = examples(tmp_path / "all")
    assert len(found) == 15
    assert {imagecodecs.png_decode(one["image"]).shape for one in found} == {(16, 16, 3)}


def test_kinds_of_files_may_be_mixed_and_come_out_alike(source: Path, shards: Path) -> None:
    one = Image.fromarray(picture(7))
    mixed = {
        "cmyk.jpg": with_pillow(one.convert("CMYK"), "JPEG"),
        "grey.jpg": with_pillow(one.convert("L"), "JPEG"),
        "colour.jpg": jpeg(8),
        "palette.png": with_pillow(one.quantize(5)),
        "palette_transparent.png": with_pillow(one.quantize(5), transparency=1),
        "rgba.png": png(picture(1, channels=4)),
        "grey_alpha.png": png(picture(1, channels=2)),
        "bit.png": with_pillow(one.convert("1")),
        "grey16.png": png(picture(1, channels=1, bits=16)),
        "colour16.png": png(picture(1, bits=16)),
    }
    write(source, {f"qcd/{name}": content for name, content in mixed.items()})
    assert run(source, shards)["events"] == 12 + len(mixed)
    assert manifest_of(shards)["facts"]["bits"] == 16
    for found in examples(shards):
        decode_into(found["image"], np.empty((8, 8, 3), np.uint16))
    kept = {one["key"].decode().removeprefix("qcd/"): one["image"] for one in examples(shards)}
    assert all(kept[name] == mixed[name] for name in ("colour.jpg", "colour16.png"))


def test_a_file_that_may_not_be_read_is_named(source: Path, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path_open = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "0003.png":
            raise PermissionError(13, "Permission denied", str(path))
        return path_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    for config in (ConvertConfig(), SKIP):
        with pytest.raises(StorageError, match=r"higgs/0003\.png: Permission denied"):
            run(source, shards.with_name(config.on_bad_input), config)


def test_a_file_that_vanishes_amid_the_work_is_named(
    source: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    read = LocalFolder.read

    def remove_after_the_first(folder: LocalFolder, name: str, *bounds: Any) -> bytes:
        (source / "qcd/0005.png").unlink(missing_ok=True)
        return read(folder, name, *bounds)

    monkeypatch.setattr(LocalFolder, "read", remove_after_the_first)
    with pytest.raises(FolderError, match=r"qcd/0005\.png was removed"):
        run(source, shards)


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": -1},
        {"image_size": 10_000},
        {"channels": 2},
        {"storage": "jpeg"},
        {"max_pixels": 0},
        {"records_per_shard": 0},
        {"on_bad_input": "ignore"},
    ],
)
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HepmlError, match=r"must|unknown value|more pixels"):
        build_config(ConvertConfig, settings)


@pytest.mark.real_data
def test_copies_among_real_jet_pictures_are_reported(real_data: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(real_data / "event_images/quark_gluon_jets", tmp_path / "jets"))
    assert run(source, tmp_path / "as they are") == {"events": 159, "skipped": 0, "duplicates": 0}
    degenerate = next((source / "quarks").glob("*.jpeg"))
    shutil.copy(degenerate, source / "quarks/copy.jpeg")
    shutil.copy(degenerate, source / "gluons/copy.jpeg")
    assert run(source, tmp_path / "with copies")["duplicates"] == 2
    assert manifest_of(tmp_path / "with copies")["facts"]["duplicates"]["across_classes"] == 3


@pytest.mark.real_data
def test_the_16_bit_pictures_of_cms_keep_their_bits_and_bytes(real_data: Path, tmp_path: Path) -> None:
    files = {name: (real_data / f"event_images/cms_views/{name}.png").read_bytes() for name in ("higgs", "jpsi")}
    run(write(tmp_path / "cms", {f"{name}/1.png": content for name, content in files.items()}), tmp_path / "shards")
    assert {one["class"].decode(): one["image"] for one in examples(tmp_path / "shards")} == files
    facts = manifest_of(tmp_path / "shards")["facts"]
    assert (facts["height"], facts["width"], facts["bits"]) == (300, 300, 16)


def test_shards_may_lie_elsewhere_than_their_manifest(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "beside")
    run(source, tmp_path / "away", shards_root=str(tmp_path / "store"))
    assert [*contents(tmp_path / "away")] == ["manifest.json"]
    elsewhere = Path(manifest_of(tmp_path / "away")["root"])
    assert elsewhere.parent == tmp_path / "store"
    assert shard_bytes(elsewhere) == shard_bytes(tmp_path / "beside")
    organize(LocalFolder(tmp_path / "away"), LocalFolder(tmp_path / "dataset"), EXACT)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsEmulator]:
    with GcsEmulator("bucket") as store:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
        yield store


def test_an_object_store_can_be_read_and_written_and_gives_the_same_bytes(
    source: Path, tmp_path: Path, store: GcsEmulator
) -> None:
    open_folder("gs://bucket/source").upload(source, contents(source))
    config = ConvertConfig(records_per_shard=5)
    here, there = tmp_path / "shards", "gs://bucket/shards"
    run(source, here, config)
    metrics = convert(open_folder("gs://bucket/source"), open_folder(there), config)
    assert metrics["events"] == 12
    objects = {key: found.content for key, found in store.buckets["bucket"].items()}
    assert {name.removeprefix("shards/"): objects[name] for name in objects if ".tfrecord" in name} == shard_bytes(here)
    organize(LocalFolder(here), LocalFolder(tmp_path / "dataset"), EXACT)
    organize(open_folder(there), open_folder("gs://bucket/dataset"), EXACT)
    objects = {key: found.content for key, found in store.buckets["bucket"].items() if key.startswith("dataset/")}
    assert {name.removeprefix("dataset/"): objects[name] for name in objects if ".tfrecord" in name} == shard_bytes(
        tmp_path / "dataset"
    )
    assert not [key for key in store.buckets["bucket"] if ".unfinished" in key]


def test_a_root_in_an_object_store_leaves_only_the_manifest_here(
    source: Path, tmp_path: Path, store: GcsEmulator
) -> None:
    run(source, tmp_path / "here", shards_root="gs://bucket/events/")
    assert [*contents(tmp_path / "here")] == ["manifest.json"]
    run(source, tmp_path / "beside")
    away = [found.content for key, found in store.buckets["bucket"].items() if key.startswith("events/shards-")]
    assert sorted(away) == sorted(shard_bytes(tmp_path / "beside").values())
    organize(LocalFolder(tmp_path / "here"), LocalFolder(tmp_path / "dataset"), EXACT)
