"""What a network sees of a row."""

from __future__ import annotations

import numpy as np
import pytest

from hepml_core.jets.features import Features
from hepml_core.jets.scalers import Scaler
from hepml_core.jets.transforms import fixed_transforms

FOUR = ("pt", "eta", "phi", "m")


def features(angles: str, variables: tuple[str, ...] = FOUR) -> Features:
    fixed = fixed_transforms("custom", variables)
    return Features(variables, Scaler(variables, tuple(fixed[name] for name in variables)), angles)  # type: ignore[arg-type]


def jets(count: int = 500) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    chance = np.random.default_rng(1)
    columns = [
        chance.exponential(50, count) + 20,
        chance.uniform(-3, 3, count),
        chance.uniform(-np.pi, np.pi, count),
        chance.exponential(8, count) + 1,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("angles", ["number", "circle"])
def test_features_and_back_give_the_same_jets(angles: str) -> None:
    value_nf = jets()
    both = features(angles)
    feature_nf = both.forward(value_nf)
    assert feature_nf.shape == (len(value_nf), both.width)
    assert both.width == (5 if angles == "circle" else 4)
    np.testing.assert_allclose(both.inverse(feature_nf), value_nf, rtol=2e-5, atol=1e-5)


def test_on_a_circle_minus_pi_and_pi_are_neighbours() -> None:
    value_nf = jets(2)
    value_nf[:, 2] = [-np.pi + 1e-3, np.pi - 1e-3]
    value_nf[1, [0, 1, 3]] = value_nf[0, [0, 1, 3]]
    near, far = (np.abs(np.diff(features(kind).forward(value_nf), axis=0)).max() for kind in ("circle", "number"))
    assert near < 3e-3
    assert far > 1


def test_columns_of_whole_events_have_angles_too() -> None:
    variables = ("pt_0", "pt_1", "phi_0", "phi_1")
    assert features("circle", variables).width == 6
