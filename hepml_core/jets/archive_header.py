"""The header of an archive: what the ROOT file was, and how its jets are coded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepml_core.errors import DataError
from hepml_core.jets.bounds import Bound
from hepml_core.jets.variables import VARIABLES

CODECS = ("columns", "autoencoder", "density")


@dataclass(frozen=True, slots=True)
class StoredVariable:
    """A variable in an archive.

    Attributes:
        branch: Its branch in the ROOT file.
        dtype: Type of its values there.
        factor: By what to multiply those for the unit of ``variables``.
        bound: Largest error; None where none is promised.
    """

    branch: str
    dtype: np.dtype[Any]
    factor: float
    bound: Bound | None

    def __post_init__(self) -> None:
        if self.dtype.kind not in "iufb":
            raise ValueError(f"{self.branch} of type {self.dtype}")
        if not 0 < self.factor < math.inf or not (self.bound is None or 0 <= self.bound.size < math.inf):
            raise ValueError(f"{self.branch} with the factor {self.factor} and the bound {self.bound}")


@dataclass(frozen=True, slots=True)
class Header:
    """What an archive says of itself.

    Attributes:
        program: Which program wrote it.
        source: Name of the ROOT file.
        tree: Name of its tree.
        flat: Whether a row of the tree was a jet.
        event_branches: Type of the branches of events' and, where there are some, runs' numbers, in this order.
        codec: How the values are coded.
        model: Digest of the model; empty where there is none.
        statistics: Digest of the model's statistics; empty where there are none.
        latent_step: Step of an autoencoder's latent variables; 0 where every block has one of its own.
        variables: The variables in the order in which they are coded.
    """

    program: str
    source: str
    tree: str
    flat: bool
    event_branches: Mapping[str, np.dtype[Any]]
    codec: str
    model: str
    statistics: str
    latent_step: float
    variables: Mapping[str, StoredVariable]

    @property
    def factors(self) -> dict[str, float]:
        """Factor of each variable."""
        return {name: one.factor for name, one in self.variables.items()}

    @property
    def dtypes(self) -> dict[str, np.dtype[Any]]:
        """Type of each variable in the ROOT file."""
        return {name: one.dtype for name, one in self.variables.items()}

    @property
    def bounds(self) -> dict[str, Bound]:
        """Bound of each variable that has one."""
        return {name: one.bound for name, one in self.variables.items() if one.bound}

    def to_plain(self) -> dict[str, Any]:
        """Return the header as JSON can hold it."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return plain | {
            "event_branches": [[branch, str(kind)] for branch, kind in self.event_branches.items()],
            "variables": [
                {
                    "name": name,
                    "branch": one.branch,
                    "dtype": str(one.dtype),
                    "factor": one.factor,
                    "bound": dataclasses.asdict(one.bound) if one.bound else None,
                }
                for name, one in self.variables.items()
            ],
        }

    @classmethod
    def from_plain(cls, plain: Any, where: str) -> Header:
        """Return the header of an archive.

        Raises:
            DataError: It is none that ``compress`` of this version writes.
        """
        try:
            found = {field.name: plain[field.name] for field in dataclasses.fields(cls)}
            variables = {one["name"]: _variable(one) for one in found["variables"]}
            branches = {str(branch): np.dtype(kind) for branch, kind in found["event_branches"]}
            header = cls(**(found | {"variables": variables, "event_branches": branches}))
            unknown = [f"the variable {name}" for name in variables if name not in VARIABLES]
            unknown += [f"{branch} of type {kind}" for branch, kind in branches.items() if kind.kind not in "iu"]
            unknown += [] if header.codec in CODECS else [f"the codec {header.codec}"]
            if unknown:
                raise ValueError(unknown[0])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where} is damaged or of another version: its header has or lacks {error}") from None
        return header


def _variable(plain: Mapping[str, Any]) -> StoredVariable:
    bound = None if plain["bound"] is None else Bound(**plain["bound"])
    return StoredVariable(str(plain["branch"]), np.dtype(plain["dtype"]), float(plain["factor"]), bound)
