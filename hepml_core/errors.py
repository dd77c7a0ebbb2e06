"""Every error that hepml raises at its users.

::

    HepmlError              one clear sentence: what, where, and the nearest right thing
    ├── SettingError        a setting has a wrong type or value
    ├── UnknownNameError    a stage, domain, setting or class that does not exist
    ├── FolderError         a stage's folder is missing, torn, changed or of another stage
    ├── DataError           a file or record is damaged or not of the promised kind
    ├── StorageError        a disk or an object store refused
    ├── TrainingError       a fit cannot go on (for example, its loss is not finite)
    └── DependencyError     an optional package is not installed

Anything else that escapes is a bug of hepml.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class HepmlError(Exception):
    """An error that the user can act on; its text is the whole message."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors come home from worker processes as their text, whatever they were built from.
        return _rebuild, (type(self), str(self))


class SettingError(HepmlError):
    """A setting has a wrong type or value."""


class UnknownNameError(HepmlError):
    """A name that does not exist, with the nearest one that does."""

    def __init__(self, kind: str, name: str, available: Iterable[str], where: str = "") -> None:
        choices = sorted(available)
        spelled = {choice.lower(): choice for choice in choices}
        near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
        text = f"unknown {kind} {name!r}{where and ' ' + where}."
        if near:
            text += f" Did you mean {spelled[near[0]]!r}?"
        super().__init__(f"{text}\n  available: {', '.join(choices) or 'none'}")


class FolderError(HepmlError):
    """A stage's folder is missing, torn, changed or of another stage."""


class DataError(HepmlError):
    """A file or record is damaged or not of the promised kind."""


class StorageError(HepmlError):
    """A disk or an object store refused."""


class TrainingError(HepmlError):
    """A fit cannot go on."""


class DependencyError(HepmlError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}: pip install 'hepml[{extra}]'")


def _rebuild(kind: type[HepmlError], text: str) -> HepmlError:
    return kind.__new__(kind, text)
