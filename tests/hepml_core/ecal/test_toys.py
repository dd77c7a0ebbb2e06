from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hepml_core.ecal.config import GenerateConfig
from hepml_core.ecal.event_records import CLASSES
from hepml_core.ecal.hits import Hits, join
from hepml_core.ecal.showers import CRYSTAL_RAD
from hepml_core.ecal.toys import ToyEvents, light_up, make_events
from hepml_core.ecal.tracks import Particles, start_particles

CONFIG = GenerateConfig()
BLOCK = 500

REAL_PIXELS = {"energy_mean": 0.0012193, "energy_std": 0.0237124, "time_mean": -0.00026375, "time_std": 0.06739005}
"""Over all pixels of 249,000 photons and as many electrons: JDhruvR/ElectronPhotonClassifier, main.ipynb @ 4ea5d8a."""
REAL_SUMS = {"energy": 1.24857, "energy_squared": 0.57729}
"""Of an image, from the same."""
REAL_IMAGES = {
    "photon": {"seed": 0.606, "three": 0.933, "row": 0.815, "column": 0.715, "rms_phi": 0.764, "rms_eta": 0.462},
    "electron": {"seed": 0.547, "three": 0.914, "row": 0.811, "column": 0.650, "rms_phi": 0.864, "rms_eta": 0.477},
}
"""Of mean images in a figure, in 256 levels up to their maximum: PeterZakii/Electron-Photon-Classification @ b9118e2."""


@cache
def drawn(label: int, events: int = 16_000, **changes: Any) -> ToyEvents:
    config = replace(CONFIG, **changes)
    blocks = [make_events(label, BLOCK, config, np.random.default_rng([7, label, n])) for n in range(events // BLOCK)]
    return ToyEvents(join([block.hits for block in blocks]), np.concatenate([block.eta_e for block in blocks]))


def mean_image(hits: Hits) -> NDArray[np.float64]:
    return (np.bincount(hits.crystal_h, hits.energy_h, 1024) / len(hits)).reshape(32, 32)


def shape_of(image_yx: NDArray[np.float64]) -> dict[str, float]:
    """Fractions and widths of an image in 256 levels, as of the published figure."""
    level_yx = np.minimum(np.floor(image_yx / image_yx.max() * 256), 255)
    level_yx /= level_yx.sum()
    row_y, column_x, step = level_yx.sum(1), level_yx.sum(0), np.arange(32)
    widths = [np.sqrt(part @ (step - part @ step) ** 2) for part in (column_x, row_y)]
    three = level_yx[15:18, 15:18].sum()
    values = (level_yx[16, 16], three, row_y[16], column_x[16], *widths)
    return dict(zip(REAL_IMAGES["photon"], map(float, values), strict=True))


def test_pixels_have_the_means_and_spreads_of_the_real_sample() -> None:
    both = [drawn(0).hits, drawn(1).hits]
    energy_h, time_h = (np.concatenate([getattr(hits, name) for hits in both]) for name in ("energy_h", "time_h"))
    pixels = 1024 * sum(map(len, both))
    for name, value_h in (("energy", energy_h), ("time", time_h)):
        mean, square = (float(np.sum(value_h.astype(np.float64) ** power)) / pixels for power in (1, 2))
        # The mean of the times is small against their spread: its own error is 4 %.
        assert mean == pytest.approx(REAL_PIXELS[f"{name}_mean"], rel=0.1 if name == "energy" else 0.2)
        assert np.sqrt(square - mean**2) == pytest.approx(REAL_PIXELS[f"{name}_std"], rel=0.1)
    events = pixels / 1024
    assert energy_h.sum() / events == pytest.approx(REAL_SUMS["energy"], rel=0.1)
    assert (energy_h.astype(np.float64) ** 2).sum() / events == pytest.approx(REAL_SUMS["energy_squared"], rel=0.1)
    assert 1.3 < energy_h.max() < 1.6  # real: 1.48
    assert 2.2 < np.abs(time_h).max() <= 2.5  # real: 2.5


@pytest.mark.parametrize("label", [0, 1])
def test_mean_images_have_the_shapes_of_the_real_ones(label: int) -> None:
    real = REAL_IMAGES["electron" if label else "photon"]
    assert shape_of(mean_image(drawn(label).hits)) == pytest.approx(real, rel=0.1)


@pytest.mark.real_data
@pytest.mark.parametrize("label", [0, 1])
def test_mean_images_are_those_of_the_real_sample_crystal_by_crystal(label: int, real_data: Path) -> None:
    figure = np.load(real_data / "ecal_calibration/ecal_mean_images_from_figure.npz")
    real_yx = figure[f"{CLASSES[label]}_energy_mean"]
    toy_yx = mean_image(drawn(label).hits)
    toy_yx /= toy_yx.max()
    assert real_yx.argmax() == toy_yx.argmax()
    # The figure has levels of 0.004, and the toys do not lean as much as the real electrons.
    np.testing.assert_allclose(toy_yx, real_yx, rtol=0.15, atol=0.012)


def test_the_seed_is_the_highest_crystal_and_in_its_place() -> None:
    for label in (0, 1):
        energy_ek = drawn(label).hits.to_images()[:, :, :, 0].reshape(16_000, -1)
        assert (energy_ek.argmax(1) == 16 * 32 + 16).all()


def test_photons_are_symmetric_in_phi_and_all_are_in_eta() -> None:
    for label, axes in ((0, (0, 1)), (1, (0,))):
        energy_eyx = drawn(label).hits.to_images()[..., 0].astype(np.float64)
        for axis in axes:
            profile_ek = energy_eyx.sum(2 - axis) / energy_eyx.sum((1, 2))[:, None]
            difference_en = np.stack([profile_ek[:, 16 + n] - profile_ek[:, 16 - n] for n in (1, 2, 3)], 1)
            error_n = difference_en.std(0) / np.sqrt(len(difference_en))
            assert (np.abs(difference_en.mean(0)) < 4 * error_n).all()


def test_showers_do_not_know_the_sign_of_eta() -> None:
    for label in (0, 1):
        toys = drawn(label)
        image_eyx = toys.hits.to_images()[..., 0].astype(np.float64)
        forward = toys.eta_e > 0
        seed_e, total_e = image_eyx[:, 16, 16], image_eyx.sum((1, 2))
        for value_e in (seed_e / total_e, total_e / np.cosh(toys.eta_e)):
            error = value_e.std() * np.sqrt(1 / forward.sum() + 1 / (~forward).sum())
            assert abs(value_e[forward].mean() - value_e[~forward].mean()) < 4 * error


def test_the_mean_electron_leans_to_the_side_of_the_more_frequent_charge() -> None:
    def lean(positrons: float) -> tuple[float, float]:
        hits = drawn(1, 4_000, positron_fraction=positrons).hits
        energy_ex = hits.to_images()[..., 0].sum(1).astype(np.float64)
        tail_e = (energy_ex[:, 18:23].sum(1) - energy_ex[:, 10:15].sum(1)) / energy_ex.sum(1)
        return float(tail_e.mean()), float(tail_e.std() / np.sqrt(len(tail_e)))

    (electrons, error), (mixed, _), (positrons, _) = lean(0.0), lean(0.5), lean(1.0)
    assert electrons == pytest.approx(-positrons, abs=6 * error)
    assert abs(electrons - positrons) > 8 * error
    assert abs(mixed) < 4 * error


def test_electrons_spread_in_phi_more_than_photons_only_with_a_field_and_material() -> None:
    def rms(label: int, **changes: Any) -> float:
        return shape_of(mean_image(drawn(label, 4_000, **changes).hits))["rms_phi"]

    assert rms(1) > 1.1 * rms(0)
    for bare in ({"field_tesla": 0.0}, {"material_scale": 0.0}):
        assert rms(1, **bare) == pytest.approx(rms(0, **bare), rel=0.08)


def test_particles_on_longer_paths_come_later_and_farther_along_the_beam() -> None:
    eta_e = np.array([0.0, 0.8])
    straight = start_particles(np.array([50.0, 50.0]), np.zeros(2, np.int64))
    straight = replace(straight, path_p=np.full(2, 1.29))
    bent = replace(straight, energy_p=np.full(2, 10.0), phi_p=np.full(2, 6 * CRYSTAL_RAD), path_p=np.full(2, 1.59))
    energy_eyx, delay_eyx = light_up(Particles.join([straight, bent]), eta_e, CONFIG, np.random.default_rng(0))
    for event, slope in ((0, 1.0), (1, np.cosh(0.8))):
        delay_yx = delay_eyx[event] / np.maximum(energy_eyx[event], 1e-9)
        row, column = np.unravel_index((delay_eyx[event]).argmax(), delay_yx.shape)
        assert delay_yx[19, 19] == pytest.approx(0.0, abs=0.02)
        assert delay_yx[row, column] == pytest.approx(0.3 * slope / 0.299792458, rel=0.05)
        shift = (np.arcsinh(np.sinh(eta_e[event]) * 1.59 / 1.29) - eta_e[event]) / CRYSTAL_RAD
        assert row - 19 == pytest.approx(shift, abs=1.0)
        assert column - 19 in (5, 6, 7)


def test_energies_follow_the_transverse_momentum_and_eta() -> None:
    toys = drawn(0, 4_000)
    total_e = toys.hits.to_images()[..., 0].sum((1, 2)) * 50
    assert np.median(total_e / (50 * np.cosh(toys.eta_e))) == pytest.approx(0.97, abs=0.02)
    soft = drawn(0, 2_000, pt_gev=20.0)
    soft_e = soft.hits.to_images()[..., 0].sum((1, 2)) * 50
    assert np.median(soft_e / (20 * np.cosh(soft.eta_e))) == pytest.approx(0.97, abs=0.03)
    assert np.abs(toys.eta_e).max() < CONFIG.eta_max


def test_events_are_a_function_of_their_stream_of_chance() -> None:
    one, two = (make_events(1, 100, CONFIG, np.random.default_rng(3)) for _ in range(2))
    other = make_events(1, 100, CONFIG, np.random.default_rng(4))
    assert np.array_equal(one.hits.energy_h, two.hits.energy_h)
    assert np.array_equal(one.hits.time_h, two.hits.time_h)
    assert not np.array_equal(one.eta_e, other.eta_e)
