"""The data files of a source: a folder of them, or one such file, on a disk or in an object store."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from hepml_core.errors import DataError
from hepml_core.storage import Folder, open_folder

log = logging.getLogger(__name__)

KindT = TypeVar("KindT", bound=str)


@dataclass(frozen=True, slots=True)
class SourceFile(Generic[KindT]):
    """A file with events."""

    folder: str
    """Address of the source's folder."""
    name: str
    """Name in that folder."""
    kind: KindT
    """What its ending says that it is."""
    bytes: int
    version: str
    """Changes when the content does."""


def find_files(
    source: Folder, endings: Mapping[str, KindT], what: str, only: Container[KindT] | None = None
) -> list[SourceFile[KindT]]:
    """List the files of a source, sorted by name; the source may be such a file itself. Hidden ones are left out.

    Args:
        source: A folder, or what was opened as one and is a file.
        endings: Kind of the files that end so, in small letters.
        what: Names the files in messages, say ``ROOT or CSV files``.
        only: Take only files of these kinds.

    Raises:
        DataError: There is no such folder, or no such file in it.
    """
    if _kind_of(str(source), endings) and (source.path is None or source.path.is_file()):
        folder, name = split_address(source)
        stats = [found for found in [folder.stat(name)] if found]
    elif source.path is not None and not source.path.is_dir():
        raise DataError(f"{source} is no folder: --source names a folder of {what}, or one such file")
    else:
        folder = source
        stats = [one for one in source.walk() if not any(part.startswith(".") for part in one.name.split("/"))]
    wanted = {ending: kind for ending, kind in endings.items() if only is None or kind in only}
    files = [
        SourceFile(str(folder), one.name, kind, one.bytes, one.version)
        for one in stats
        if (kind := _kind_of(one.name, wanted))
    ]
    patterns = " or ".join(f"*{ending}" for ending in wanted)
    if not files:
        raise DataError(f"{source} holds no file {patterns}")
    if len(files) < len(stats):
        log.info("left out %d files of %s that are not %s", len(stats) - len(files), source, patterns)
    return sorted(files, key=lambda file: file.name)


def split_address(file: Folder) -> tuple[Folder, str]:
    """Return the folder and the name of what was opened as a folder and is a file."""
    if file.path is not None:
        return open_folder(file.path.parent), file.path.name
    address, _, name = str(file).rpartition("/")
    return open_folder(address), name


def digest_of(files: Sequence[SourceFile[KindT]]) -> str:
    """Return a digest that changes when a file is added, removed, renamed or changed."""
    content = "\n".join(f"{file.name}\0{file.bytes}\0{file.version}" for file in files)
    return hashlib.sha256(content.encode()).hexdigest()


def _kind_of(name: str, endings: Mapping[str, KindT]) -> KindT | None:
    return endings.get(PurePosixPath(name).suffix.lower())
