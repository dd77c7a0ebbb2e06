"""Archives back to ROOT files: parts of them, damaged ones, those of other models, the command line."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from crc32c import crc32c

from hepml_core.__main__ import main
from hepml_core.artifacts import read_manifest
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.jets.archive import ArchiveReader, ArchiveWriter
from hepml_core.jets.compress import compress
from hepml_core.jets.config import CompressConfig, DecompressConfig, TrainConfig
from hepml_core.jets.decompress import decompress
from hepml_core.jets.packing import pack
from hepml_core.storage import LocalFolder
from tests.hepml_core.jets.coding import BOUNDS, FOUR, Models, assert_within, read_tree, round_trip
from tests.hepml_core.jets.jet_files import flat, four_vectors, xaod
from tests.kills import assert_mends

COUNTS = (3, 0, 2, 1, 0, 4, 2, 2, 1, 3)
CODECS = ["columns", "density", "autoencoder"]
CPU = DecompressConfig(device="cpu")


def archive_of(folder: Path, models: Models, codec: str, events_per_block: int = 3) -> Path:
    """Compress a file of ten events; return its archive."""
    source = xaod(folder / "a.root", four_vectors(sum(COUNTS)), COUNTS)
    kind: Literal["columns", "model"] = "columns" if codec == "columns" else "model"
    config = CompressConfig(codec=kind, events_per_block=events_per_block, device="cpu")
    compress(LocalFolder(source), LocalFolder(folder / "a.hepml"), config, models.of(codec))
    return folder / "a.hepml"


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("events", ["3:7", "0:1", "9:10", "5:", ":4", "3:6"])
def test_a_range_of_events_is_that_slice_of_the_whole(models: Models, tmp_path: Path, codec: str, events: str) -> None:
    archive = archive_of(tmp_path, models, codec)
    for name, asked in (("whole.root", ""), ("part.root", events)):
        config = DecompressConfig(events=asked, device="cpu")
        metrics = decompress(LocalFolder(archive), LocalFolder(tmp_path / name), config, models.of(codec))
    whole, part = read_tree(tmp_path / "whole.root"), read_tree(tmp_path / "part.root")
    first, last = (int(one) if one else default for one, default in zip(events.split(":"), (0, 10), strict=True))
    some = slice(sum(COUNTS[:first]), sum(COUNTS[:last]))
    assert part.count_e == list(COUNTS[first:last])
    assert metrics == {"events": last - first, "jets": sum(COUNTS[first:last])}
    for name in FOUR:
        assert part.of(name).tobytes() == whole.of(name)[some].tobytes()
    for name, number_e in part.numbers.items():
        assert np.array_equal(number_e, whole.numbers[name][first:last])


def test_only_the_blocks_that_are_asked_for_are_read(models: Models, tmp_path: Path) -> None:
    archive = archive_of(tmp_path, models, "columns")
    content = bytearray(archive.read_bytes())
    damaged = ArchiveReader(LocalFolder(tmp_path), "a.hepml").blocks[1]
    content[damaged.start + damaged.bytes // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"events 3 to 5 cannot be read; events=0:3 and events=6:10 give the others"):
        decompress(LocalFolder(archive), LocalFolder(tmp_path / "b.root"), CPU)
    assert not (tmp_path / "b.root").exists()
    for events, count in (("0:3", COUNTS[:3]), ("6:10", COUNTS[6:])):
        decompress(LocalFolder(archive), LocalFolder(tmp_path / "b.root"), DecompressConfig(events=events))
        assert read_tree(tmp_path / "b.root").count_e == list(count)


@pytest.mark.parametrize("events", ["3:11", "10:", "12:15", ":0"])
def test_events_beyond_the_end_are_refused_with_what_there_is(models: Models, tmp_path: Path, events: str) -> None:
    archive = archive_of(tmp_path, models, "columns")
    with pytest.raises(SettingError, match=f"holds 10 events, from 0; events={events} asks for others"):
        decompress(LocalFolder(archive), LocalFolder(tmp_path / "b.root"), DecompressConfig(events=events))


def test_a_range_of_a_flat_tree_counts_events_and_not_rows(tmp_path: Path) -> None:
    columns = {"event": np.repeat(np.arange(10), 3), **four_vectors(30)}
    restored = round_trip(flat(tmp_path / "a.root", columns), units="GeV", events_per_block=4, events="3:7")
    after = read_tree(restored, "jets")
    assert after.numbers["event"].tolist() == np.repeat(np.arange(3, 7), 3).tolist()
    assert_within({name: columns[name][9:21] for name in FOUR}, after.numbers, BOUNDS)


@pytest.mark.parametrize("codec", CODECS)
def test_the_number_of_threads_gives_the_same_file(models: Models, tmp_path: Path, codec: str) -> None:
    archive = archive_of(tmp_path, models, codec)
    threads = torch.get_num_threads()
    made = []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            decompress(LocalFolder(archive), LocalFolder(tmp_path / f"{count}.root"), CPU, models.of(codec))
            made.append(read_tree(tmp_path / f"{count}.root"))
    finally:
        torch.set_num_threads(threads)
    assert_within(made[0].four, made[1].four, BOUNDS)
    if codec == "density":
        assert (tmp_path / "1.root").read_bytes() == (tmp_path / "4.root").read_bytes()


@pytest.mark.parametrize("codec", ["density", "autoencoder"])
def test_a_missing_or_another_model_is_named_with_both_digests(models: Models, tmp_path: Path, codec: str) -> None:
    archive = archive_of(tmp_path, models, codec)
    model, other = (models.density, models.autoencoder)[:: 1 if codec == "density" else -1]
    digest, wrong = (read_manifest(one, "model", "jets").digest[:12] for one in (model, other))
    restored = LocalFolder(tmp_path / "b.root")
    with pytest.raises(
        SettingError, match=rf"a\.hepml was compressed with a model \({digest}…\): name it with --model"
    ):
        decompress(LocalFolder(archive), restored, CPU)
    with pytest.raises(FolderError, match=rf"has the digest {wrong}…, the archive names {digest}…"):
        decompress(LocalFolder(archive), restored, CPU, other)
    with pytest.raises(FolderError, match=r"has no manifest\.json"):
        decompress(LocalFolder(archive), restored, CPU, LocalFolder(tmp_path))
    assert not (tmp_path / "b.root").exists()


def test_a_model_whose_weights_were_changed_is_refused(models: Models, tmp_path: Path) -> None:
    archive = archive_of(tmp_path, models, "density")
    changed = LocalFolder(tmp_path / "changed")
    changed.upload(Path(str(models.density)), [found.name for found in models.density.walk() if found.name[0] != "."])
    content = bytearray(changed.read("density.safetensors"))
    content[-5] ^= 1
    changed.write("density.safetensors", bytes(content))
    with pytest.raises(FolderError, match=r"density\.safetensors was changed after it was made"):
        decompress(LocalFolder(archive), LocalFolder(tmp_path / "b.root"), CPU, changed)


def test_blocks_of_the_right_checksum_and_wrong_content_are_damage(models: Models, tmp_path: Path) -> None:
    archive = archive_of(tmp_path, models, "columns")
    reader = ArchiveReader(LocalFolder(tmp_path), "a.hepml")
    parts = reader.read(reader.blocks[0])
    wrong = [
        ([], 3, 5),
        (parts[:1], 3, 5),
        (parts[:-1], 3, 5),
        ([pack(np.array([-1, 3, 3])), *parts[1:]], 3, 5),
        (parts, 4, 5),
        (parts, 3, 6),
        (parts, 3, 0),
        ([*parts[:3], *parts[5:3:-1], *parts[6:]], 3, 5),
        ([*parts[:4], b"\1" * 9, *parts[5:]], 3, 5),
    ]
    for made, events, jets in wrong:
        with ArchiveWriter(archive, reader.header) as writer:
            writer.write(made, events, jets)
        with pytest.raises(DataError, match=rf"a\.hepml: events 0 to {events - 1} cannot be read \("):
            decompress(LocalFolder(archive), LocalFolder(tmp_path / "b.root"), CPU)
    with ArchiveWriter(archive, reader.header) as writer:
        writer.write(parts, 3, 5)
    assert decompress(LocalFolder(archive), LocalFolder(tmp_path / "b.root"), CPU) == {"events": 3, "jets": 5}


def test_an_archive_with_a_header_of_another_program_is_refused(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a.hepml", {"codec": "columns"}):
        pass
    with pytest.raises(DataError, match=r"a\.hepml is damaged or of another version: its header has or lacks"):
        decompress(LocalFolder(tmp_path / "a.hepml"), LocalFolder(tmp_path / "b.root"), CPU)


def test_a_folder_of_archives_becomes_a_folder_of_files_once(models: Models, tmp_path: Path) -> None:
    for name in ("first", "deep/second"):
        archive_of(tmp_path / "archives" / name, models, "columns")
    restored = LocalFolder(tmp_path / "restored")
    metrics = decompress(LocalFolder(tmp_path / "archives"), restored, CPU)
    assert metrics == {"events": 20, "jets": 2 * sum(COUNTS)}
    assert [one.name for one in restored.walk()] == ["deep/second/a.root", "first/a.root", "manifest.json"]
    assert len(restored.read("manifest.json")) < 3000  # digests of the archives, not their indices
    before = (tmp_path / "restored/first/a.root").stat().st_mtime_ns
    assert decompress(LocalFolder(tmp_path / "archives"), restored, CPU) == metrics
    assert (tmp_path / "restored/first/a.root").stat().st_mtime_ns == before
    with pytest.raises(SettingError, match="holds 2 archives: name a folder for as many files"):
        decompress(LocalFolder(tmp_path / "archives"), LocalFolder(tmp_path / "b.root"), CPU)
    archive_of(tmp_path / "archives/first", models, "columns", events_per_block=4)
    with pytest.raises(FolderError, match=r"first/a\.hepml changed"):
        decompress(LocalFolder(tmp_path / "archives"), restored, CPU)


def test_where_there_are_no_archives_the_stage_that_makes_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no archive \*\.hepml: compress makes them"):
        decompress(LocalFolder(tmp_path), LocalFolder(tmp_path / "b"), CPU)
    with pytest.raises(DataError, match=r"there is no file .*a\.hepml"):
        decompress(LocalFolder(tmp_path / "a.hepml"), LocalFolder(tmp_path / "b.root"), CPU)


def test_the_commands_of_the_manual_give_the_jets_back(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = xaod(tmp_path / "jets.root", four_vectors(sum(COUNTS)), COUNTS)
    archive, restored = str(tmp_path / "jets.hepml"), str(tmp_path / "again.root")
    model = ["--model", str(models.autoencoder)]
    assert main(["compress", "jets", str(source), *model, "--out", archive, "bounds=pt=1e-4 relative"]) == 0
    assert main(["decompress", "jets", archive, *model, "--out", restored]) == 0
    before, after = read_tree(source), read_tree(Path(restored))
    assert after.count_e == before.count_e
    assert_within(before.four, after.four, BOUNDS)
    assert np.abs(after.of("pt") / before.of("pt") - 1).max() <= 1.0001e-4
    capsys.readouterr()
    assert main(["decompress", "jets", archive, "--out", restored]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"hepml: {archive} was compressed with a model (")
    assert message.count("\n") == 1
    assert main(["compress", "jets", str(source), "--out", archive]) == 2
    assert "codec=model needs --model" in capsys.readouterr().err


def test_an_archive_names_the_model_and_its_statistics_by_digest(models: Models, tmp_path: Path) -> None:
    header = ArchiveReader(LocalFolder(tmp_path), archive_of(tmp_path, models, "autoencoder").name).header
    manifest = read_manifest(models.autoencoder, "model", "jets")
    assert header["model"] == manifest.digest
    assert header["statistics"] == manifest.inputs["statistics"]
    assert manifest.settings["nodes"] == list(TrainConfig(nodes=(4, 8, 3, 8, 4)).nodes)


def test_a_model_of_a_newer_archive_format_is_not_looked_for(models: Models, tmp_path: Path) -> None:
    archive = archive_of(tmp_path, models, "density")
    content = archive.read_bytes()
    archive.write_bytes(content[:8] + struct.pack("<I", 9) + content[12:])
    with pytest.raises(DataError, match="has the format 9, this program reads 1"):
        decompress(LocalFolder(archive), LocalFolder(tmp_path / "b.root"), CPU)


def test_the_header_of_an_archive_is_text_that_can_be_read(models: Models, tmp_path: Path) -> None:
    content = archive_of(tmp_path, models, "columns").read_bytes()
    length, checksum = struct.unpack_from("<QI", content, 12)
    header = content[24 : 24 + length]
    assert crc32c(header) == checksum
    assert json.loads(header)["variables"][0] == {
        "name": "pt",
        "branch": "AnalysisJetsAuxDyn.pt",
        "dtype": "float32",
        "factor": 1e-3,
        "bound": {"size": 1e-3, "relative": True},
    }


def test_a_run_that_is_killed_anywhere_ends_with_the_same_bytes(models: Models, tmp_path: Path) -> None:
    for name in "ab":
        xaod(tmp_path / f"source/{name}.root", four_vectors(sum(COUNTS)), COUNTS)
    model = models.of("density")
    assert model is not None
    compress(LocalFolder(tmp_path / "source"), LocalFolder(tmp_path / "archive"), CompressConfig(device="cpu"), model)
    inputs = {"archive": tmp_path / "archive", "model": model.path}
    assert_mends("jets.decompress", {"device": "cpu"}, inputs, "restored", tmp_path, moments=3)
