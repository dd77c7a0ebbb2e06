import numpy as np
import pytest
from numpy.typing import NDArray

from hepml_core.ecal.crystals import (
    CANVAS,
    CENTRE,
    MARGIN,
    NEAR,
    NEAR_THRESHOLD_GEV,
    SIZE,
    THRESHOLD_GEV,
    TIME_OFFSET_NS,
    TIME_RANGE_NS,
    read_out,
    time_resolution,
)
from hepml_core.ecal.hits import ENERGY_UNIT_GEV, TIME_UNIT_NS, Hits

MIDDLE = MARGIN + CENTRE
NOISE = 0.040
EVENTS = 4_000


def canvas(events: int, *cells: tuple[int, int, float]) -> NDArray[np.float32]:
    """Events with energies at steps in row and column from the middle."""
    energy_eyx = np.zeros((events, CANVAS, CANVAS), np.float32)
    for row, column, energy in cells:
        energy_eyx[:, MIDDLE + row, MIDDLE + column] = energy
    return energy_eyx


def read(energy_eyx: NDArray[np.float32], delay_ns: float = 0.0, noise: float = NOISE, jitter: float = 0.0) -> Hits:
    delay_eyx = (delay_ns * energy_eyx).astype(np.float32)
    return read_out(energy_eyx, delay_eyx, noise, jitter, np.random.default_rng(0))


def test_the_highest_crystal_comes_to_the_centre_wherever_it_was() -> None:
    for row, column in ((0, 0), (2, -3), (-3, 3)):
        image_eyxc = read(canvas(50, (row, column, 30.0), (0, 1, 8.0))).to_images()
        assert (image_eyxc[..., 0].reshape(50, -1).argmax(1) == CENTRE * SIZE + CENTRE).all()
        assert image_eyxc[:, CENTRE - row, CENTRE + 1 - column, 0].mean() == pytest.approx(
            8 / ENERGY_UNIT_GEV, rel=0.02
        )


def test_energies_are_smeared_as_the_resolution_says() -> None:
    seed_e = read(canvas(EVENTS, (0, 0, 50.0))).to_images()[:, CENTRE, CENTRE, 0]
    expected = np.sqrt(0.04**2 + 0.028**2 * 50 + (0.006**2 + 0.004**2) * 50**2) / 50
    assert seed_e.mean() == pytest.approx(1.0, abs=5e-4)
    assert seed_e.std() == pytest.approx(expected, rel=0.05)


def test_noise_alone_passes_as_often_as_a_normal_distribution_says() -> None:
    events = 2_000
    hits = read(canvas(events, (0, 0, 50.0)))
    row_h, column_h = np.divmod(hits.crystal_h.astype(int), SIZE)
    near_h = (np.abs(row_h - CENTRE) <= NEAR) & (np.abs(column_h - CENTRE) <= NEAR)
    near_crystals = (2 * NEAR + 1) ** 2 - 1
    # One-sided tails of a normal distribution: 0.02275 beyond 2, 0.00135 beyond 3
    assert np.allclose(np.array([NEAR_THRESHOLD_GEV, THRESHOLD_GEV]) / NOISE, [2.0, 3.0])
    near = (near_h.sum() - events) / events / near_crystals
    assert near == pytest.approx(0.02275, abs=5 * (0.02275 / events / near_crystals) ** 0.5)
    far_crystals = SIZE**2 - near_crystals - 1
    assert (~near_h).sum() / events / far_crystals == pytest.approx(
        0.00135, abs=5 * (0.00135 / events / far_crystals) ** 0.5
    )
    assert hits.energy_h[near_h].min() * ENERGY_UNIT_GEV > NEAR_THRESHOLD_GEV - 1e-6
    assert hits.energy_h[~near_h].min() * ENERGY_UNIT_GEV > THRESHOLD_GEV - 1e-6


def test_times_are_smeared_as_the_resolution_says_and_carry_the_delay() -> None:
    hits = read(canvas(EVENTS, (0, 0, 40.0), (1, 0, 4.0)), delay_ns=0.7, noise=0.001)
    image_eyxc = hits.to_images()
    for row, energy in ((CENTRE, 40.0), (CENTRE + 1, 4.0)):
        time_e = image_eyxc[:, row, CENTRE, 1] * TIME_UNIT_NS
        expected = np.hypot(35 * 0.04 / energy, 0.15)
        assert time_e.std() == pytest.approx(expected, rel=0.05)
        assert time_e.mean() == pytest.approx(0.7 + TIME_OFFSET_NS, abs=5 * expected / EVENTS**0.5)


def test_trigger_jitter_is_shared_by_all_hits_of_an_event() -> None:
    image_eyxc = read(canvas(4_000, (0, 0, 40.0), (1, 0, 30.0)), noise=0.001, jitter=2.0).to_images()
    first_e, second_e = image_eyxc[:, CENTRE, CENTRE, 1], image_eyxc[:, CENTRE + 1, CENTRE, 1]
    assert np.corrcoef(first_e, second_e)[0, 1] > 0.98
    assert first_e.std() * TIME_UNIT_NS == pytest.approx(2.0, rel=0.05)


def test_no_time_is_beyond_the_range() -> None:
    hits = read(canvas(3_000, (0, 0, 50.0)), jitter=25.0)
    assert np.abs(hits.time_h).max() * TIME_UNIT_NS <= TIME_RANGE_NS + 1e-4
    assert np.abs(hits.time_h).max() * TIME_UNIT_NS > 0.9 * TIME_RANGE_NS


def test_resolution_improves_with_energy_to_its_constant() -> None:
    assert time_resolution(np.array([0.04, 1e6], np.float32)) == pytest.approx([35.0, 0.15], rel=1e-3)


def test_hits_are_sorted_and_name_each_crystal_once() -> None:
    hits = read(canvas(200, (0, 0, 50.0), (0, 1, 5.0)))
    order = hits.event_h * SIZE**2 + hits.crystal_h
    assert (np.diff(order) > 0).all()
    assert [str(part.dtype) for part in (hits.energy_h, hits.time_h, hits.crystal_h)] == [
        "float32",
        "float32",
        "uint16",
    ]
