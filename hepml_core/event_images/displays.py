"""Pictures of detector hits in the manner of the CMS event displays: three views on one black square.

From the top: z across and y up, x across and y up, z across and x up; each view is as wide as the picture and a third
as high. The scales are measured from the pictures of the experiment: 25 pixels per m along z, 16.7 across the beam, at
300 x 300.

Axes: y row, x column, c channel (red, green, blue), h hit.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from hepml_core.event_images.calorimeters import calorimeter_hits, calorimeter_noise, calorimeter_turning
from hepml_core.event_images.config import GenerateConfig
from hepml_core.event_images.helices import ECAL, HCAL, PRESHOWER, Hits, trace_helices
from hepml_core.event_images.physics import FloatArray, IntArray, Particles, draw_event
from hepml_core.event_images.tracker import muon_hits, muon_noise, strip_noise, tracker_hits

HALF_LENGTH_M, HALF_WIDTH_M, HALF_HEIGHT_M = 5.99, 9.0, 3.0
"""Half windows: z across the outer views, x across the middle one, y or x up in every view."""

COLOUR_KC = 65535 * np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1], [1, 1, 1]], dtype=np.uint16)
"""Colours of the kinds of hits: muon yellow, HCAL green, ECAL blue, preshower red, strip cyan, pixel white. A later
kind is painted over an earlier one; of two hits of one kind the one with more energy is seen."""

FULL_ENERGY_K = np.ones(len(COLOUR_KC))
"""Energy in GeV at which a calorimeter's colour has paled to white."""
FULL_ENERGY_K[[HCAL, ECAL, PRESHOWER]] = 20.0, 20.0, 0.66

NOISE_SHARES = {"strip": 0.40, "ecal": 0.30, "hcal": 0.28, "muon": 0.02}
"""Shares of noise hits by detector."""

Picture = NDArray[np.uint8] | NDArray[np.uint16]


def draw_display(process: str, number: int, config: GenerateConfig) -> Picture:
    """Draw picture ``number`` of a process: a pure function of process, number and the settings but for the counts.

    Returns:
        Picture (y, x, c) of config.image_size squared and three channels, uint8 or uint16 by config.bits.
    """
    key = (int.from_bytes(process.encode()), number)
    rng = Generator(PCG64(SeedSequence(config.seed, spawn_key=key)))
    particles = draw_event(process, config.pileup_mean, config.vertex_spread_cm / 100, rng)
    hits = record_event(particles, config.field_tesla, config.noise_hits, rng)
    return paint(hits, config.image_size, config.bits)


def record_event(particles: Particles, field_tesla: float, noise_hits: float, rng: Generator) -> Hits:
    """Take particles through the detector and return its hits, with noise.

    Args:
        particles: What leaves the interaction points.
        field_tesla: Field of the solenoid in T.
        noise_hits: Mean number of noise hits.
        rng: Source of chance.
    """
    helices = trace_helices(particles, field_tesla)
    noise = {name: int(rng.poisson(noise_hits * share)) for name, share in NOISE_SHARES.items()}
    return Hits.join(
        [
            tracker_hits(helices, calorimeter_turning(helices), rng),
            calorimeter_hits(particles, helices, rng),
            muon_hits(particles, helices, rng),
            strip_noise(noise["strip"], rng),
            calorimeter_noise(noise["ecal"], noise["hcal"], rng),
            muon_noise(noise["muon"], rng),
        ]
    )


def paint(hits: Hits, image_size: int, bits: Literal[8, 16] = 8) -> Picture:
    """Paint hits in three views.

    Returns:
        Picture (y, x, c) of three channels, uint8 or uint16; rows that three equal views leave over stay black.
    """
    paleness_h = np.minimum(hits.energy_h / FULL_ENERGY_K[hits.kind_h], 1.0)
    order_h = np.argsort(hits.kind_h + paleness_h / 2, kind="stable")
    x_h, y_h, z_h = hits.point_hx[order_h].T
    height = image_size // 3
    views = ((z_h, y_h, HALF_LENGTH_M), (x_h, y_h, HALF_WIDTH_M), (z_h, x_h, HALF_LENGTH_M))
    top = np.zeros(image_size * image_size, dtype=np.int32)  # of each pixel, one more than the hit that is seen there
    for view, (across_h, up_h, half_width) in enumerate(views):
        column_h = np.floor((across_h / half_width + 1) / 2 * image_size).astype(np.int64)
        row_h = np.floor((1 - up_h / HALF_HEIGHT_M) / 2 * height).astype(np.int64)
        inside_h = np.flatnonzero((column_h >= 0) & (column_h < image_size) & (row_h >= 0) & (row_h < height))
        top[((row_h + view * height) * image_size + column_h)[inside_h]] = (
            inside_h + 1
        )  # of several hits the last stays
    lit = np.flatnonzero(top > 0)
    seen_h = order_h[top[lit] - 1]
    colour_hc = _colours(hits.kind_h[seen_h], paleness_h[seen_h])
    picture = np.zeros((image_size * image_size, 3), dtype=np.uint16 if bits == 16 else np.uint8)
    picture[lit] = colour_hc if bits == 16 else colour_hc >> 8
    return picture.reshape(image_size, image_size, 3)


def _colours(kind_h: IntArray, paleness_h: FloatArray) -> NDArray[np.uint16]:
    """Return the colours (hit, c) in 16 bits: of the kind, with as much white as the energy asks for."""
    colour_hc: NDArray[np.uint16] = np.maximum(
        COLOUR_KC[kind_h], np.rint(65535 * paleness_h).astype(np.uint16)[:, None]
    )
    return colour_hc
