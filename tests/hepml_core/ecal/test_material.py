import numpy as np
import pytest

from hepml_core.ecal.material import (
    LAYER_RADII_M,
    conversion_probability,
    pair_share,
    radiated_share,
    thickness_of_layer,
    total_thickness,
)


def test_the_layers_together_are_the_tracker_and_a_factor_scales_them() -> None:
    eta_e = np.array([0.0, -1.0, 1.4])
    assert np.allclose(total_thickness(eta_e)[[0, 2]], [0.4, 1.8])
    assert np.allclose(thickness_of_layer(eta_e, 1.0) * len(LAYER_RADII_M), total_thickness(eta_e))
    assert np.allclose(thickness_of_layer(eta_e, 1.5), 1.5 * thickness_of_layer(-eta_e, 1.0))


@pytest.mark.parametrize("thickness", [0.03, 0.1, 0.5])
def test_an_electron_keeps_on_average_what_radiation_lengths_mean(thickness: float) -> None:
    kept_p = 1 - radiated_share(np.full(400_000, thickness), np.random.default_rng(0))
    # <z> of a gamma distribution of -ln z: 2**(-t / ln 2), which is exp(-t)
    assert kept_p.mean() == pytest.approx(np.exp(-thickness), abs=5 * kept_p.std() / 400_000**0.5)
    # Bethe and Heitler: the second moment is 3**(-t / ln 2)
    assert (kept_p**2).mean() == pytest.approx(3 ** (-thickness / np.log(2)), rel=3e-3)
    assert ((kept_p >= 0) & (kept_p <= 1)).all()


def test_thin_layers_one_after_another_convert_as_often_as_one_thick_layer() -> None:
    survives = (1 - conversion_probability(np.full(7, 0.1))).prod()
    assert survives == pytest.approx(1 - conversion_probability(np.array([0.7]))[0])
    assert conversion_probability(np.array([9 / 7]))[0] == pytest.approx(1 - 1 / np.e)


def test_pairs_share_energy_as_their_density_says_and_never_more_than_there_is() -> None:
    share_p = pair_share(400_000, np.random.default_rng(1))
    assert 0 <= share_p.min() < 1e-4
    assert 1 - 1e-4 < share_p.max() <= 1
    count_b, edge = np.histogram(share_p, 20, (0.0, 1.0))
    cumulated = 9 / 7 * (edge - 2 / 3 * edge**2 + 4 / 9 * edge**3)
    expected_b = 400_000 * np.diff(cumulated)
    assert (((count_b - expected_b) ** 2 / expected_b).sum()) < 45  # chi squared of 19, one in a thousand
