"""Quality cuts of the original studies (HEPAutoencoders), which remove noise and what is no jet.

Suffixes: e event, n jet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import SettingError
from hepml_core.jets.events import Events

BoolArray = NDArray[np.bool_]
Values = Mapping[str, NDArray[Any]]


class Cut(NamedTuple):
    """A condition that a jet must meet, on variables in the units of ``variables``."""

    text: str
    needs: tuple[str, ...]
    keeps: Callable[[Values], BoolArray]


def apply_cuts(events: Events, name: Literal["none", "data", "mc", "four_vector"]) -> tuple[Events, dict[str, int]]:
    """Keep the jets that meet all cuts of a set; events stay, if need be without jets.

    The cuts of simulation judge the two jets with the highest pt of an event together: both are kept or none. A value that
    is not a number meets no limit.

    Args:
        events: Events with the variables that the cuts need.
        name: A key of ``CUTS``.

    Returns:
        The events with the jets that are left, and the number of jets that each cut removed: a jet counts for the first
        cut, in the order of the set, that it or its partner misses.

    Raises:
        SettingError: Variables that the cuts need are missing; all of them are named.
    """
    cuts = CUTS[name]
    missing = sorted({need for cut in cuts for need in cut.needs} - events.values.keys())
    if missing:
        raise SettingError(
            f"the cuts {name!r} need {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not read: "
            "add to variables, or choose other cuts"
        )
    keep_n = np.ones(len(events.object_n), bool)
    pair_xe = _leading_pairs(events) if name == "mc" else None
    removed = {}
    for cut in cuts:
        misses_n = ~cut.keeps(events.values)
        if pair_xe is not None:
            misses_n[pair_xe] |= misses_n[pair_xe].any(axis=0)
        removed[cut.text] = int((keep_n & misses_n).sum())
        keep_n &= ~misses_n
    return (events if keep_n.all() else events.select_objects(keep_n)), removed


def _leading_pairs(events: Events) -> NDArray[np.int64]:
    """Return the indices of the two hardest jets of each event that has two (2, event)."""
    order_n = np.lexsort((-events.values["pt"], events.event_n))
    first_e = (np.cumsum(events.count_e) - events.count_e)[events.count_e >= 2]
    return np.stack([order_n[first_e], order_n[first_e + 1]])


def _below(variable: str, limit: float) -> Cut:
    return Cut(f"{variable} < {limit:g}", (variable,), lambda values: values[variable] < limit)


def _above(variable: str, limit: float) -> Cut:
    return Cut(f"{variable} > {limit:g}", (variable,), lambda values: values[variable] > limit)


def _within(variable: str, limit: float) -> Cut:
    return Cut(f"|{variable}| < {limit:g}", (variable,), lambda values: np.abs(values[variable]) < limit)


_VETOES = (
    Cut(
        "not (|EMFrac| < 0.05 and |eta| >= 2)",
        ("EMFrac", "eta"),
        lambda values: ~((np.abs(values["EMFrac"]) < 0.05) & (np.abs(values["eta"]) >= 2)),
    ),
    # AverageLArQF is a 16-bit number, so that its limit hardly ever matters; the original has it so.
    Cut(
        "not (AverageLArQF > 0.8 and EMFrac > 0.95 and LArQuality > 0.8 and |eta| < 2.8)",
        ("AverageLArQF", "EMFrac", "LArQuality", "eta"),
        lambda values: (
            ~(
                (values["AverageLArQF"] > 0.8)
                & (values["EMFrac"] > 0.95)
                & (values["LArQuality"] > 0.8)
                & (np.abs(values["eta"]) < 2.8)
            )
        ),
    ),
    Cut(
        "not (AverageLArQF > 0.8 and |HECQuality| > 0.5 and |HECFrac| > 0.5)",
        ("AverageLArQF", "HECQuality", "HECFrac"),
        lambda values: (
            ~((values["AverageLArQF"] > 0.8) & (np.abs(values["HECQuality"]) > 0.5) & (np.abs(values["HECFrac"]) > 0.5))
        ),
    ),
)

CUTS: dict[str, tuple[Cut, ...]] = {
    "none": (),
    "data": (
        _within("EMFrac", 5),
        *_VETOES,
        _within("NegativeE", 300),
        _above("OotFracClusters10", -0.1),
        _above("OotFracClusters5", -0.1),
        _within("Width", 5),
        Cut("Width != -1", ("Width",), lambda values: values["Width"] != -1),
        _within("WidthPhi", 5),
        _within("Timing", 125),
        _below("LArQuality", 4),
        _within("HECQuality", 2.5),
    ),
    "mc": (
        _within("EMFrac", 2),
        *_VETOES,
        _within("NegativeE", 60),
        _within("Width", 100),
        _within("WidthPhi", 100),
        _within("Timing", 120),
        _below("LArQuality", 2),
        _above("HECQuality", -1e5),
        Cut("m > 0.001", ("m", "pt"), lambda values: values["m"] > 1e-3),
    ),
    "four_vector": (Cut("|m| > 1e-9", ("m",), lambda values: np.abs(values["m"]) > 1e-9),),
}
"""Sets of cuts: of data and of simulation with the variables of ``atlas27``, and of four-vectors; energies in GeV."""
