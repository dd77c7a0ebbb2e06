"""The files of a source are found, told apart, and read alike."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hepml_core.errors import DataError, UnknownNameError
from hepml_core.jets.config import ConvertConfig
from hepml_core.jets.csv_files import BadLine
from hepml_core.jets.sources import check_file, find_files, read_events, variables_of
from hepml_core.source_files import digest_of
from hepml_core.storage import LocalFolder
from tests.hepml_core.jets.jet_files import COUNTS, CSV_LINES, csv, flat, four_vectors, xaod


def test_files_come_sorted_with_their_kind_and_others_are_left_out(tmp_path: Path) -> None:
    for name in ("b/two.csv", "a.csv", ".hidden.csv", "README.md", ".cache/x.csv"):
        csv(tmp_path / name)
    files = find_files(LocalFolder(tmp_path), "auto")
    assert [(file.name, file.kind) for file in files] == [("a.csv", "csv"), ("b/two.csv", "csv")]


def test_a_source_may_be_one_file(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.csv", "b.csv"):
        csv(tmp_path / name)
    (file,) = find_files(LocalFolder(tmp_path / "a.csv"), "auto")
    assert (file.folder, file.name) == (str(tmp_path), "a.csv")
    assert sum(map(len, read_events(file, ConvertConfig()))) == len(CSV_LINES)


def test_files_of_both_kinds_need_the_format(tmp_path: Path) -> None:
    csv(tmp_path / "a.csv")
    xaod(tmp_path / "b.root")
    with pytest.raises(DataError, match="format=root or format=csv chooses"):
        find_files(LocalFolder(tmp_path), "auto")
    assert [file.name for file in find_files(LocalFolder(tmp_path), "root")] == ["b.root"]


@pytest.mark.parametrize("name", ["nowhere", "notes.txt"])
def test_a_source_without_files_is_refused(tmp_path: Path, name: str) -> None:
    csv(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="is no folder"):
        find_files(LocalFolder(tmp_path / name), "auto")
    with pytest.raises(DataError, match=r"holds no file \*\.root or \*\.csv"):
        find_files(LocalFolder(tmp_path), "auto")


def test_the_digest_changes_with_every_change_of_the_files(tmp_path: Path) -> None:
    paths = [csv(tmp_path / name) for name in ("a.csv", "b.csv")]

    def digest() -> str:
        return digest_of(find_files(LocalFolder(tmp_path), "auto"))

    digests = [digest()]
    assert digest() == digests[0]
    os.utime(paths[0], ns=(1, 1))
    digests.append(digest())
    csv(paths[0], CSV_LINES[:2])
    digests.append(digest())
    paths[1].rename(tmp_path / "c.csv")
    digests.append(digest())
    assert len(set(digests)) == 4


def test_csv_and_root_have_variables_of_their_own_unless_told(tmp_path: Path) -> None:
    assert variables_of(ConvertConfig(), "csv") == ("E", "pt", "eta", "phi")
    assert variables_of(ConvertConfig(), "root") == ("pt", "eta", "phi", "m")
    assert variables_of(ConvertConfig(variables=("m", "E")), "csv") == ("m", "E")


def test_csv_files_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="variable 'Width' of CSV files"):
        variables_of(ConvertConfig(variables=("pt", "Width")), "csv")
    with pytest.raises(UnknownNameError, match="of CSV files for cuts=data"):
        variables_of(ConvertConfig(cuts="data"), "csv")


def test_csv_gives_masses_and_the_asked_order(tmp_path: Path) -> None:
    (file,) = find_files(LocalFolder(csv(tmp_path / "a.csv")), "auto")
    (events,) = read_events(file, ConvertConfig(variables=("m", "pt", "E")))
    assert list(events.values) == ["m", "pt", "E"]
    energy, pt, eta = 100.0, 80.0, 0.5
    assert events.values["m"][0] == pytest.approx(np.sqrt(energy**2 - (pt * np.cosh(eta)) ** 2), rel=1e-5)


def test_csv_in_gev_is_not_divided(tmp_path: Path) -> None:
    (file,) = find_files(LocalFolder(csv(tmp_path / "a.csv")), "auto")
    (told,), (known,) = (list(read_events(file, ConvertConfig(units=units))) for units in ("GeV", "auto"))
    assert told.values["pt"][0] == pytest.approx(80_000)
    assert told.of_event["met"][0] == pytest.approx(30_000)
    assert known.values["pt"][0] == pytest.approx(80)
    assert told.values["eta"].tolist() == known.values["eta"].tolist()


@pytest.mark.parametrize("kind", ["csv", "root"])
def test_chunks_that_were_done_are_passed_over(tmp_path: Path, kind: str) -> None:
    (csv if kind == "csv" else xaod)(tmp_path / f"a.{kind}")
    (file,) = find_files(LocalFolder(tmp_path), "auto")
    config = ConvertConfig(events_per_chunk=1)
    whole = [events.key_e.tolist() for events in read_events(file, config)]
    assert [events.key_e.tolist() for events in read_events(file, config, chunks_done=2)] == whole[2:]


def test_malformed_lines_are_noted_with_the_files_name_and_not_twice(tmp_path: Path) -> None:
    lines = ["x;y", CSV_LINES[0], "broken", CSV_LINES[1], "1;2;3", CSV_LINES[2], "last"]
    (file,) = find_files(LocalFolder(csv(tmp_path / "a.csv", lines)), "auto")
    config = ConvertConfig(on_bad_input="skip", events_per_chunk=2)
    whole: list[BadLine] = []
    chunks = list(read_events(file, config, whole))
    assert sum(map(len, chunks)) == 3
    assert [(line.file, line.line) for line in whole] == [("a.csv", 1), ("a.csv", 3), ("a.csv", 5), ("a.csv", 7)]
    rest: list[BadLine] = []
    before: list[BadLine] = []
    first = next(read_events(file, config, before))
    assert len(list(read_events(file, config, rest, chunks_done=1))) == len(chunks) - 1
    assert len(first) == len(chunks[0])
    assert before + rest == whole


def test_what_the_cuts_look_at_is_read_too(tmp_path: Path) -> None:
    xaod(tmp_path / "a.root")
    (file,) = find_files(LocalFolder(tmp_path), "auto")
    (events,) = read_events(file, ConvertConfig(variables=("eta",), cuts="four_vector"))
    assert set(events.values) == {"eta", "m"}
    assert events.count_e.tolist() == list(COUNTS)


def test_a_first_file_is_checked_before_work_starts(tmp_path: Path) -> None:
    flat(tmp_path / "a.root", four_vectors(3))
    (file,) = find_files(LocalFolder(tmp_path), "auto")
    check_file(file, ConvertConfig(units="GeV"))
    with pytest.raises(UnknownNameError, match="'Width'"):
        check_file(file, ConvertConfig(units="GeV", variables=("pt", "Width")))
