"""Normalization of rows of variables, and its exact inverse.

Everything is computed in double precision. A float32 holds a scaled value y to |y| 2**-24, which is |y| 2**-24 |dx/dy| of
the value x. That stays below 1e-6 of x

- for a line, where |x| is above a 15th of its offset (always, if that is 0),
- for a logarithm, while its argument is within a factor of 10**7 of that which scales to 0; of TLA's and the truncation
  study's m, whose zero is far from m = 0, above 0.002 GeV,
- for quantiles, where their sample is dense (see ``quantiles``).

Elsewhere float32 cannot do better; with ``dtype=np.float64`` the scaled values can.

In rows of whole events (columns such as ``pt_3``) the value 0 means that there is no object. It scales to what 0 scales to,
or 1 (GeV) where 0 has no logarithm, and that one number scales back to exactly 0; an object that would scale to the same
number is moved to the next one, so that it does not vanish. Columns ``is_…`` pass as they are.

Suffixes: n row, f column, b row of a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hepml_core.errors import DataError
from hepml_core.jets.quantiles import Quantile
from hepml_core.jets.transforms import Line, Log
from hepml_core.jets.variables import variable_of

ROWS_PER_BLOCK = 1 << 14
"""Rows of a column that are computed at once: their doubles stay in the cache."""

Transform = Line | Log | Quantile
KINDS: Mapping[str, Callable[..., Transform]] = {
    "line": lambda **plain: Line(**plain),
    "log": lambda **plain: Log(**plain),
    "quantile": lambda **plain: Quantile.from_json(plain),
}


@dataclass(frozen=True, slots=True)
class Scaler:
    """Normalization of all columns of a table.

    Attributes:
        columns: Their names, in order.
        transforms: The transform of each.
    """

    columns: tuple[str, ...]
    transforms: tuple[Transform, ...]

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.transforms):
            raise ValueError(f"{len(self.columns)} columns have {len(self.transforms)} transforms")

    def forward(
        self,
        value_nf: NDArray[Any],
        *,
        dtype: DTypeLike = np.float32,
        out: NDArray[Any] | None = None,
        first_row: int = 0,
    ) -> NDArray[Any]:
        """Scale rows (n, f), in the units of ``variables``.

        Args:
            value_nf: Rows with the columns of this scaler.
            dtype: Of the result, where ``out`` is not given.
            out: Where to write; may be ``value_nf``.
            first_row: Number of the first row, for messages.

        Raises:
            DataError: A value is not finite, or outside its transform's domain; the message names variable and row.
        """
        made_nf = self._prepare(value_nf, dtype, out)
        for start, number, given_b, made_b in self._blocks(value_nf, made_nf):
            self._forward_column(number, given_b, made_b, first_row + start)
        return made_nf

    def inverse(
        self, scaled_nf: NDArray[Any], *, dtype: DTypeLike = np.float32, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return rows (n, f) of scaled rows; see ``forward``. What is too large for the type becomes infinite."""
        made_nf = self._prepare(scaled_nf, dtype, out)
        for _, number, given_b, made_b in self._blocks(scaled_nf, made_nf):
            self._inverse_column(number, given_b, made_b)
        return made_nf

    def fits(self, value_nf: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which rows (n, f) ``forward`` takes."""
        columns = zip(self.transforms, value_nf.T.astype(np.float64), strict=True)
        fits_fn = [np.isfinite(transform.forward(value_n)) for transform, value_n in columns]
        return np.asarray(np.all(fits_fn, axis=0), bool)

    def to_json(self) -> dict[str, Any]:
        """Return all parameters as plain JSON values."""
        kinds = {Line: "line", Log: "log", Quantile: "quantile"}
        parameters = [one.to_json() if isinstance(one, Quantile) else asdict(one) for one in self.transforms]
        described = [
            {"kind": kinds[type(one)], **plain} for one, plain in zip(self.transforms, parameters, strict=True)
        ]
        return dict(zip(self.columns, described, strict=True))

    @classmethod
    def from_json(cls, plain: Mapping[str, Mapping[str, Any]]) -> Scaler:
        """Build from what ``to_json`` returned.

        Raises:
            ValueError, KeyError, TypeError: It is something else.
        """
        made = []
        for parameters in plain.values():
            rest = dict(parameters)
            made.append(KINDS[rest.pop("kind")](**rest))
        return cls(tuple(plain), tuple(made))

    def _prepare(self, given_nf: NDArray[Any], dtype: DTypeLike, out: NDArray[Any] | None) -> NDArray[Any]:
        if given_nf.ndim != 2 or given_nf.shape[1] != len(self.columns):
            raise DataError(f"rows of {', '.join(self.columns)} are needed, got an array of shape {given_nf.shape}")
        return np.empty(given_nf.shape, dtype) if out is None else out

    def _blocks(
        self, given_nf: NDArray[Any], made_nf: NDArray[Any]
    ) -> Iterator[tuple[int, int, NDArray[Any], NDArray[Any]]]:
        """Yield row, column, and the same part of that column of both arrays."""
        for start in range(0, len(given_nf), ROWS_PER_BLOCK):
            block = slice(start, start + ROWS_PER_BLOCK)
            for number in range(len(self.columns)):
                yield start, number, given_nf[block, number], made_nf[block, number]

    def _forward_column(self, number: int, given_b: NDArray[Any], made_b: NDArray[Any], start: int) -> None:
        transform, value_b = self.transforms[number], given_b.astype(np.float64)
        padded = _is_padded(self.columns[number])
        present_b = value_b != 0
        if padded and _lacks_zero(transform):
            value_b[~present_b] = 1.0
        scaled_b = transform.forward(value_b)
        if not np.isfinite(scaled_b).all():
            row = int(np.argmin(np.isfinite(scaled_b)))
            self._refuse(number, float(value_b[row]), start + row)
        made_b[...] = scaled_b
        if padded:
            absent = _absent(transform)
            made_b[present_b & (made_b.astype(np.float32) == absent)] = np.nextafter(absent, np.float32(np.inf))
            made_b[~present_b] = absent

    def _inverse_column(self, number: int, given_b: NDArray[Any], made_b: NDArray[Any]) -> None:
        transform = self.transforms[number]
        absent_b = given_b.astype(np.float32) == _absent(transform) if _is_padded(self.columns[number]) else None
        with np.errstate(over="ignore"):
            made_b[...] = transform.inverse(given_b.astype(np.float64))
        if absent_b is not None:
            made_b[absent_b] = 0

    def _refuse(self, number: int, value: float, row: int) -> NoReturn:
        name, transform = self.columns[number], self.transforms[number]
        unit = "" if name.startswith("is_") else variable_of(name).unit
        wanted = "finite"
        remedy = "leave such events out in convert (on_bad_input=skip)"
        if isinstance(transform, Log) and math.isfinite(value):
            wanted = f"{transform.domain}{unit and ' ' + unit} to have a logarithm"
            remedy = "remove such jets in convert (cuts), or choose method=standard or quantile"
        raise DataError(f"{name} is {value:g}{unit and ' ' + unit} in row {row}, it must be {wanted}: {remedy}")


def _is_padded(column: str) -> bool:
    """Tell columns of whole events, where 0 means that there is no object."""
    return not column.startswith("is_") and variable_of(column).name != column


def _lacks_zero(transform: Transform) -> bool:
    return isinstance(transform, Log) and not transform.shift


def _absent(transform: Transform) -> np.float32:
    """Return the scaled value that stands for no object, a float32 for scaled values of every type."""
    stand_in = np.ones(1) if _lacks_zero(transform) else np.zeros(1)
    return np.float32(transform.forward(stand_in)[0])
