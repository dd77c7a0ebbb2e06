import logging
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepml_core.errors import DataError
from hepml_core.jets import csv_files
from hepml_core.jets.csv_files import BadLine, fault_of, read_csv
from hepml_core.jets.events import Events
from hepml_core.jets.generate import format_events
from hepml_core.jets.toys import make_events

HEAD = "7;ttbar;0.5;30000;-1.5"
ONE = f"{HEAD};j,100000,50000,1.25,3.0"


def read(
    path: Path, content: str | bytes, on_bad_input: Literal["fail", "skip"] = "fail", events_per_chunk: int = 50_000
) -> tuple[list[Events], list[BadLine]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    skipped: list[BadLine] = []
    chunks = read_csv(path, events_per_chunk=events_per_chunk, on_bad_input=on_bad_input, skipped=skipped)
    return list(chunks), skipped


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.csv"


def numbers(chunks: list[Events]) -> list[int]:
    return [number for events in chunks for number in events.number_e.tolist()]


def reference(path: Path) -> tuple[list[list[Any]], list[list[Any]]]:
    """Read by lists, as the original did but without its quadratic loops: heads, and objects that are not all zero."""
    rows = []
    with path.open() as file:
        for line in file:
            rows.append(line.replace(";", ",").rstrip(",\n").split(","))  # noqa: PERF401 - it is what is compared
    longest = max(map(len, rows))
    heads: list[list[Any]] = []
    objects: list[list[Any]] = []
    for row in rows:
        padded: list[Any] = row + [0] * (longest - len(row))
        heads.append(padded[:5])
        for i in range((longest - 5) // 5):
            entry = padded[5 + 5 * i : 10 + 5 * i]
            if any(value != 0 for value in entry):
                objects.append([entry[0], *(np.float32(value) for value in entry[1:])])
    return heads, objects


@pytest.mark.parametrize("end", ["\n", ";\n", "\r\n", ";\r\n", " \n", " ; \t\r\n"])
def test_every_dialect_gives_the_same_event_in_gev(end: str, path: Path) -> None:
    (events,), skipped = read(path, ONE + ";b,2000,1000,-0.5,-3.1" + end)
    assert (events.count_e.tolist(), events.number_e.tolist(), events.process_e.tolist()) == ([2], [7], ["ttbar"])
    assert events.object_n.tolist() == ["j", "b"]
    assert {name: value.tolist() for name, value in events.of_event.items()} == {
        "weight": [0.5],
        "met": [30.0],
        "met_phi": [-1.5],
    }
    assert np.array_equal(events.values["E"], np.array([100, 2], np.float32))
    assert np.array_equal(events.values["pt"], np.array([50, 1], np.float32))
    assert np.array_equal(events.values["eta"], np.array([1.25, -0.5], np.float32))
    assert np.array_equal(events.values["phi"], np.array([3.0, -3.1], np.float32))
    assert all(value_n.dtype == np.float32 for value_n in events.values.values())
    assert all(value_e.dtype == np.float64 for value_e in events.of_event.values())
    assert not skipped


def test_blanks_around_fields_blank_lines_and_a_byte_order_mark_change_nothing(path: Path) -> None:
    plain = f"{ONE}\n8;ttbar;1;2;3\n"
    airy = "\ufeff\n  \n" + plain.replace(";", " ;\t").replace(",", " , ").replace("\n", " \r\n\r\n \t\n")
    (expected,), _ = read(path, plain)
    (events,), _ = read(path, airy)
    assert np.array_equal(events.key_e, expected.key_e)
    assert events.object_n.tolist() == expected.object_n.tolist()
    assert all(np.array_equal(events.values[name], expected.values[name]) for name in expected.values)


@pytest.mark.parametrize("content", ["", "\n", " \n\r\n", "\ufeff", "\ufeff\n"])
def test_a_file_without_lines_has_no_events(content: str, path: Path) -> None:
    assert read(path, content) == ([], [])


def test_events_without_objects_are_kept(path: Path) -> None:
    (events,), _ = read(path, f"1;a;1;2;3\n2;a;1;2;3;\n{ONE}\n4;a;1;2;3;\n")
    assert events.count_e.tolist() == [0, 0, 1, 0]
    (events,), _ = read(path, "1;a;1;2;3\n")
    assert (events.count_e.tolist(), len(events.object_n), len(events.values["pt"])) == ([0], 0, 0)


def test_older_spellings_are_read_as_the_newer_ones_and_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = HEAD + "".join(f";{code},1,1,0,0" for code in ("mu-", "mu+", "a", "m-", "e+")) + "\n"
    with caplog.at_level(logging.INFO):
        chunks, _ = read(path, line * 3, events_per_chunk=1)
    assert [events.object_n.tolist() for events in chunks] == [["m-", "m+", "g", "m-", "e+"]] * 3
    assert [record.message for record in caplog.records] == [
        "events.csv calls photon a; read as g",
        "events.csv calls antimuon mu+; read as m+",
        "events.csv calls muon mu-; read as m-",
    ]


BAD = {
    "1;ttbar;1;2": "4 of the 5 fields",
    "nonsense": "1 of the 5 fields",
    "1.5;ttbar;1;2;3": "eventID '1.5' is no whole number",
    "99999999999999999999;ttbar;1;2;3": "is no whole number of 64 bits",
    "9223372036854775808;ttbar;1;2;3": "is no whole number of 64 bits",
    "eventID;processID;weight;MET;METphi": "eventID 'eventID' is no whole number",
    "1;;1;2;3": "processID '' is no name",
    "1;ttbar;one;2;3": "weight is no number: 'one'",
    "1;ttbar;1;nan;3": "MET is not finite: nan",
    "1;ttbar;1;-2;3": "MET is negative: -2",
    "1;ttbar;1;2;": "4 of the 5 fields",
    "1;ttbar;1;2; ;j,1,1,0,0": "METphi is no number: ''",
    f"{HEAD};j,1,1,0": "object 1 has 4 fields, not obj,E,pt,eta,phi: 'j,1,1,0'",
    f"{HEAD};j,1,1,0;0": "object 1 has 4 fields",
    f"{HEAD};j,1,1,0,0,0": "object 1 has 6 fields",
    f"{ONE};": "",
    f"{ONE};;": "object 2 has 1 fields",
    f"{ONE},": "object 1 has 6 fields",
    f"{ONE};j,1,1,,0": "object 2: eta is no number: ''",
    f"{ONE};j,1,1 2,0,0": "object 2: pt is no number: '1 2'",
    f"{ONE};j,1_0,1,0,0": "object 2: E is no number: '1_0'",
    f"{ONE};j,0x10,1,0,0": "object 2: E is no number: '0x10'",
    f"{ONE};j,1,1,inf,0": "object 2: eta is not finite: inf",
    f"{ONE};j,1,1,0,-NaN": "object 2: phi is not finite: -NaN",
    f"{ONE};j,1e60,1,0,0": "object 2: E is too large: 1e60",
    "1;ttbar;1e400;2;3": "weight is too large: 1e400",
    f"{ONE};j,-1,1,0,0": "object 2: E is negative: -1",
    f"{ONE};j,1,-0.5,0,0": "object 2: pt is negative: -0.5",
    f"{ONE};jet,1,1,0,0": "object 2 is of unknown kind 'jet'; did you mean 'j'?",
    f"{ONE};e,1,1,0,0": "object 2 is of unknown kind 'e'; did you mean 'e",
    f"{ONE};tau,1,1,0,0": "object 2 is of unknown kind 'tau'",
    f"{ONE};,1,1,0,0": "object 2 is of unknown kind ''",
    ONE.replace(",", ";"): "object 1 has 1 fields",
    ONE.replace(";", ","): "1 of the 5 fields",
    "1,ttbar,1,2,3;j,1,1,0,0": "2 of the 5 fields",
    "1;ttbar;1;2;3,j,1,1,0,0": "METphi is no number",
}


@pytest.mark.parametrize(("line", "reason"), BAD.items())
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_malformed_line_is_named_with_its_number_and_reason(line: str, reason: str, end: str, path: Path) -> None:
    content = f"{ONE}\n\n{ONE}{end}{line}{end}{ONE}\n"
    if not reason:
        assert numbers(read(path, content)[0]) == [7, 7, 7, 7]
        return
    with pytest.raises(DataError) as raised:
        read(path, content)
    assert str(raised.value).startswith("events.csv, line 4: ")
    assert reason in str(raised.value)


@pytest.mark.parametrize("events_per_chunk", [1, 2, 7, 1000])
def test_skipped_lines_are_listed_and_shift_no_column(events_per_chunk: int, path: Path) -> None:
    bad = [line for line, reason in BAD.items() if reason]
    lines = [line for i, one in enumerate(bad) for line in (one, f"{i};ttbar;1;{i};3;j,{i + 1}000,{i}000,1,2")]
    chunks, skipped = read(path, "\n".join(lines) + "\n", "skip", events_per_chunk)
    assert numbers(chunks) == list(range(len(bad)))
    assert np.concatenate([events.values["E"] for events in chunks]).tolist() == list(range(1, len(bad) + 1))
    assert np.concatenate([events.values["phi"] for events in chunks]).tolist() == [2] * len(bad)
    assert [one.line for one in skipped] == list(range(1, 2 * len(bad), 2))
    for one, line in zip(skipped, bad, strict=True):
        assert one.file == "events.csv"
        assert BAD[line] in one.reason


def test_a_file_of_bad_lines_alone_gives_nothing(path: Path) -> None:
    chunks, skipped = read(path, "a\nb\nc", "skip")
    assert (chunks, len(skipped)) == ([], 3)


@pytest.mark.parametrize("cut", [1, 5, 12, len(ONE)])
def test_a_line_without_its_newline_may_be_cut_and_is_refused(cut: int, path: Path) -> None:
    with pytest.raises(DataError, match=r"events\.csv, line 2: no newline at its end"):
        read(path, f"{ONE}\n{ONE[:cut]}")
    chunks, skipped = read(path, f"{ONE}\n{ONE[:cut]}", "skip")
    assert (numbers(chunks), [one.line for one in skipped]) == ([7], [2])


def test_bytes_that_are_no_text_are_malformed(path: Path) -> None:
    chunks, skipped = read(path, b"1;\xff\xfe;1;2;3\n" + ONE.encode() + b"\n\x00\x01\n", "skip")
    assert numbers(chunks) == [7]
    assert [one.line for one in skipped] == [1, 3]


def test_a_file_without_line_ends_is_refused_before_it_fills_the_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_files, "LONGEST_LINE", 1 << 20)
    with pytest.raises(DataError, match="it is no text of events"):
        read(path, b"\0" * (3 << 21), "skip")


def test_keys_depend_on_process_and_number_alone(path: Path) -> None:
    lines = [f"{n};{process};1;2;3\n" for process in ("ttbar", "wjets") for n in (-1, 0, 1, 2**62)]
    (events,), _ = read(path, "".join(lines))
    assert len(np.unique(events.key_e)) == 8
    (other,), _ = read(path, "".join(reversed(lines)))
    assert other.key_e.tolist() == events.key_e.tolist()[::-1]


@pytest.mark.parametrize("block_bytes", [64, 100, 1000, 1 << 20])
@pytest.mark.parametrize("events_per_chunk", [1, 7, 10_000])
def test_blocks_and_chunks_leave_no_trace(
    block_bytes: int, events_per_chunk: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = make_events("ttbar", 60, 20.0, np.random.default_rng(0))
    content = format_events(drawn, ";\n").replace(b";40;", b";4x;")
    lines = content.splitlines(keepends=True)
    lines.insert(30, b"broken\n")
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", block_bytes)
    chunks, skipped = read(path, b"".join(lines), "skip", events_per_chunk)
    assert [(one.line, one.reason[:3]) for one in skipped] == [(31, "1 o")]
    assert numbers(chunks) == list(range(60))
    assert max(map(len, chunks)) <= events_per_chunk
    read_pt = np.concatenate([events.values["pt"] for events in chunks])
    assert np.allclose(read_pt, drawn.values["pt"], rtol=1e-6)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*"107;;,,.j\n eb-+gam\r\t", "\n1;a;1;1;1", ";j,1,1,1,1", "inf", "nan"]), max_size=40))
def test_every_line_of_any_text_is_either_read_or_refused_with_a_reason(parts: list[str]) -> None:
    text = "".join([ONE, "\n", *parts, "\n"])
    reader = csv_files._Reader("any", skip=True, skipped=[])
    events = reader.read(text.encode(), 1)
    assert len(events) + len(reader.skipped) == sum(bool(line.strip()) for line in text.split("\n"))
    assert all(one.reason != "it is malformed" for one in reader.skipped)
    assert all(text.split("\n")[one.line - 1].strip() for one in reader.skipped)


def test_reading_is_many_times_faster_than_lists(path: Path) -> None:
    drawn = make_events("ttbar", 15_000, 20.0, np.random.default_rng(0))
    path.write_bytes(format_events(drawn, ";\n"))
    started = time.process_time()
    heads, objects = reference(path)
    by_lists = time.process_time() - started
    started = time.process_time()
    chunks = list(read_csv(path, events_per_chunk=50_000, on_bad_input="fail", skipped=[]))
    elapsed = time.process_time() - started
    assert numbers(chunks) == [int(head[0]) for head in heads]
    assert [code for events in chunks for code in events.object_n.tolist()] == [entry[0] for entry in objects]
    energy_n = np.concatenate([events.values["E"] for events in chunks])
    assert np.allclose(energy_n, np.array([entry[1] for entry in objects]) / 1000, rtol=2e-7)
    assert by_lists > 4 * elapsed  # 10 and more on an idle machine, and these lists lack the original's quadratic loops


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("wjets_cms2015", 200),
        ("ttbar_nanov15", 200),
        ("delphes25", 25),
        ("single_top_cms2011", 3410),
        ("ww_cms2011", 2748),
        ("wz_cms2011", 2020),
        ("zz_cms2011", 1452),
    ],
)
def test_real_events_are_read_as_plain_lists_read_them(name: str, count: int, real_data: Path) -> None:
    source = real_data / f"phenoml_csv/events/{name}.csv"
    heads, objects = reference(source)
    skipped: list[BadLine] = []
    (events,) = read_csv(source, events_per_chunk=50_000, on_bad_input="fail", skipped=skipped)
    assert len(events) == count == len(heads)
    assert events.number_e.tolist() == [int(head[0]) for head in heads]
    assert events.process_e.tolist() == [head[1] for head in heads]
    assert np.array_equal(events.of_event["weight"], np.array([float(head[2]) for head in heads]))
    assert events.object_n.tolist() == [entry[0] for entry in objects]
    value_nf = np.array([entry[1:] for entry in objects]) / [1000, 1000, 1, 1]
    for f, variable in enumerate(("E", "pt", "eta", "phi")):
        assert np.allclose(events.values[variable], value_nf[:, f], rtol=2e-7)
    assert np.unique(events.key_e).size == len(np.unique(events.number_e))


def test_a_reason_is_found_for_a_line_that_only_lacks_its_newline() -> None:
    assert "no newline" in fault_of(ONE.encode())
