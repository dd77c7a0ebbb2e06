import numpy as np
import pytest
from numpy.random import Generator, default_rng

from hepml_core.event_images.calorimeters import calorimeter_turning
from hepml_core.event_images.helices import MUON_CHAMBER, PIXEL, STRIP, Hits, trace_helices
from hepml_core.event_images.physics import CHARGED_HADRON, ELECTRON, MUON, PHOTON, FloatArray, Particles
from hepml_core.event_images.tracker import (
    BARREL_M,
    DISK_DEPTH_M,
    DISK_M,
    PIXEL_LAYERS,
    muon_hits,
    muon_noise,
    strip_noise,
    tracker_hits,
)

COPIES = 40


@pytest.fixture
def rng() -> Generator:
    return default_rng(3)


def beam(species: int, pt: float, eta: float = 0.0, charge: int = 1, phi: float = 0.4) -> Particles:
    """Many copies of one particle, so that inefficiency does not matter."""
    momentum = np.array([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    return Particles(
        np.tile(momentum, (COPIES, 1)), np.full(COPIES, species), np.full(COPIES, charge), np.zeros(COPIES)
    )


def track(particles: Particles, rng: Generator) -> Hits:
    helices = trace_helices(particles, 3.8)
    return tracker_hits(helices, calorimeter_turning(helices), rng)


def across(hits: Hits) -> FloatArray:
    radius_h: FloatArray = np.hypot(hits.point_hx[:, 0], hits.point_hx[:, 1])
    return radius_h


def test_hits_of_a_track_lie_on_its_circle_at_the_layers(rng: Generator) -> None:
    hits = track(beam(CHARGED_HADRON, 1.0), rng)
    radius = 1.0 / (0.299792458 * 3.8)
    centre = radius * np.array([np.sin(0.4), -np.cos(0.4)])
    assert np.hypot(*(hits.point_hx[:, :2] - centre).T) == pytest.approx(np.full(len(hits.kind_h), radius))
    assert np.unique(across(hits).round(4)) == pytest.approx(np.sort(BARREL_M), abs=1e-4)
    assert len(hits.kind_h) == pytest.approx(COPIES * len(BARREL_M) * 0.97, rel=0.05)


def test_inner_layers_are_pixels(rng: Generator) -> None:
    hits = track(beam(CHARGED_HADRON, 5.0), rng)
    assert ((hits.kind_h == PIXEL) == (across(hits) < 0.2)).all()
    assert set(hits.kind_h.tolist()) == {PIXEL, STRIP}


def test_forward_tracks_hit_disks_on_their_side(rng: Generator) -> None:
    hits = track(beam(CHARGED_HADRON, 5.0, eta=-2.0), rng)
    in_disks = hits.point_hx[across(hits) > BARREL_M[PIXEL_LAYERS - 1] + 0.01]
    nearest = np.abs(np.abs(in_disks[:, 2, None]) - DISK_M).min(axis=1)
    assert (in_disks[:, 2] < 0).all()
    assert (nearest <= DISK_DEPTH_M.max() + 1e-9).all()


def test_neutral_particles_leave_no_track(rng: Generator) -> None:
    assert len(track(beam(PHOTON, 5.0, charge=0), rng).kind_h) == 0


def test_a_slow_particle_curls_within_its_diameter_and_comes_back(rng: Generator) -> None:
    hits = track(beam(CHARGED_HADRON, 0.3, eta=0.1), rng)
    assert across(hits).max() < 2 * 0.3 / (0.299792458 * 3.8)
    assert len(hits.kind_h) > 1.5 * COPIES * np.sum(BARREL_M < 0.52) * 0.97


def chambers(particles: Particles, rng: Generator) -> Hits:
    return muon_hits(particles, trace_helices(particles, 3.8), rng)


@pytest.mark.parametrize(("eta", "charge"), [(0.2, 1), (-0.6, -1), (2.0, 1), (-1.9, -1)])
def test_muons_reach_the_chambers_outside_the_coil(eta: float, charge: int, rng: Generator) -> None:
    hits = chambers(beam(MUON, 10.0, eta, charge), rng)
    assert len(hits.kind_h) > 2 * COPIES
    assert (hits.kind_h == MUON_CHAMBER).all()
    assert ((across(hits) > 4.0) | (np.abs(hits.point_hx[:, 2]) > 6.0)).all()
    assert (np.sign(hits.point_hx[:, 2]) == np.sign(eta)).all()


def test_a_muon_of_higher_pt_arrives_closer_to_its_first_direction(rng: Generator) -> None:
    def bend(pt: float) -> float:
        hits = chambers(beam(MUON, pt), rng)
        return float(np.abs(np.arctan2(hits.point_hx[:, 1], hits.point_hx[:, 0]) - 0.4).mean())

    assert bend(50.0) < 0.3 * bend(8.0)


@pytest.mark.parametrize(("species", "pt"), [(ELECTRON, 20.0), (MUON, 2.0)])
def test_electrons_and_slow_muons_do_not_reach_the_chambers(species: int, pt: float, rng: Generator) -> None:
    assert len(chambers(beam(species, pt), rng).kind_h) == 0


def test_noise_lies_on_sensors(rng: Generator) -> None:
    strips = strip_noise(500, rng)
    on_barrel = np.abs(across(strips)[:, None] - BARREL_M).min(axis=1) < 1e-9
    on_disk = np.abs(np.abs(strips.point_hx[:, 2, None]) - DISK_M).min(axis=1) < 1e-9
    assert (on_barrel | on_disk).all()
    assert on_barrel.any()
    assert on_disk.any()
    assert len(muon_noise(7, rng).kind_h) == 7
    assert len(strip_noise(0, rng).kind_h) == 0
