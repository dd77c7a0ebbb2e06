import numpy as np
import pytest

from hepml_core.event_images.helices import ECAL, PIXEL, Helices, Hits, trace_helices
from hepml_core.event_images.physics import CHARGED_HADRON, PHOTON, Particles


def trace(
    pt: float = 2.0, phi: float = 0.7, eta: float = 0.5, charge: int = 1, z: float = 0.03, field: float = 3.8
) -> Helices:
    momentum_px = np.array([[pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]])
    species = CHARGED_HADRON if charge else PHOTON
    return trace_helices(Particles(momentum_px, np.array([species]), np.array([charge]), np.array([z])), field)


TURNING = np.linspace(0.0, 1.5 * np.pi, 20)[None]


@pytest.mark.parametrize("charge", [-1, 1])
def test_a_path_lies_on_the_circle_of_radius_pt_over_0_3_b_through_the_vertex(charge: int) -> None:
    radius = 2.0 / (0.299792458 * 3.8)
    centre = radius * np.array([np.sin(0.7), -np.cos(0.7)]) * charge  # clockwise around +z for a positive charge
    across = trace(charge=charge).points(TURNING)[0, :, :2]
    assert across[0] == pytest.approx([0, 0])
    assert np.hypot(*(across - centre).T) == pytest.approx(np.full(20, radius))


def test_opposite_charges_bend_to_opposite_sides() -> None:
    heading = np.array([np.cos(0.7), np.sin(0.7)])
    plus, minus = (trace(charge=charge).points(np.array([[0.3]]))[0, 0, :2] for charge in (1, -1))
    side_plus, side_minus = (heading[0] * point[1] - heading[1] * point[0] for point in (plus, minus))
    assert side_plus < 0 < side_minus
    assert side_plus == pytest.approx(-side_minus)


def test_a_path_starts_at_its_vertex_along_its_momentum() -> None:
    start, near = trace().points(np.array([[0.0, 1e-6]]))[0]
    step = (near - start) / np.linalg.norm(near - start)
    direction = np.array([np.cos(0.7), np.sin(0.7), np.sinh(0.5)])
    assert start == pytest.approx([0, 0, 0.03])
    assert step == pytest.approx(direction / np.linalg.norm(direction), abs=1e-4)


def test_a_stronger_field_bends_more() -> None:
    assert trace(field=7.6).radius_p[0] == pytest.approx(trace(field=3.8).radius_p[0] / 2)


def test_a_neutral_particle_flies_straight() -> None:
    helices = trace(charge=0)
    x, y, z = helices.points(helices.turning_at_radius(np.array([1.3])))[0, 0]
    assert (x, y) == pytest.approx((1.3 * np.cos(0.7), 1.3 * np.sin(0.7)))
    assert z == pytest.approx(0.03 + 1.3 * np.sinh(0.5))


def test_crossings_lie_on_their_cylinders_and_disks() -> None:
    helices = trace()
    x_l, y_l, _ = helices.points(helices.turning_at_radius(np.array([0.1, 0.5, 1.0])))[0].T
    assert np.hypot(x_l, y_l) == pytest.approx([0.1, 0.5, 1.0])
    backward = trace(eta=-2.0)
    assert backward.points(backward.turning_at_z(np.array([0.3, 2.67])))[0, :, 2] == pytest.approx([-0.3, -2.67])


def test_a_curling_path_never_reaches_a_far_cylinder() -> None:
    helices = trace(pt=0.3)  # a circle of 0.53 m across
    assert np.isfinite(helices.turning_at_radius(np.array([0.5, 0.55]))).tolist() == [[True, False]]


def test_joined_hits_keep_their_order() -> None:
    first, second = Hits.of_kind(PIXEL, np.ones((2, 3))), Hits.of_kind(ECAL, np.zeros((1, 3)), np.array([4.0]))
    joined = Hits.join([first, second])
    assert joined.kind_h.tolist() == [PIXEL, PIXEL, ECAL]
    assert joined.energy_h.tolist() == [0.0, 0.0, 4.0]
