"""What the variables before one tell of it by geometry and kinematics: a first guess, to be taken off before coding.

In whole numbers wherever the grids allow; the energy alone needs floating-point numbers, and where those come so near
to the middle between two numbers that another machine might round otherwise, the value is marked as unsure.
Suffix n: value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.jets.grids import ZERO, Grid

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LIKE: dict[str, str] = {
    "m": "pt",
    "DetectorEta": "eta",
    "ActiveArea4vec_eta": "eta",
    "ActiveArea4vec_phi": "phi",
    "ActiveArea4vec_pt": "ActiveArea",
    "LeadingClusterPt": "pt",
    "WidthPhi": "Width",
    "OotFracClusters5": "OotFracClusters10",
}
"""Variables that are close, or proportional, to another one."""
UNSURE = 1e-4
"""Distance from the middle between two whole numbers, far above the differences between machines."""


@dataclass(frozen=True, slots=True)
class Guess:
    """First guesses: whole numbers, and whether another machine might find others."""

    index_n: IntArray
    unsure_n: BoolArray


def coding_order(variables: Sequence[str]) -> list[str]:
    """Return the variables in an order in which those that tell of others come first."""
    late = [name for name in variables if name in LIKE and LIKE[name] in variables]
    last = [name for name in variables if name == "E"]
    return [name for name in variables if name not in late and name not in last] + late + last


def first_guess(name: str, grids: Mapping[str, Grid], known: Mapping[str, IntArray]) -> Guess | None:
    """Return the first guess of a variable's indices from the indices of those that are known, if these tell of it."""
    told = {"pt", "eta"} <= known.keys() and not _logarithmic(grids["eta"])
    if name == "E" and told and _logarithmic(grids["E"], grids["pt"]):
        return _energy(grids, known)
    like = LIKE.get(name, "")
    if like not in known or _logarithmic(grids[name]) != _logarithmic(grids[like]):
        return None
    index_n = np.where(known[like] == ZERO, 0, known[like])
    ratio = grids[like].step / grids[name].step
    return Guess(index_n, np.zeros(len(index_n), bool)) if ratio == 1 else _rounded(index_n * ratio)


def residuals(
    grids: Mapping[str, Grid], values: Mapping[str, NDArray[Any]], known: Mapping[str, IntArray]
) -> Iterator[tuple[str, IntArray, IntArray, BoolArray]]:
    """Yield each variable in coding order: its indices less the guess from ``known``, the indices, and which are good.

    The first two may be one array. The caller puts the indices as the decoder will know them into ``known`` before it asks
    for the next variable.
    """
    for name in coding_order(list(grids)):
        grid = grids[name]
        index_n, good_n = grid.to_held_index(values[name])
        residual_n, guess = index_n, first_guess(name, grids, known)
        if guess:
            residual_n = index_n - guess.index_n
            if wrap_of(name, grid) or min(index_n.min(initial=0), residual_n.min(initial=0)) <= ZERO:
                # A zero has no logarithm to compare with the guess: it stays what it is, and gets a bin of its own.
                residual_n = np.where(index_n == ZERO, ZERO, _unwrapped(name, grid, residual_n))
                good_n &= index_of(name, grid, residual_n, guess) == index_n
            good_n &= ~guess.unsure_n
        yield name, residual_n, index_n, good_n


def index_of(name: str, grid: Grid, residual_n: IntArray, guess: Guess | None) -> IntArray:
    """Return the indices of what ``residuals`` yields."""
    if not guess:
        return residual_n
    return np.where(residual_n == ZERO, ZERO, _unwrapped(name, grid, guess.index_n + residual_n))


def _unwrapped(name: str, grid: Grid, index_n: IntArray) -> IntArray:
    wrap = wrap_of(name, grid)
    return wrap(index_n) if wrap else index_n


def wrap_of(name: str, grid: Grid) -> Callable[[IntArray], IntArray] | None:
    """Return a function that brings differences of an angle's indices to the nearest way round; None for other variables."""
    turn = round(2 * math.pi / grid.step)
    if name != "ActiveArea4vec_phi" or not grid.bound.size or grid.bound.relative or turn < 2:
        return None
    return lambda index_n: (index_n + turn // 2) % turn - turn // 2


def _energy(grids: Mapping[str, Grid], known: Mapping[str, IntArray]) -> Guess:
    """Guess E from pt, eta and, where it is known, m: E^2 = pt^2 cosh^2(eta) + m^2."""
    # In place, which takes half the time: the logarithm of cosh(eta), then of pt cosh(eta).
    eta_n = known["eta"] * grids["eta"].step
    np.abs(eta_n, out=eta_n)
    log_n = np.exp(-2 * eta_n)
    log_n += 1
    log_n /= 2
    np.log(log_n, out=log_n)
    log_n += eta_n
    log_n += known["pt"] * grids["pt"].step
    if "m" in known and _logarithmic(grids["m"]):
        mass_n = np.where(known["m"] == ZERO, -np.inf, known["m"] * grids["m"].step)
        log_n = np.logaddexp(2 * log_n, 2 * mass_n) / 2
    log_n /= grids["E"].step
    return _rounded(log_n)


def _rounded(scaled_n: NDArray[np.float64]) -> Guess:
    """Round numbers, which are lost."""
    scaled_n += 0.5
    floor_n = np.floor(scaled_n)
    scaled_n -= floor_n
    scaled_n -= 0.5
    np.abs(scaled_n, out=scaled_n)
    return Guess(floor_n.astype(np.int64), scaled_n > 0.5 - UNSURE)


def _logarithmic(*grids: Grid) -> bool:
    return all(grid.bound.size > 0 and grid.bound.relative for grid in grids)
