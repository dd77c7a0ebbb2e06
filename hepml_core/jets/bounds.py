"""Largest errors that may be asked for, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hepml_core.errors import SettingError, UnknownNameError
from hepml_core.jets.variables import VARIABLES


@dataclass(frozen=True, slots=True)
class Bound:
    """Largest error of a variable: ``|out - in| <= size * |in|`` where it is relative, else ``|out - in| <= size``."""

    size: float
    """0 for none."""
    relative: bool

    def __str__(self) -> str:
        return f"{self.size:g} {'relative' if self.relative else 'absolute'}" if self.size else "exact"


def parse_bounds(bounds: tuple[str, ...]) -> dict[str, Bound]:
    """Read ``pt=1e-3 relative``, ``eta=1e-3`` or ``m=exact``.

    Raises:
        UnknownNameError: There is no such variable.
        SettingError: A bound is not written so, or is not above 0.
    """
    parsed = {}
    for text in bounds:
        found = re.fullmatch(r"\s*(\w+)\s*[=:]\s*(exact|[\d.eE+-]+)(?:\s+(relative|absolute))?\s*", text)
        try:
            size = 0.0 if not found or found[2] == "exact" else float(found[2])
        except ValueError:
            found = None
        if not found or not (found[2] == "exact" or 0 < size < 1e9):
            raise SettingError(f"a bound is written as pt=1e-3 relative, eta=1e-3 or m=exact, got {text!r}")
        if found[1] not in VARIABLES:
            raise UnknownNameError("variable", found[1], VARIABLES, "in bounds")
        relative = found[3] == "relative" if found[3] else VARIABLES[found[1]].residual == "relative"
        parsed[found[1]] = Bound(size, relative)
    return parsed


def bound_of(variable: str, bounds: Mapping[str, Bound]) -> Bound:
    """Return the bound of a variable: the asked one, or the variable's own, or none for whole numbers."""
    if variable in bounds:
        return bounds[variable]
    kind = VARIABLES[variable]
    return Bound(0.0 if kind.integer else kind.bound, kind.residual == "relative")
