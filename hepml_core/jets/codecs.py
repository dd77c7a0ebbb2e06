"""Codecs: how the values of a block of events become bytes within their bounds.

All of them give back every value within its bound; what a codec cannot keep so, it stores as it is. Suffixes: e event,
n jet, f variable, z latent variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.jets.grids import ZERO, Grid, to_type
from hepml_core.jets.neighbours import is_later
from hepml_core.jets.packing import pack, pack_indices, unpack, unpack_indices
from hepml_core.jets.relations import coding_order, first_guess, index_of, residuals

if TYPE_CHECKING:
    from hepml_core.jets.inference import Reconstructor

IntArray = NDArray[np.int64]
Columns = Mapping[str, NDArray[Any]]
DTypes = Mapping[str, np.dtype[Any]]

VALUES_IN_CACHE = 1 << 15
"""Values that are rounded at once: arrays of so few stay in the processor's cache, and need no new memory."""
NOISE = 3e-6
"""By how much reconstructions differ between machines, of the value and of the spread of its variable."""


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
    """Each variable rounded to its grid, less what those before it tell of it, and packed by ``pack_indices``.

    A variable without a bound is packed as it is.

    Attributes:
        grids: Grid of each variable; None keeps all values exactly.
    """

    grids: Mapping[str, Grid | None]

    def encode(self, values: Columns, count_e: IntArray) -> list[bytes]:
        """See ``Codec``: two parts a variable, residual indices and exceptions."""
        packed = {name: [pack(values[name]), b""] for name, grid in self.grids.items() if grid is None}
        later_n = is_later(count_e)
        residual, is_bad = self._residuals(values, len(later_n))
        for name in self._bounded:
            packed[name] = [pack_indices(residual[name], later_n), pack_exceptions(values[name], is_bad[name])]
        return [part for name in self.grids for part in packed[name]]

    def decode(self, parts: Sequence[bytes], count_e: IntArray, dtypes: DTypes) -> dict[str, NDArray[Any]]:
        """See ``Codec``."""
        later_n = is_later(count_e)
        count = len(later_n)
        packed = dict(zip(self.grids, zip(parts[::2], parts[1::2], strict=True), strict=True))
        values = {name: unpack(packed[name][0], dtypes[name], count) for name, grid in self.grids.items() if not grid}
        known: dict[str, IntArray] = {}
        for name in coding_order(list(self._bounded)):
            grid, (content, exceptions) = self._bounded[name], packed[name]
            guess = first_guess(name, self._bounded, known)
            known[name] = index_of(name, grid, unpack_indices(content, later_n), guess)
            values[name] = grid.to_value(known[name], dtypes[name])
            known[name][unpack_exceptions(exceptions, values[name])] = 0
        return {name: values[name] for name in self.grids}

    def _residuals(self, values: Columns, count: int) -> tuple[dict[str, IntArray], dict[str, NDArray[np.bool_]]]:
        """Return the residual indices of the bounded variables, and which values cannot be had from them."""
        residual = {name: np.empty(count, np.int64) for name in self._bounded}
        is_bad = {name: np.empty(count, np.bool_) for name in self._bounded}
        for start in range(0, count, VALUES_IN_CACHE):
            some = slice(start, min(start + VALUES_IN_CACHE, count))
            given = {name: values[name][some] for name in self._bounded}
            known: dict[str, IntArray] = {}
            for name, residual_n, index_n, good_n in residuals(self._bounded, given, known):
                is_bad[name][some] = is_bad_n = ~good_n
                if is_bad_n.any():
                    residual_n[is_bad_n] = index_n[is_bad_n] = 0
                residual[name][some], known[name] = residual_n, index_n
        return residual, is_bad

    @cached_property
    def _bounded(self) -> dict[str, Grid]:
        return {name: grid for name, grid in self.grids.items() if grid is not None}


LATENT_STEPS = (1e-3, 3e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)
"""Steps to choose from: fine ones leave less to correct, coarse ones take fewer bytes themselves."""
ROWS_TRIED = 2048
"""Rows of a block that each of them is tried on."""


@dataclass(frozen=True)
class AutoencoderCodec:
    """Latent variables, rounded, and what their reconstruction lacks to keep the bounds.

    Attributes:
        reconstructor: The autoencoder.
        grids: Grid of each variable; None keeps all values exactly. Empty: no corrections, no bounds.
        factors: From the units of the values to those of the variables.
        latent_step: Step of the latent variables, in units of their spread in the block; 0 takes the best of LATENT_STEPS.
    """

    reconstructor: Reconstructor
    grids: Mapping[str, Grid | None]
    factors: Mapping[str, float]
    latent_step: float

    def encode(self, values: Columns, count_e: IntArray) -> list[bytes]:
        """See ``Codec``: steps, latent variables, corrections and exceptions of each variable, a checksum."""
        later_n = is_later(count_e)
        latent_nz, fits_n = self._latent(values)
        step = self.latent_step or self._best_step(values, latent_nz, fits_n, later_n)
        return self._code(values, latent_nz, fits_n, later_n, step)

    def _best_step(
        self, values: Columns, latent_nz: NDArray[np.float32], fits_n: NDArray[np.bool_], later_n: NDArray[np.bool_]
    ) -> float:
        """Return the step with which the first rows take the fewest bytes."""
        some = slice(0, ROWS_TRIED)
        few = {name: value_n[some] for name, value_n in values.items()}

        def size(step: float) -> int:
            return sum(map(len, self._code(few, latent_nz[some], fits_n[some], later_n[some], step)))

        return min(LATENT_STEPS, key=size)

    def _code(
        self,
        values: Columns,
        latent_nz: NDArray[np.float32],
        fits_n: NDArray[np.bool_],
        later_n: NDArray[np.bool_],
        step: float,
    ) -> list[bytes]:
        index_nz, step_z = _round(latent_nz, step)
        parts = [step_z.tobytes(), *(pack_indices(index_n, later_n) for index_n in index_nz.T.copy())]
        output_nf = self.reconstructor.decode((index_nz * step_z).astype(np.float32))
        indices: list[IntArray] = []
        for number, name in enumerate(self.reconstructor.variables):
            grid = self.grids.get(name)
            if not self.grids:
                parts += [b"", pack_exceptions(values[name], ~fits_n)]
            elif grid is None:
                parts += [pack(values[name]), b""]
            else:
                index_n, good_n = grid.to_held_index(values[name])
                good_n &= ~_unsure(grid, output_nf[:, number])
                correction_n = index_n - _nearest(grid, output_nf[:, number])
                correction_n[~good_n] = 0
                parts += [pack_indices(correction_n, later_n), pack_exceptions(values[name], ~good_n)]
                indices.append(index_n[good_n])
        return [*parts, _checksum(indices)]

    def decode(self, parts: Sequence[bytes], count_e: IntArray, dtypes: DTypes) -> dict[str, NDArray[Any]]:
        """See ``Codec``."""
        later_n, latents = is_later(count_e), self.reconstructor.network.latent
        step_z = np.frombuffer(parts[0], "<f4")
        latent_nz = np.empty((len(later_n), latents), np.float32)
        for number, part in enumerate(parts[1 : 1 + latents]):
            latent_nz[:, number] = unpack_indices(part, later_n) * step_z[number]
        output_nf = self.reconstructor.decode(latent_nz)
        values: dict[str, NDArray[Any]] = {}
        indices: list[IntArray] = []
        for number, name in enumerate(self.reconstructor.variables):
            grid = self.grids.get(name)
            content, exceptions = parts[1 + latents + 2 * number :][:2]
            if not self.grids:
                values[name] = to_type(output_nf[:, number] / self.factors[name], dtypes[name])
                unpack_exceptions(exceptions, values[name])
            elif grid is None:
                values[name] = unpack(content, dtypes[name], len(later_n))
            else:
                index_n = _nearest(grid, output_nf[:, number]) + unpack_indices(content, later_n)
                values[name] = grid.to_value(index_n, dtypes[name])
                place_n = unpack_exceptions(exceptions, values[name])
                indices.append(np.delete(index_n, place_n) if len(place_n) else index_n)
        if parts[-1] != _checksum(indices):
            raise DataError(
                "the model reconstructs other values here than where they were compressed, so the bounds would not hold: "
                "decompress on the same kind of device (device=cpu or device=gpu)"
            )
        return values

    def _latent(self, values: Columns) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the latent variables, and which rows the model can take; others have those of an ordinary row."""
        names = self.reconstructor.variables
        with np.errstate(over="ignore"):
            value_nf = np.stack([values[name] * self.factors[name] for name in names], axis=1).astype(np.float32)
        fits_n = self.reconstructor.fits(value_nf)
        if not fits_n.any():
            return np.zeros((len(value_nf), self.reconstructor.network.latent), np.float32), fits_n
        value_nf[~fits_n] = value_nf[np.argmax(fits_n)]
        latent_nz = self.reconstructor.encode(value_nf)
        finite_n = np.isfinite(latent_nz).all(axis=1)
        latent_nz[~finite_n] = 0
        return latent_nz, fits_n & finite_n


def _round(latent_nz: NDArray[np.float32], latent_step: float) -> tuple[IntArray, NDArray[np.float32]]:
    """Return latent variables as indices, and the step of each variable."""
    spread_z, most_z = latent_nz.std(axis=0, dtype=np.float64), np.abs(latent_nz).max(axis=0)
    step_z = np.maximum(np.maximum(spread_z * latent_step, 1e-9 * most_z), 1e-9).astype("<f4")
    return np.rint(latent_nz / step_z).astype(np.int64), step_z


def _nearest(grid: Grid, output_n: NDArray[np.floating]) -> IntArray:
    """Return the index nearest to each reconstruction; 0 for one that has none, such as a negative mass."""
    index_n, has_n = Grid(grid.name, grid.bound).to_index(output_n)
    if has_n.all() and index_n.min(initial=0) > ZERO // 2:
        return index_n
    return np.where(has_n & (index_n > ZERO // 2), index_n, 0)


def _unsure(grid: Grid, output_n: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell where another machine, whose reconstructions differ by noise, might find another index."""
    own_n = output_n.astype(np.float64)
    spread = own_n[np.isfinite(own_n)].std() if np.isfinite(own_n).any() else 0.0
    noise_n = NOISE * (np.abs(own_n) + spread)
    with np.errstate(invalid="ignore"):
        return np.asarray(_nearest(grid, own_n - noise_n) != _nearest(grid, own_n + noise_n))


def _checksum(indices: Sequence[IntArray]) -> bytes:
    """Return a checksum of the indices of all variables, as both sides must find them; nothing without bounds."""
    found = 0
    for index_n in indices:
        found = crc32c(index_n.astype("<i8", copy=False).data, found)
    return found.to_bytes(4, "little") if indices else b""


def pack_exceptions(value_n: NDArray[Any], which_n: NDArray[np.bool_]) -> bytes:
    """Return chosen values with their places; nothing where there are none."""
    place_n = np.flatnonzero(which_n)
    if not len(place_n):
        return b""
    places, values = pack(np.diff(place_n, prepend=0)), pack(value_n[place_n])
    return np.array([len(place_n), len(places)], "<u4").tobytes() + places + values


def unpack_exceptions(content: bytes, value_n: NDArray[Any]) -> IntArray:
    """Put the values of ``pack_exceptions`` back into their places, and return these.

    Raises:
        DataError: The content is damaged.
    """
    if not content:
        return np.empty(0, np.int64)
    count, cut = (int(number) for number in np.frombuffer(content[:8].ljust(8, b"\0"), "<u4"))
    place_n = np.cumsum(unpack(content[8 : 8 + cut], np.int64, count))
    if len(place_n) and not 0 <= place_n.min() <= place_n.max() < len(value_n):
        raise DataError("packed exceptions are damaged: a place is beyond the last value")
    value_n[place_n] = unpack(content[8 + cut :], value_n.dtype, count)
    return place_n
