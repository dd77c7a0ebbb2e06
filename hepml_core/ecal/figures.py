"""The figures of a report on electrons and photons.

Electrons (label 1) are the signal, photons the background. Suffixes: e event, c class, h hit, y row, x column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepml_core.ecal.config import EvaluateConfig
from hepml_core.ecal.event_records import CLASSES, Events
from hepml_core.ecal.hits import ENERGY_UNIT_GEV, TIME_UNIT_NS, FloatArray, Hits, IntArray
from hepml_core.metrics import AucSlice, Measured, auc_by_slice, confusion_matrix, roc_curve, working_points
from hepml_core.plots import (
    Shower,
    TimedHits,
    plot_auc_slices,
    plot_confusion,
    plot_mean_showers,
    plot_roc,
    plot_scores,
    plot_showers,
    plot_spacetime,
    plot_time_spectra,
)
from hepml_core.report import Cell, Report

LABEL = "test split"
SHOWERS_PER_CLASS = 4
SPACETIMES_PER_CLASS = 2
EFFICIENCIES = (0.5, 0.8, 0.95)
"""Parts of the electrons that the working points keep."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The test events with what the model says of them."""

    events: Events
    electron_e: NDArray[np.float64]
    """Probability of an electron."""
    files: Sequence[str]
    """Names of the source files."""

    @property
    def label_e(self) -> IntArray:
        """1 for electrons, 0 for photons."""
        return self.events.label_e

    @property
    def predicted_e(self) -> IntArray:
        """The more probable class."""
        return (self.electron_e > 0.5).astype(np.int64)

    @property
    def probability_ec(self) -> NDArray[np.float64]:
        """Probabilities of both classes."""
        return np.stack([1 - self.electron_e, self.electron_e], axis=1)

    def place_of(self, event: int) -> str:
        """Say where an event comes from."""
        return f"{self.files[self.events.file_e[event]]} row {self.events.row_e[event]}"


@dataclass(frozen=True, slots=True)
class Performance:
    """The numbers of a classifier of two classes."""

    auc: Measured
    accuracy: Measured
    log_loss: Measured
    rejection_by_efficiency: dict[float, Measured]
    """Background rejection where so much of the signal is kept."""


def add_performance(page: Report, judged: Judged, found: Performance) -> None:
    """Add what shows how well electrons are told from photons."""
    curve = roc_curve(judged.electron_e, judged.label_e == 1)
    page.add_figure(
        "ROC_curve",
        plot_roc({"electron": curve}, {"electron": found.auc}, label=LABEL),
        "Electrons are the signal, photons the background. The error of the area is the standard deviation over "
        "bootstrap replicas of the test events.",
    )
    rows: list[list[Cell]] = []
    for point, rejection in zip(
        working_points(curve, EFFICIENCIES), found.rejection_by_efficiency.values(), strict=True
    ):
        kept, passing = f"{100 * point.signal_efficiency:.2f} %", f"{100 * point.background_efficiency:.3f} %"
        rows.append([kept, f"{point.threshold:.4f}", passing, rejection])
    page.add_table(
        "working_points",
        ["electrons kept", "cut on p(electron)", "photons that pass", "photon rejection"],
        rows,
        "Rejection: one over the part of the photons that passes. Errors: standard deviations over bootstrap replicas, "
        "each with its own cut.",
    )
    page.add_figure(
        "probabilities",
        plot_scores(judged.probability_ec, judged.label_e, CLASSES, label=LABEL),
        "Probability of an electron, by true class.",
    )
    page.add_figure(
        "confusion_matrix",
        plot_confusion(confusion_matrix(judged.label_e, judged.predicted_e, len(CLASSES)), CLASSES, label=LABEL),
        "Rows are true classes and sum to one; below the fractions, numbers of events.",
    )


def add_slices(page: Report, judged: Judged, auc: Measured, config: EvaluateConfig) -> None:
    """Add how well they are told in slices of energy and, where it is known, of pseudorapidity."""
    generator = np.random.default_rng(config.seed)
    quantities = {"Energy in the image [GeV]": energy_of(judged.events.hits)}
    if not np.isnan(judged.events.eta_e).all():
        quantities[r"$|\eta|$"] = np.abs(judged.events.eta_e.astype(np.float64))
    slices_by_title: dict[str, Sequence[AucSlice]] = {
        title: auc_by_slice(
            judged.electron_e, judged.label_e == 1, value_e, config.slices, generator, replicas=config.replicas
        )
        for title, value_e in quantities.items()
    }
    page.add_figure(
        "AUC_by_slice",
        plot_auc_slices(slices_by_title, auc, label=LABEL),
        "Area under the ROC curve in slices of equal numbers of events; bootstrap errors. Photons and electrons of the same "
        "transverse momentum have energies that grow with |eta|.",
    )
    page.add_table(
        "slices",
        ["quantity", "from", "to", *(f"{name}s" for name in CLASSES), "AUC"],
        [
            [
                title.replace(r"$|\eta|$", "|eta|"),
                round(one.low, 3),
                round(one.high, 3),
                one.background,
                one.signal,
                one.auc,
            ]
            for title, slices in slices_by_title.items()
            for one in slices
        ],
        "The numbers of the figure above.",
    )


def energy_of(hits: Hits) -> NDArray[np.float64]:
    """Return the sum of each event's hits, in GeV."""
    return np.bincount(hits.event_h, hits.energy_h * ENERGY_UNIT_GEV, minlength=len(hits)).astype(np.float64)


def add_showers(page: Report, judged: Judged) -> None:
    """Add what the events look like: some of each class, their means, hits in space and time, spectra of times."""
    of_class = [np.flatnonzero(judged.label_e == label) for label in range(len(CLASSES))]
    hits = judged.events.hits
    page.add_figure(
        "mean_showers",
        plot_mean_showers({name: mean_of(hits.of(of_class[label])) for label, name in enumerate(CLASSES)}, label=LABEL),
        "Mean image of each class, and their difference. Electrons radiate in the tracker and photons convert there; the "
        "field bends charged particles in phi.",
    )
    page.add_figure(
        "showers",
        plot_showers(
            [shower for event_e in of_class for shower in _showers(judged, event_e[:SHOWERS_PER_CLASS])], label=LABEL
        ),
        "The first test events of each class: energies, and below them times against the trigger. Times of weak hits are "
        "little more than noise.",
    )
    page.add_figure(
        "hits_in_space_and_time",
        plot_spacetime(
            [shower for event_e in of_class for shower in _showers(judged, event_e[:SPACETIMES_PER_CLASS])],
            label=LABEL,
        ),
        "Hits of the first test events of each class; areas follow energies.",
    )
    spectra = {}
    for label, name in enumerate(CLASSES):
        own = hits.of(of_class[label])
        spectra[name] = TimedHits(own.time_h * TIME_UNIT_NS, own.energy_h * ENERGY_UNIT_GEV)
    page.add_figure(
        "times",
        plot_time_spectra(spectra, label=LABEL),
        "Absolute times of hits (left) and, weighted by their energies (right), by bin and summed up.",
    )


def mean_of(hits: Hits) -> FloatArray:
    """Return the mean image (row, column) of energies in GeV."""
    crystals = hits.shape[0] * hits.shape[1]
    sum_yx = np.bincount(hits.crystal_h, hits.energy_h, minlength=crystals).reshape(hits.shape)
    return (sum_yx * ENERGY_UNIT_GEV / max(len(hits), 1)).astype(np.float32)


def _showers(judged: Judged, event_e: IntArray) -> list[Shower]:
    image_eyxc = judged.events.hits.of(event_e).to_images()
    return [
        Shower(
            image_yxc[:, :, 0] * ENERGY_UNIT_GEV,
            image_yxc[:, :, 1] * TIME_UNIT_NS,
            (f"{CLASSES[judged.label_e[event]]}, p(electron) = {judged.electron_e[event]:.2f}", judged.place_of(event)),
        )
        for event, image_yxc in zip(event_e, image_eyxc, strict=True)
    ]
