"""What an event must not hold, and energies and times that are in another unit.

Suffixes: e event, y row, x column, c channel, h hit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hepml_core.ecal.event_records import CLASSES
from hepml_core.ecal.hits import FloatArray, Hits
from hepml_core.errors import DataError

LATE = 2.5
"""No hit of the public sample is further from the trigger, in units of 25 ns: it is what a readout window holds."""
LATE_SHARE = 0.1
EARLY_RMS = 1e-5
"""Times this near to one another, in units of 25 ns, are no times of a calorimeter but seconds."""
LARGE_ENERGY = 20.0
"""Energy of an event in units of 50 GeV that no sample has; in GeV every event of 50 GeV does."""
LARGE_IN_GEV = 1e4


def find_bad(image_eyxc: FloatArray, label_e: NDArray[np.float64], eta_e: NDArray[np.floating]) -> dict[int, str]:
    """Return the numbers of the events that cannot be used, in order, with the reason.

    Args:
        image_eyxc: Energies and times, shape (events, rows, columns, 2).
        label_e: Labels as the file has them.
        eta_e: Pseudorapidities; NaN where it is not told.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total_e = image_eyxc.reshape(len(image_eyxc), -1).sum(1)  # not finite if a value is not
    suspect_e = ~np.isfinite(total_e) | (image_eyxc[..., 0] < 0).any((1, 2))
    suspect_e |= ~np.isin(label_e, (0, 1)) | np.isinf(eta_e)
    faults = (
        (number, _fault_of(image_eyxc[number], label_e[number], eta_e[number]))
        for number in np.flatnonzero(suspect_e).tolist()
    )
    return {number: fault for number, fault in faults if fault}


def _fault_of(image_yxc: FloatArray, label: float, eta: float) -> str:
    """Say what is wrong with an event; empty where nothing is."""
    energy_yx, time_yx = image_yxc[..., 0], image_yxc[..., 1]
    for wrong_yx, value_yx, what in (
        (~np.isfinite(energy_yx), energy_yx, "energy"),
        (~np.isfinite(time_yx), time_yx, "time"),
        (energy_yx < 0, energy_yx, "energy"),
    ):
        if wrong_yx.any():
            row, column = np.argwhere(wrong_yx)[0].tolist()
            kind = "a negative" if value_yx[row, column] < 0 and np.isfinite(value_yx[row, column]) else "no finite"
            return f"crystal ({row}, {column}) has {kind} {what}, {value_yx[row, column]}"
    if label not in (0, 1):
        return f"its label is {label:g}, neither 0 ({CLASSES[0]}) nor 1 ({CLASSES[1]})"
    return "its eta is infinite" if np.isinf(eta) else ""


def check_units(hits: Hits, where: str, *, energy_scale: float, time_scale: float) -> None:
    """Refuse what no calorimeter measures in units of 50 GeV and 25 ns.

    Args:
        hits: Hits of some events, before any cut.
        where: Names them in messages.
        energy_scale: Factor that their energies were brought to these units with.
        time_scale: Factor of their times.

    Raises:
        DataError: Energies or times look like those of another unit; the message says which factor would be right.
    """
    if not len(hits.energy_h):
        return
    keep = "check_units=false takes them as they are"
    share = float(np.mean(np.abs(hits.time_h) > LATE))
    rms = float(np.sqrt(np.mean(hits.time_h.astype(np.float64) ** 2)))
    if share > LATE_SHARE:
        raise DataError(
            f"{where}: {share:.0%} of the hits are more than {LATE} units of 25 ns from the trigger (rms {rms:.3g}): "
            f"times seem to be in ns, for which time_scale={0.04 * time_scale:g} is the factor; {keep}"
        )
    if 0 < rms < EARLY_RMS:
        raise DataError(
            f"{where}: the times of hits have an rms of {rms:.3g} units of 25 ns: they seem to be in seconds, for which "
            f"time_scale={4e7 * time_scale:g} is the factor; {keep}"
        )
    energy_e = np.bincount(hits.event_h, hits.energy_h, minlength=len(hits))
    median = float(np.median(energy_e[np.diff(hits.first_e) > 0]))
    if median > LARGE_ENERGY:
        unit, factor = ("GeV", 0.02) if median < LARGE_IN_GEV else ("MeV", 2e-5)
        raise DataError(
            f"{where}: the median energy of an event is {median:.3g} units of 50 GeV: energies seem to be in {unit}, for "
            f"which energy_scale={factor * energy_scale:g} is the factor; {keep}"
        )
