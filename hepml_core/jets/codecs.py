"""Codecs: how the values of a block of events become bytes within their bounds.

All of them give back every value within its bound; what a codec cannot keep so, it stores as it is. Suffixes: e event,
n jet, f variable, z latent variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.jets.grids import Grid
from hepml_core.jets.packing import pack, unpack

if TYPE_CHECKING:
    from hepml_core.jets.inference import Reconstructor

IntArray = NDArray[np.int64]
Columns = Mapping[str, NDArray[Any]]
DTypes = Mapping[str, np.dtype[Any]]

UNSURE = 1e-3
"""Distance from the middle between two indices at which another machine might round a reconstruction otherwise."""


class Codec(Protocol):
    """Turns the values of a block into parts of bytes, and back."""

    def encode(self, values: Columns, count_e: IntArray) -> list[bytes]:
        """Return the values, by variable and in the order of ``count_e``'s events, as bytes."""

    def decode(self, parts: Sequence[bytes], count_e: IntArray, dtypes: DTypes) -> dict[str, NDArray[Any]]:
        """Return the values again, each within its bound.

        Raises:
            DataError: The content is damaged.
        """


@dataclass(frozen=True)
class ColumnCodec:
    """Each variable by itself: rounded to its grid and packed; without a bound packed as it is.

    Attributes:
        grids: Grid of each variable; None keeps all values exactly.
    """

    grids: Mapping[str, Grid | None]

    def encode(self, values: Columns, count_e: IntArray) -> list[bytes]:  # noqa: ARG002
        """See ``Codec``: two parts a variable, indices and exceptions."""
        parts = []
        for name, grid in self.grids.items():
            if grid is None:
                parts += [pack(values[name]), b""]
                continue
            index_n, good_n = grid.to_index(values[name])
            good_n &= grid.holds(values[name], grid.to_value(index_n, values[name].dtype))
            index_n[~good_n] = 0
            parts += [pack(index_n), pack_exceptions(values[name], ~good_n)]
        return parts

    def decode(self, parts: Sequence[bytes], count_e: IntArray, dtypes: DTypes) -> dict[str, NDArray[Any]]:
        """See ``Codec``."""
        count = int(count_e.sum())
        values = {}
        for number, (name, grid) in enumerate(self.grids.items()):
            content, exceptions = parts[2 * number : 2 * number + 2]
            if grid is None:
                values[name] = unpack(content, dtypes[name], count)
            else:
                values[name] = grid.to_value(unpack(content, np.int64, count), dtypes[name])
                unpack_exceptions(exceptions, values[name])
        return values


@dataclass(frozen=True)
class AutoencoderCodec:
    """Latent variables, rounded, and what their reconstruction lacks to keep the bounds.

    Attributes:
        reconstructor: The autoencoder.
        grids: Grid of each variable; None keeps all values exactly. Empty: no corrections, no bounds.
        factors: From the units of the values to those of the variables.
        latent_step: Step of the latent variables, in units of their spread in the block.
    """

    reconstructor: Reconstructor
    grids: Mapping[str, Grid | None]
    factors: Mapping[str, float]
    latent_step: float

    def encode(self, values: Columns, count_e: IntArray) -> list[bytes]:  # noqa: ARG002
        """See ``Codec``: steps, each latent variable, then corrections and exceptions of each variable."""
        value_nf = self._rows(values)
        latent_nz = self.reconstructor.encode(value_nf)
        step_z = np.maximum(latent_nz.std(axis=0, dtype=np.float64) * self.latent_step, 1e-9).astype(np.float32)
        index_nz = np.rint(latent_nz / step_z).astype(np.int64)
        parts = [step_z.astype("<f4").tobytes(), *(pack(index_n) for index_n in index_nz.T.copy())]
        output_nf = self.reconstructor.decode((index_nz * step_z).astype(np.float32))
        for name, grid in self.grids.items():
            if grid is None:
                parts += [pack(values[name]), b""]
                continue
            near_n, unsure_n = self._nearest(name, grid, output_nf)
            index_n, good_n = grid.to_index(values[name])
            good_n &= grid.holds(values[name], grid.to_value(index_n, values[name].dtype)) & ~unsure_n
            parts += [pack(np.where(good_n, index_n - near_n, 0)), pack_exceptions(values[name], ~good_n)]
        return parts

    def decode(self, parts: Sequence[bytes], count_e: IntArray, dtypes: DTypes) -> dict[str, NDArray[Any]]:
        """See ``Codec``."""
        count, latents = int(count_e.sum()), self.reconstructor.network.latent
        step_z = np.frombuffer(parts[0], "<f4")
        index_nz = np.stack([unpack(part, np.int64, count) for part in parts[1 : 1 + latents]], axis=1)
        output_nf = self.reconstructor.decode((index_nz * step_z).astype(np.float32))
        values: dict[str, NDArray[Any]] = {}
        for number, name in enumerate(self.reconstructor.variables):
            grid = self.grids.get(name)
            content, exceptions = parts[1 + latents + 2 * number :][:2] if self.grids else (b"", b"")
            if not self.grids:
                own_n = output_nf[:, number] / self.factors[name]
                values[name] = (np.rint(own_n) if dtypes[name].kind in "iu" else own_n).astype(dtypes[name])
            elif grid is None:
                values[name] = unpack(content, dtypes[name], count)
            else:
                near_n, _ = self._nearest(name, grid, output_nf)
                values[name] = grid.to_value(near_n + unpack(content, np.int64, count), dtypes[name])
                unpack_exceptions(exceptions, values[name])
        return values

    def _rows(self, values: Columns) -> NDArray[np.float32]:
        """Return rows in the variables' units; those that the transforms cannot take are replaced by ordinary ones."""
        names = self.reconstructor.variables
        value_nf = np.stack([values[name] * self.factors[name] for name in names], axis=1).astype(np.float32)
        fits_n = self.reconstructor.fits(value_nf)
        if not fits_n.any():
            raise DataError("no jet of a block is within the domain of the model's transforms: are its units right?")
        value_nf[~fits_n] = value_nf[np.argmax(fits_n)]
        return value_nf

    def _nearest(self, name: str, grid: Grid, output_nf: NDArray[np.float32]) -> tuple[IntArray, NDArray[np.bool_]]:
        """Return the index nearest to each reconstruction, and whether another machine might find another one."""
        own_n = output_nf[:, self.reconstructor.variables.index(name)].astype(np.float64)
        inner = Grid(grid.name, grid.bound)
        index_n, has_n = inner.to_index(own_n)
        with np.errstate(divide="ignore", invalid="ignore"):
            place_n = (np.log(own_n) if grid.bound.relative and grid.bound.size else own_n) / inner.step
            unsure_n = np.abs(place_n - np.floor(place_n) - 0.5) < UNSURE
        # A prediction that has no index, such as a negative mass, says nothing.
        usable_n = has_n & (index_n > -(1 << 19))
        return np.where(usable_n, index_n, 0), np.where(usable_n, unsure_n, False)


def pack_exceptions(value_n: NDArray[Any], which_n: NDArray[np.bool_]) -> bytes:
    """Return chosen values with their places; nothing where there are none."""
    place_n = np.flatnonzero(which_n)
    if not len(place_n):
        return b""
    places, values = pack(np.diff(place_n, prepend=0)), pack(value_n[place_n])
    return np.array([len(place_n), len(places)], "<u4").tobytes() + places + values


def unpack_exceptions(content: bytes, value_n: NDArray[Any]) -> None:
    """Put the values of ``pack_exceptions`` back into their places.

    Raises:
        DataError: The content is damaged.
    """
    if not content:
        return
    count, cut = (int(number) for number in np.frombuffer(content[:8].ljust(8, b"\0"), "<u4"))
    place_n = np.cumsum(unpack(content[8 : 8 + cut], np.int64, count))
    if len(place_n) and not 0 <= place_n.min() <= place_n.max() < len(value_n):
        raise DataError("packed exceptions are damaged: a place is beyond the last value")
    value_n[place_n] = unpack(content[8 + cut :], value_n.dtype, count)
