"""Read the text files of PhenoML and DarkMachines.

A line is an event, ``eventID;processID;weight;MET;METphi;obj,E,pt,eta,phi;obj,E,pt,eta,phi;…``, with energies in MeV and
angles in rad; PhenoML ends it with a semicolon, DarkMachines does not. Lines are taken apart as arrays of bytes, a block
of them at once; only a block with a fault is halved until its faulty lines stand alone.
Suffixes: e event, n object, i field of the text, r row of five fields (the head of an event, or an object).
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.jets.events import Events, IntArray, KeyArray, TextArray
from hepml_core.jets.variables import MEV, OBJECTS
from hepml_core.tfrecord import hash64

Offsets = NDArray[np.int32]

log = logging.getLogger(__name__)

HEAD = ("eventID", "processID", "weight", "MET", "METphi")
OBJECT = ("obj", "E", "pt", "eta", "phi")
IN_MEV = NOT_NEGATIVE = ("E", "pt", "MET")
ALIASES = {"mu-": "m-", "mu+": "m+", "a": "g"}
"""How an older converter of the same files spelled muons and photons."""

BLOCK_BYTES = 1 << 21
"""Larger blocks outgrow the processor's cache."""
LONGEST_LINE = 1 << 24

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA, _SEMICOLON, _NEWLINE = (ord(sign) for sign in ",;\n")


@dataclass(frozen=True, slots=True)
class BadLine:
    """A malformed line that was left out."""

    file: str
    line: int
    reason: str


def read_csv(
    path: Path, *, events_per_chunk: int, on_bad_input: Literal["fail", "skip"], skipped: list[BadLine]
) -> Iterator[Events]:
    """Yield the events of a file in their order.

    Blanks around fields, blank lines, carriage returns and a byte-order mark are ignored.

    Args:
        path: Local file.
        events_per_chunk: Events that are yielded at once, at most.
        on_bad_input: Stop at the first malformed line, or leave such lines out.
        skipped: Where lines that are left out are noted.

    Yields:
        Events with float32 values E, pt (GeV), eta and phi (rad) of each object, and weight, met (GeV) and met_phi.

    Raises:
        DataError: A line is malformed (and is not to be skipped), or the file is no text of lines.
    """
    reader = _Reader(path.name, on_bad_input == "skip", skipped)
    line = 1
    for block in _blocks(path):
        newline_e = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
        edges = [0, *(newline_e[events_per_chunk - 1 : -1 : events_per_chunk] + 1).tolist(), len(block)]
        for chunk, (start, stop) in enumerate(pairwise(edges)):
            events = reader.read(block[start:stop], line + chunk * events_per_chunk)
            if len(events):
                yield events
        line += len(newline_e)


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield blocks of whole lines; the last one may lack its newline."""
    with path.open("rb") as file:
        rest = file.read(3).removeprefix(b"\xef\xbb\xbf")
        while new := file.read(BLOCK_BYTES):
            end = new.rfind(b"\n") + 1
            if end:
                yield rest + new[:end]
                rest = new[end:]
            else:
                rest += new
            if len(rest) > LONGEST_LINE:
                raise DataError(f"{path.name} has a line of more than {LONGEST_LINE >> 20} MB: it is no text of events")
    if rest.strip():
        yield rest


@dataclass(slots=True)
class _Reader:
    """Reads blocks of one file."""

    file: str
    skip: bool
    skipped: list[BadLine]
    noted: set[str] = field(default_factory=set)

    def read(self, block: bytes, first_line: int) -> Events:
        """Read lines, less the malformed ones."""
        events = self._parse(block)
        if events is None:
            events = self._parse(b"".join(self._good(block, first_line)))
        assert events is not None, "lines that are good one by one are good together"
        return events

    def _good(self, block: bytes, first_line: int) -> list[bytes]:
        """Return the parts of a block without malformed lines."""
        if self._parse(block) is not None:
            return [block]
        middle = block.rfind(b"\n", 0, len(block) // 2) + 1 or block.find(b"\n") + 1
        if middle in (0, len(block)):
            self._refuse(first_line, fault_of(block))
            return []
        second_line = first_line + block.count(b"\n", 0, middle)
        return self._good(block[:middle], first_line) + self._good(block[middle:], second_line)

    def _refuse(self, line: int, reason: str) -> None:
        if not self.skip:
            raise DataError(f"{self.file}, line {line}: {reason}")
        self.skipped.append(BadLine(self.file, line, reason))

    def _parse(self, block: bytes) -> Events | None:
        """Read lines, or return None where one is malformed."""
        if block and not block.endswith(b"\n"):
            return None
        fields, kind_i = _split(block)
        end_e = np.flatnonzero(kind_i == _NEWLINE)
        size_e = np.diff(end_e, prepend=-1)
        # If all events have whole rows, no row can be of two.
        if (size_e % 5).any():
            return None
        head_e = (end_e + 1 - size_e) // 5
        kind_rx = kind_i.reshape(-1, 5)
        between_r = np.full(len(kind_rx), _COMMA, np.uint8)
        between_r[head_e] = _SEMICOLON
        if (kind_rx[:, :4] != between_r[:, None]).any() or (kind_rx[:, 4] == _COMMA).any():
            return None
        object_n = np.flatnonzero(between_r == _COMMA)
        try:
            return self._read_fields(fields, head_e, object_n, size_e // 5 - 1)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None

    def _read_fields(self, fields: Any, head_r: IntArray, object_r: IntArray, count_e: IntArray) -> Events | None:
        """Turn the texts of heads and objects into values, or return None where one is impossible."""
        number_e = fields.take(pa.array(head_r * 5)).cast(pa.int64()).to_numpy()
        processes = fields.take(pa.array(head_r * 5 + 1)).dictionary_encode()
        names = processes.dictionary.to_pylist()
        object_n = self._objects(fields.take(pa.array(object_r * 5)).dictionary_encode())
        head: dict[str, NDArray[Any]] = {name: _numbers(fields, head_r, i) for i, name in enumerate(HEAD[2:], start=2)}
        head["MET"] = head["MET"] * MEV
        values: dict[str, NDArray[Any]] = {}
        for i, name in enumerate(OBJECT[1:], start=1):
            value_n = _numbers(fields, object_r, i)
            with np.errstate(over="ignore"):  # infinity is refused below
                values[name] = (value_n * MEV if name in IN_MEV else value_n).astype(np.float32)
        everything = {**head, **values}
        if object_n is None or "" in names or not all(np.isfinite(value).all() for value in everything.values()):
            return None
        if any((everything[name] < 0).any() for name in NOT_NEGATIVE):
            return None
        process_e = processes.indices.to_numpy()
        hash_e = np.array([hash64(name.encode()) for name in names], np.uint64)[process_e]
        return Events(
            count_e=count_e,
            number_e=number_e,
            key_e=_keys(hash_e, number_e),
            process_e=np.array(names, np.str_)[process_e],
            object_n=object_n,
            values=values,
            of_event={"weight": head["weight"], "met": head["MET"], "met_phi": head["METphi"]},
        )

    def _objects(self, codes: Any) -> TextArray | None:
        """Return the code of each object, or None where one is unknown."""
        names = codes.dictionary.to_pylist()
        if not all(name in OBJECTS or name in ALIASES for name in names):
            return None
        for name in sorted({*names} & ALIASES.keys() - self.noted):
            self.noted.add(name)
            log.info("%s calls %s %s; read as %s", self.file, OBJECTS[ALIASES[name]], name, ALIASES[name])
        code_of = np.array([ALIASES.get(name, name) for name in names], np.str_)
        object_n: TextArray = code_of[codes.indices.to_numpy()]
        return object_n


def _split(block: bytes) -> tuple[Any, NDArray[np.uint8]]:
    """Return the fields of whole lines, stripped, and the sign that ends each.

    Blank lines and an empty field at the end of a line give none.
    """
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    byte_b = np.frombuffer(block, np.uint8)
    separates_b = (byte_b == _COMMA) | (byte_b == _SEMICOLON) | (byte_b == _NEWLINE)
    place_i: Offsets = np.flatnonzero(separates_b).astype(np.int32)
    kind_i = byte_b[place_i]
    end_i = np.subtract(place_i, np.arange(len(place_i), dtype=np.int32), dtype=np.int32)
    fields = _texts(end_i, block.translate(None, b",;\n"))
    if any(blank in block for blank in (b" ", b"\t", b"\r", b"\v", b"\f")):
        fields = pc.ascii_trim_whitespace(fields)
        end_i = np.frombuffer(fields.buffers()[1], np.int32, len(fields), offset=4)
    before_i = np.concatenate([np.array([_NEWLINE], np.uint8), kind_i[:-1]])
    empty_i = np.diff(end_i, prepend=np.int32(0)) == 0
    dropped_i = empty_i & (kind_i == _NEWLINE) & (before_i != _COMMA)
    # The field before a dropped one ends the line.
    last = np.flatnonzero(dropped_i & (before_i == _SEMICOLON)) - 1
    kind_i[last] = _NEWLINE
    kept = np.flatnonzero(~dropped_i)
    return _texts(end_i[kept], fields.buffers()[2]), kind_i[kept]


def _texts(end_i: Offsets, content: Any) -> Any:
    """Return texts that lie one after the other, without copying them."""
    offsets = pa.py_buffer(np.concatenate([np.zeros(1, np.int32), end_i]))
    return pa.StringArray.from_buffers(len(end_i), offsets, pa.py_buffer(content) if content is not None else None)


def _numbers(fields: Any, row_r: IntArray, column: int) -> NDArray[np.float64]:
    """Read a field of each of some rows as a number.

    Raises:
        pa.ArrowInvalid: One is no number.
    """
    number_r: NDArray[np.float64] = fields.take(pa.array(row_r * 5 + column)).cast(pa.float64()).to_numpy()
    return number_r


def _keys(process_e: KeyArray, number_e: IntArray) -> KeyArray:
    """Return a key for each event: the state of SplitMix64 that starts at its process, after as many steps as its number.

    The splits mix it further. No two numbers of a process share a key.
    """
    return process_e + number_e.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def fault_of(line: bytes) -> str:
    """Say what is wrong with a line that is."""
    if not line.endswith(b"\n"):
        return "no newline at its end, so it may be cut; add one if the line is whole"
    parts = line.decode(errors="replace").strip().removesuffix(";").split(";")
    if len(parts) < 5:
        return f"{len(parts)} of the 5 fields {';'.join(HEAD)}"
    head = [part.strip() for part in parts[:5]]
    if not re.fullmatch(r"-?\d{1,19}", head[0]) or not -(2**63) <= int(head[0]) < 2**63:
        return f"eventID {head[0]!r} is no whole number of 64 bits"
    if not head[1] or "," in head[1] or "\ufffd" in head[1]:
        return f"processID {head[1]!r} is no name"
    faults = [_fault_of_number(name, text) for name, text in zip(HEAD[2:], head[2:], strict=True)]
    faults += [_fault_of_object(place, text) for place, text in enumerate(parts[5:], start=1)]
    return next(filter(None, faults), "it is malformed")


def _fault_of_object(place: int, text: str) -> str:
    code, *numbers = (part.strip() for part in text.split(","))
    if len(numbers) != 4:
        return f"object {place} has {len(numbers) + 1} fields, not {','.join(OBJECT)}: {text!r:.60}"
    if code not in OBJECTS and code not in ALIASES:
        near = difflib.get_close_matches(code, OBJECTS, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(OBJECTS)}"
        return f"object {place} is of unknown kind {code!r}; {hint}"
    faults = [_fault_of_number(name, number) for name, number in zip(OBJECT[1:], numbers, strict=True)]
    return next((f"object {place}: {fault}" for fault in faults if fault), "")


def _fault_of_number(name: str, text: str) -> str:
    if re.fullmatch(r"[+-]?(nan|inf|infinity)", text, re.IGNORECASE):
        return f"{name} is not finite: {text}"
    if not _NUMBER.fullmatch(text):
        return f"{name} is no number: {text!r:.40}"
    value = float(text)
    largest = np.finfo(np.float32 if name in OBJECT else np.float64).max
    if abs(value) > float(largest) / (MEV if name in IN_MEV else 1):
        return f"{name} is too large: {text}"
    return f"{name} is negative: {text}" if value < 0 and name in NOT_NEGATIVE else ""
