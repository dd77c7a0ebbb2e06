import numpy as np
import pytest

from benchmarks.ecal_limits import ARRIVALS, draw, hardest, image_shape, limit
from hepml_core.ecal.tracks import Particles


def test_the_curve_through_areas_of_its_own_kind_leads_to_their_limit() -> None:
    numbers = (1_000, 5_000, 20_000, 100_000)
    areas = [0.82 - 1.5 / number**0.4 for number in numbers]
    assert limit(numbers, areas) == pytest.approx(0.82, abs=1e-4)


def test_features_are_finite_and_do_not_depend_on_how_many_events_are_drawn() -> None:
    few, many = draw(1_000, seed=3), draw(2_000, seed=3)
    for name in ("energy", "time"):
        assert np.isfinite(many[name]).all()
        assert np.array_equal(few[name], many[name][:, :1_000])


def test_the_hardest_particles_come_first_and_missing_ones_are_not_told() -> None:
    event_p, energy_p = np.array([0, 0, 1]), np.array([10.0, 30.0, 5.0])
    phi_p = np.array([0.02, 0.01, 0.5])
    found = hardest(Particles(event_p, energy_p, np.zeros(3, np.int64), phi_p, phi_p, phi_p), events=2)
    feature_enf = found.reshape(2, ARRIVALS, 2)
    assert np.allclose(feature_enf[0, :2], [[0.75, 0.0], [0.25, 0.01]])
    assert np.allclose(feature_enf[1, 0], [1.0, 0.0])
    assert np.isnan(feature_enf[0, 2:]).all()
    assert np.isnan(feature_enf[1, 1:]).all()


def test_shares_and_widths_are_of_the_image_in_256_levels() -> None:
    image_yx = np.zeros((32, 32))
    image_yx[16, 16], image_yx[16, 17], image_yx[16, 15], image_yx[20, 20] = 256.0, 51.2, 51.2, 0.9
    shape = image_shape(image_yx)  # the last is below the first level, and so was lost in the figure
    assert shape["seed"] == pytest.approx(255 / (255 + 2 * 51))
    assert shape["3x3"] == pytest.approx(1.0)
    assert shape["rms phi"] == pytest.approx((102 / 357) ** 0.5)
    assert shape["rms eta"] == pytest.approx(0.0, abs=1e-12)
