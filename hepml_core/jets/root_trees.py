"""Trees of ROOT files as columns, streamed: the only door to uproot for reading.

What uproot gives back is awkward (jagged) or numpy arrays; every fault of a file becomes a DataError with its name.
"""

from __future__ import annotations

import lzma
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np

from hepml_core.errors import DataError, DependencyError, SettingError, UnknownNameError
from hepml_core.jets.layouts import LAYOUTS

try:
    import uproot
except ImportError as missing:
    raise DependencyError("uproot", "jets", "reading ROOT files") from missing


class Member(NamedTuple):
    """A number in an object as ROOT writes it."""

    place: int
    """Bytes before it, behind the base class."""
    dtype: np.dtype[Any]


NUMBERS = r"0 \* (var \* )?((float|int|uint)\d+|bool)"
"""Types that a branch may have, as awkward writes them: a number for each jet of an event, or for each entry."""
UNSPLIT_INFO, UNSPLIT_TYPE = "EventInfoAux.", "xAOD::EventAuxInfo_v1"
UNSPLIT = {"EventInfoAux.runNumber": Member(0, np.dtype("u4")), "EventInfoAux.eventNumber": Member(4, np.dtype("u8"))}
"""Members of EventInfoAux where it was not split into branches."""
KINDS = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
ENTRIES_AT_ONCE = 1 << 20

Block = dict[str, Any]
"""Some entries of each branch that was asked for."""


class RootTree:
    """A tree of an open ROOT file.

    Attributes:
        name: Name of the tree.
        where: Tree and file, for messages.
        branches: Names of all branches.
        entries: Number of entries.
    """

    def __init__(self, file: Path, tree: str, name: str) -> None:
        """Open a file and find a tree in it.

        Args:
            file: A local file.
            tree: Name of the tree; empty looks for the known ones, then takes the only one there is.
            name: What to call the file in messages.

        Raises:
            DataError: It is no ROOT file, is cut or damaged, or holds no tree.
            UnknownNameError: There is no such tree.
            SettingError: There are several trees, and none of them is known.
        """
        self._file_name = name
        with _reading(name):
            # Not mapped into memory: the pages of a big file would count as this process's.
            self._file = uproot.open(file, handler=uproot.MultithreadedFileSource)
        try:
            promised, found = self._file.file.fEND, file.stat().st_size
            if found < promised:
                raise DataError(f"{name} is cut: it has {found} bytes, its header says {promised}")
            self.name = self._choose(tree)
            self.where = f"in tree {self.name!r} of {name}"
            with _reading(name):
                self._tree = self._file[self.name]
                self._paths = {path.rpartition("/")[2]: path for path in self._tree.keys()}  # noqa: SIM118 - no dict
                self.entries = int(self._tree.num_entries)
                self._has_unsplit = UNSPLIT_INFO in self._paths and self._tree[UNSPLIT_INFO].typename == UNSPLIT_TYPE
        except BaseException:
            self.close()
            raise
        self.branches = {*self._paths, *(UNSPLIT if self._has_unsplit else ())}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _choose(self, asked: str) -> str:
        with _reading(self._file_name):
            kinds = self._file.classnames(cycle=False)
        trees = [name for name, kind in kinds.items() if kind in KINDS]
        if not trees:
            raise DataError(f"{self._file_name} holds no tree, only {', '.join(kinds) or 'nothing'}")
        if asked in trees:
            return asked
        if asked:
            raise UnknownNameError("tree", asked, trees, f"in {self._file_name}")
        known = [name for name in LAYOUTS if name in trees]
        if not known and len(trees) > 1:
            raise SettingError(f"tree= must say which tree of {self._file_name} holds the jets: {', '.join(trees)}")
        return (known or trees)[0]

    def type_of(self, branch: str) -> str:
        """Return ``float32`` for a branch with a number for each entry, ``var * float32`` with one for each jet.

        Raises:
            DataError: The branch holds something else.
        """
        if branch not in self._paths:
            return str(UNSPLIT[branch].dtype)
        with _reading(self._file_name):
            kind = _type_of(self._tree[self._paths[branch]])
        if not re.fullmatch(NUMBERS, kind):
            found = kind.removeprefix("0 * ")
            raise DataError(f"branch {branch!r} {self.where} holds {found}: one number for each jet is needed")
        return kind.removeprefix("0 * ")

    def blocks(self, branches: Sequence[str], bounds: Sequence[int]) -> Iterator[Block]:
        """Read branches from each of the given entries to the next.

        Raises:
            DataError: The file is damaged.
        """
        step = max(1, bounds[1] - bounds[0])
        return _recut(self._steps(branches, bounds[0], bounds[-1], step), bounds)

    def _steps(self, branches: Sequence[str], start: int, stop: int, step: int) -> Iterator[Block]:
        paths = {branch: self._paths[branch] for branch in branches if branch in self._paths}
        # iterate decompresses a basket once, also where it reaches over several steps.
        with _reading(self._file_name):
            records = self._tree.iterate(list(paths.values()), entry_start=start, entry_stop=stop, step_size=step)
        for first in range(start, stop, step):
            with _reading(self._file_name):
                record = next(records)
                block = {branch: record[path] for branch, path in paths.items()}
                if len(block) < len(branches):
                    block |= self._unsplit(branches, first, min(first + step, stop))
            yield block

    def _unsplit(self, branches: Sequence[str], start: int, stop: int) -> Block:
        """Read members of EventInfoAux that stand behind its base class, whose size its first four bytes tell."""
        as_bytes = uproot.AsJagged(uproot.AsDtype("u1"))
        raw = self._tree[UNSPLIT_INFO].array(as_bytes, entry_start=start, entry_stop=stop)
        byte_n, first_e = ak.to_numpy(ak.flatten(raw)), np.cumsum(ak.to_numpy(ak.num(raw))) - ak.to_numpy(ak.num(raw))
        size_e = byte_n[first_e[:, None] + np.arange(4)].view(">u4")[:, 0] & 0x3FFFFFFF
        first_e += 4 + size_e
        return {
            name: byte_n[first_e[:, None] + member.place + np.arange(member.dtype.itemsize)]
            .view(member.dtype.newbyteorder(">"))[:, 0]
            .astype(member.dtype)
            for name, member in UNSPLIT.items()
            if name in branches
        }


def _type_of(branch: Any) -> str:
    """Describe what a branch holds, as awkward does; a basket is read only where the file's description is not enough."""
    interpretation = getattr(branch, "interpretation", None)
    if isinstance(interpretation, (uproot.AsDtype, uproot.AsJagged)):
        return f"0 * {interpretation.awkward_form(branch.file).type}"
    return str(branch.array(entry_stop=0).type)


def _recut(blocks: Iterator[Block], bounds: Sequence[int]) -> Iterator[Block]:
    """Cut blocks of entries anew, at the given entries."""
    held: Block = {}
    length = 0
    for start, stop in pairwise(bounds):
        while length < stop - start:
            block = next(blocks)
            held = {name: ak.concatenate([held[name], block[name]]) for name in block} if length else block
            length = len(next(iter(held.values())))
        length -= stop - start
        if not length:
            yield held
            continue
        yield {name: array[: stop - start] for name, array in held.items()}
        # Packed: a slice keeps all that it was cut from, and joined to the next block it would carry it along.
        held = {name: ak.to_packed(array[stop - start :]) for name, array in held.items()}


_DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError),
    *(RuntimeError, MemoryError, struct.error, zlib.error, lzma.LZMAError),
    uproot.deserialization.DeserializationError,
)
"""What uproot and the libraries under it say of bytes that are not what they should be."""


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what uproot says of a file into one sentence with its name."""
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{name} is damaged or no ROOT file: {reason}") from error
