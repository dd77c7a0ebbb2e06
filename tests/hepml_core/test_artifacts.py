"""The contract between stages: what is whole is found whole, what is not is named."""

from __future__ import annotations

import copy
import dataclasses
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hepml_core.artifacts import (
    BLOCK_BYTES,
    MANIFEST,
    STAGE_OF_KIND,
    Column,
    FileEntry,
    Kind,
    Manifest,
    Output,
    check_files,
    checksum,
    files_of,
    read_manifest,
)
from hepml_core.errors import FolderError, HepmlError
from hepml_core.storage import LocalFolder, open_folder

PARTS = {"part-0": b"ten events", "part-1": b"and two"}


@dataclass(frozen=True, kw_only=True, slots=True)
class MakeConfig:
    """Settings of a stage."""

    image_size: int = 0
    classes: tuple[str, ...] = ("higgs", "qcd")
    shards_root: str = ""


def output_in(path: Path, config: MakeConfig | None = None, *, kind: Kind = "shards", source: str = "1") -> Output:
    config = config or MakeConfig()
    return Output(open_folder(path), kind, "jets", config, {"source": source}, root=config.shards_root)


def make_part(output: Output, name: str, content: bytes) -> None:
    output.files.write(name, content)
    output.keep(FileEntry(name, len(content), crc32c(content), records=len(content)), {"kept": 3})


def make(path: Path, config: MakeConfig | None = None, *, kind: Kind = "shards", source: str = "1") -> Manifest:
    output = output_in(path, config, kind=kind, source=source)
    for name, content in PARTS.items():
        make_part(output, name, content)
    schema = [Column("pt", "float32", (2, 3), "GeV", "transverse momentum")]
    return output.publish(metrics={"events": 17, "loss": 0.1 + 0.2}, facts={"shape": (2, 3)}, schema=schema)


def read(path: Path) -> Manifest:
    return read_manifest(open_folder(path), "shards", "jets")


def check(path: Path) -> None:
    check_files(open_folder(path), read(path))


def contents_of(path: Path) -> dict[str, bytes]:
    return {
        found.relative_to(path).as_posix(): found.read_bytes() for found in sorted(path.rglob("*")) if found.is_file()
    }


def test_what_is_published_is_read_back(tmp_path: Path) -> None:
    published = make(tmp_path)
    assert read(tmp_path) == dataclasses.replace(published, facts={"shape": [2, 3]}, settings=published.settings)
    assert read(tmp_path).digest == published.digest
    assert [(file.name, file.bytes, file.records) for file in published.files] == [("part-0", 10, 10), ("part-1", 7, 7)]
    check(tmp_path)
    assert [*contents_of(tmp_path)] == ["manifest.json", "part-0", "part-1"]


def test_the_manifest_comes_last_and_refuses_to_replace_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write = LocalFolder.write

    def note(folder: LocalFolder, name: str, content: bytes, *, only_new: bool = False) -> None:
        written.append((name, only_new, (tmp_path / MANIFEST).exists()))
        write(folder, name, content, only_new=only_new)

    monkeypatch.setattr(LocalFolder, "write", note)
    make(tmp_path)
    assert written[-1] == (MANIFEST, True, False)
    assert {name for name, *_ in written} >= {"part-0", "part-1", "plan.json"}


def test_files_are_listed_in_the_order_of_their_names_and_shards_by_split(tmp_path: Path) -> None:
    output = output_in(tmp_path, kind="dataset")
    for name, split in (("valid-0", "valid"), ("train-1", "train"), ("train-0", "train")):
        output.files.write(name, b"x")
        output.keep(FileEntry(name, 1, crc32c(b"x"), 1, split))
    output.write("train-0.index", b"index")
    manifest = output.publish(metrics={})
    assert [file.name for file in manifest.files] == ["train-0", "train-0.index", "train-1", "valid-0"]
    assert [file.name for file in manifest.shards("train")] == ["train-0", "train-1"]
    assert manifest.shards("test") == []


def test_files_that_others_wrote_are_listed_too(tmp_path: Path) -> None:
    output = output_in(tmp_path)
    output.write("a", b"1")
    output.files.write("b/c", b"22")
    output.keep_written()
    assert [(file.name, file.bytes) for file in output.publish(metrics={}).files] == [("a", 1), ("b/c", 2)]
    check(tmp_path)


# What is not whole is named.


@pytest.mark.parametrize("kind", STAGE_OF_KIND)
def test_a_folder_without_a_manifest_names_the_stage_to_run(tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(
        FolderError, match=rf"no manifest\.json: .* no {kind} folder, .* run {STAGE_OF_KIND[kind]} first"
    ):
        read_manifest(open_folder(tmp_path / "absent"), kind, "jets")


def test_an_unfinished_folder_counts_as_none(tmp_path: Path) -> None:
    make_part(output_in(tmp_path), "part-0", b"events")
    with pytest.raises(FolderError, match="convert has not finished; run convert first"):
        read(tmp_path)


def test_a_folder_of_another_stage_or_domain_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(FolderError, match="is a shards folder, made by convert; a dataset folder, made by organize"):
        read_manifest(open_folder(tmp_path), "dataset", "jets")
    with pytest.raises(FolderError, match="belongs to the domain jets, not to ecal"):
        read_manifest(open_folder(tmp_path), "shards", "ecal")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda part: part.unlink(), "part-1 is missing: restore it, or remove the folder and run convert again"),
        (lambda part: part.write_bytes(b"and"), "part-1 has 3 bytes, its manifest says 7: restore it"),
        (lambda part: part.write_bytes(b"and tw0"), r"part-1 was changed after it was made \(its checksum differs\)"),
    ],
    ids=["lost", "cut", "changed"],
)
def test_a_file_that_is_not_as_it_was_made_is_named(
    tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    make(tmp_path)
    damage(tmp_path / "part-1")
    with pytest.raises(FolderError, match=sentence):
        check(tmp_path)


def test_the_checksum_of_a_large_file_is_that_of_its_whole_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * (BLOCK_BYTES // 256) + b"and a bit"
    (tmp_path / "file").write_bytes(content)
    assert checksum(open_folder(tmp_path), "file", len(content)) == crc32c(content)


# A manifest from elsewhere may hold anything.

HOSTILE: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("no format", lambda plain: plain.pop("format")),
    ("a later format", lambda plain: plain.update(format=2)),
    ("an unknown field", lambda plain: plain.update(script="rm")),
    ("no files", lambda plain: plain.pop("files")),
    ("files as an object", lambda plain: plain.update(files={"name": "part-0"})),
    ("a file as a word", lambda plain: plain.update(files=["part-0"])),
    ("a file with a number as name", lambda plain: plain["files"][0].update(name=5)),
    ("a file without a name", lambda plain: plain["files"][0].pop("name")),
    ("a file with words as bytes", lambda plain: plain["files"][0].update(bytes="10")),
    ("a file with negative bytes", lambda plain: plain["files"][0].update(bytes=-1)),
    ("a file with a list as checksum", lambda plain: plain["files"][0].update(crc32c=[])),
    ("a name that leads out", lambda plain: plain["files"][0].update(name="../secret")),
    ("a name that leads out later", lambda plain: plain["files"][0].update(name="a/../../secret")),
    ("an absolute name", lambda plain: plain["files"][0].update(name="/etc/hostname")),
    ("an empty name", lambda plain: plain["files"][0].update(name="")),
    ("a name with a zero byte", lambda plain: plain["files"][0].update(name="part-0\0")),
    ("a name that is no text", lambda plain: plain["files"][0].update(name="\ud800")),
    ("a root with a zero byte", lambda plain: plain.update(root="/tmp\0")),  # noqa: S108 - nothing is written there
    ("a kind that does not exist", lambda plain: plain.update(kind="weights")),
    ("a kind as a list", lambda plain: plain.update(kind=["shards"])),
    ("a root as a number", lambda plain: plain.update(root=5)),
    ("a root that cannot be opened", lambda plain: plain.update(root="http://host/folder")),
    ("a root of another place", lambda plain: plain.update(root="/nowhere")),
    ("settings as a list", lambda plain: plain.update(settings=[])),
    ("inputs as a word", lambda plain: plain.update(inputs="x")),
    ("metrics as null", lambda plain: plain.update(metrics=None)),
    ("a schema of words", lambda plain: plain.update(schema=["pt"])),
    ("a shape as a number", lambda plain: plain["schema"][0].update(shape=2)),
]


def use_everything(path: Path) -> None:
    """Do all that stages do with a manifest."""
    manifest = read(path)
    assert len(manifest.digest) == 64
    check_files(open_folder(path), manifest)
    output_in(path)


@pytest.mark.parametrize("mutate", [change for _, change in HOSTILE], ids=[what for what, _ in HOSTILE])
def test_a_hostile_manifest_is_refused_and_leads_nowhere(
    tmp_path: Path, mutate: Callable[[dict[str, Any]], object]
) -> None:
    (tmp_path / "secret").write_bytes(PARTS["part-0"])
    make(tmp_path / "shards")
    manifest = tmp_path / "shards" / MANIFEST
    plain = json.loads(manifest.read_bytes())
    mutate(plain)
    manifest.write_text(json.dumps(plain))
    with pytest.raises(HepmlError):
        use_everything(tmp_path / "shards")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"5", b'"text"', b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b'{"format": 1}'],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_manifest_is_called_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(FolderError, match=r"manifest\.json is damaged \(.*\): run the stage that made it again"):
        read(tmp_path)


def paths_into(plain: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else []
    return [path, *(found for key, value in items for found in paths_into(value, (*path, key)))]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_manifest_with_anything_anywhere_is_used_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    if not (tmp_path / "original").exists():
        make(tmp_path / "shards")
        (tmp_path / "shards" / MANIFEST).rename(tmp_path / "original")
    plain = {"": json.loads((tmp_path / "original").read_bytes())}
    *way, last = data.draw(st.sampled_from(paths_into(plain)[1:]))
    inner: Any = plain
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(json_values)
    (tmp_path / "shards" / MANIFEST).write_text(json.dumps(plain[""]))
    try:
        use_everything(tmp_path / "shards")
    except HepmlError:
        assert (tmp_path / "shards" / MANIFEST).exists()


# A stage that was killed goes on from there.


def test_a_second_run_keeps_the_whole_files_and_only_those(tmp_path: Path) -> None:
    first = output_in(tmp_path)
    for name in ("whole", "changed", "cut", "lost", "noted wrongly", "torn receipt"):
        make_part(first, name, name.encode())
    (tmp_path / "changed").write_bytes(b"changes")
    (tmp_path / "cut").write_bytes(b"cu")
    (tmp_path / "lost").unlink()
    receipts = tmp_path / ".unfinished"
    (receipts / "torn receipt.json").write_bytes(b'{"file": {"na')
    noted = json.loads((receipts / "noted wrongly.json").read_bytes())
    noted["file"]["crc32c"] += 1
    (receipts / "noted wrongly.json").write_text(json.dumps(noted))
    second = output_in(tmp_path)
    assert second.finished is None
    assert second.receipt("whole") == (FileEntry("whole", 5, crc32c(b"whole"), 5), {"kept": 3})
    assert [second.receipt(name) for name in ("changed", "cut", "lost", "noted wrongly", "torn receipt", "new")] == [
        None
    ] * 6
    assert [file.name for file in second.publish(metrics={}).files] == ["whole"]


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"null",
        b"{}",
        b'{"file": 5, "notes": {}}',
        b'{"file": {"name": "part-0", "bytes": 10, "crc32c": 0}}',
        b'{"file": {"name": "part-0"}, "notes": {}}',
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:25]),
)
def test_a_receipt_that_makes_no_sense_counts_as_none(tmp_path: Path, content: bytes) -> None:
    make_part(output_in(tmp_path), "part-0", PARTS["part-0"])
    (tmp_path / ".unfinished" / "part-0.json").write_bytes(content)
    assert output_in(tmp_path).receipt("part-0") is None


def test_a_file_is_made_once_however_often_its_stage_is_killed(tmp_path: Path) -> None:
    made = []

    def make() -> dict[str, int]:
        made.append("part-0")
        output.files.write("part-0", b"content")
        return {"records": 3, "jets": 7}

    for _ in range(3):
        output = output_in(tmp_path)
        assert output.once("part-0", make) == {"records": 3, "jets": 7}
    assert made == ["part-0"]
    assert output.publish(metrics={}).files == (FileEntry("part-0", 7, crc32c(b"content"), 3),)


def test_a_receipt_speaks_for_no_other_file(tmp_path: Path) -> None:
    output = output_in(tmp_path)
    for name in ("part-0", "part-1"):
        make_part(output, name, b"same")
    receipts = tmp_path / ".unfinished"
    (receipts / "part-1.json").write_bytes((receipts / "part-0.json").read_bytes())
    assert output_in(tmp_path).receipt("part-1") is None


def test_a_run_that_was_killed_ends_with_the_same_bytes_as_one_that_was_not(tmp_path: Path) -> None:
    make(tmp_path / "at once")
    killed = output_in(tmp_path / "killed")
    make_part(killed, "part-0", PARTS["part-0"])
    resumed = output_in(tmp_path / "killed")
    assert resumed.receipt("part-0")
    assert not resumed.receipt("part-1")
    make(tmp_path / "killed")
    assert contents_of(tmp_path / "killed") == contents_of(tmp_path / "at once")


def test_what_a_killed_run_left_among_its_receipts_does_not_stop_the_next_one(tmp_path: Path) -> None:
    output = output_in(tmp_path)
    output.keep(FileEntry("train/part-0", 0, 0))
    (tmp_path / ".unfinished" / ".part-0.json.abc.tmp").write_bytes(b"to")
    output.publish(metrics={})
    assert not (tmp_path / ".unfinished").exists()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"kind": "shards", "settings": 5, "inputs": {}}', b"[" * 100_000]
)
def test_a_damaged_plan_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    output_in(tmp_path)
    (tmp_path / ".unfinished" / "plan.json").write_bytes(content)
    with pytest.raises(FolderError, match=r"plan\.json is damaged .*: choose another folder, or remove this one"):
        output_in(tmp_path)


# One folder, one content.


def test_the_same_settings_again_find_the_folder_finished(tmp_path: Path) -> None:
    published = make(tmp_path)
    before = contents_of(tmp_path)
    finished = output_in(tmp_path).finished
    assert finished is not None
    assert finished.metrics == published.metrics
    assert contents_of(tmp_path) == before


@pytest.mark.parametrize("publish", [True, False], ids=["finished", "unfinished"])
def test_other_settings_inputs_or_stages_are_refused_by_name_and_touch_nothing(tmp_path: Path, publish: bool) -> None:
    if publish:
        make(tmp_path)
    else:
        make_part(output_in(tmp_path), "part-0", b"events")
    before = contents_of(tmp_path)
    with pytest.raises(FolderError, match=r"made otherwise \(image_size was 0, is 64\): choose another folder"):
        output_in(tmp_path, MakeConfig(image_size=64))
    with pytest.raises(FolderError, match=r"made otherwise \(the source changed\)"):
        output_in(tmp_path, source="2")
    with pytest.raises(FolderError, match=r"shards: choose another folder for the dataset"):
        output_in(tmp_path, kind="dataset")
    assert contents_of(tmp_path) == before


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("chapter one")
    with pytest.raises(FolderError, match=r"holds 'thesis\.tex' and no manifest\.json: choose an empty folder"):
        output_in(tmp_path)
    assert contents_of(tmp_path) == {"thesis.tex": b"chapter one"}


def test_nothing_that_was_not_made_here_is_ever_deleted(tmp_path: Path) -> None:
    (tmp_path / ".notes").write_text("mine")
    output = output_in(tmp_path)
    make_part(output, "part-0", b"events")
    (tmp_path / "extra").write_text("mine too")
    output.publish(metrics={})
    output_in(tmp_path)
    assert [*contents_of(tmp_path)] == [".notes", "extra", MANIFEST, "part-0"]


def publish_together(outputs: list[Output]) -> list[str]:
    start = threading.Barrier(len(outputs))

    def publish(output: Output) -> str:
        start.wait()
        try:
            output.publish(metrics={})
        except FolderError as error:
            return str(error)
        return "published"

    with ThreadPoolExecutor(len(outputs)) as pool:
        return list(pool.map(publish, outputs))


def test_of_two_writers_of_one_plan_both_are_content(tmp_path: Path) -> None:
    for number in range(5):
        outputs = [output_in(tmp_path / str(number)) for _ in range(4)]
        make_part(outputs[0], "part-0", b"events")
        assert publish_together(outputs) == ["published"] * 4
        assert len(list((tmp_path / str(number)).glob("manifest*"))) == 1


def test_of_two_writers_of_different_plans_one_wins_and_the_others_are_told(tmp_path: Path) -> None:
    configs = [MakeConfig(image_size=size, shards_root=str(tmp_path / "root")) for size in range(4)]
    outputs = [output_in(tmp_path / "manifest", config) for config in configs]
    said = publish_together(outputs)
    assert said.count("published") == 1
    assert all("image_size was" in text for text in said if text != "published")
    assert read(tmp_path / "manifest").settings["image_size"] == said.index("published")


# Large data need not travel.


def test_with_a_root_the_files_lie_there_and_only_the_manifest_travels(tmp_path: Path) -> None:
    config = MakeConfig(shards_root=f"{tmp_path}/big/")
    make(tmp_path / "shards", config)
    assert [*contents_of(tmp_path / "shards")] == [MANIFEST]
    manifest = read(tmp_path / "shards")
    assert files_of(open_folder(tmp_path / "shards"), manifest).read("part-1") == PARTS["part-1"]
    check(tmp_path / "shards")
    assert len(contents_of(tmp_path / "big")) == 2
    (tmp_path / "shards").rename(tmp_path / "moved")
    check(tmp_path / "moved")


def test_runs_with_other_settings_share_a_root_without_touching_each_other(tmp_path: Path) -> None:
    for size in (32, 64):
        make(tmp_path / str(size), MakeConfig(image_size=size, shards_root=str(tmp_path / "root")))
    check(tmp_path / "32")
    check(tmp_path / "64")


def test_a_root_holds_when_the_next_stage_runs_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "shards", MakeConfig(shards_root="big"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    check(tmp_path / "shards")


def test_a_killed_run_with_a_root_goes_on_there(tmp_path: Path) -> None:
    config = MakeConfig(shards_root=str(tmp_path / "root"))
    make_part(output_in(tmp_path / "shards", config), "part-0", PARTS["part-0"])
    assert output_in(tmp_path / "another pod", config).receipt("part-0")


def test_the_digest_tells_contents_apart_and_not_places(tmp_path: Path) -> None:
    beside, elsewhere = make(tmp_path / "a"), make(tmp_path / "b", MakeConfig(shards_root=str(tmp_path / "root")))
    assert beside.digest == elsewhere.digest == read(tmp_path / "b").digest
    (tmp_path / "a").rename(tmp_path / "c")
    assert read(tmp_path / "c").digest == beside.digest
    others = [
        dataclasses.replace(beside, domain="ecal"),
        dataclasses.replace(beside, files=beside.files[:1]),
        dataclasses.replace(beside, files=(dataclasses.replace(beside.files[0], crc32c=0), beside.files[1])),
        dataclasses.replace(beside, settings={**beside.settings, "image_size": 1}),
        dataclasses.replace(beside, inputs={"source": "2"}),
        dataclasses.replace(beside, facts={}),
        copy.deepcopy(beside),
    ]
    assert len({other.digest for other in others}) == len(others)
    assert others[-1].digest == beside.digest
