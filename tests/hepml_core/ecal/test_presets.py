"""Runs of the original study by name, as its scripts' options tell them."""

from __future__ import annotations

import pytest

from hepml_core.config import build_config
from hepml_core.ecal.config import TrainConfig
from hepml_core.ecal.movie import window_edges
from hepml_core.ecal.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_config(name: str) -> None:
    config = build_config(TrainConfig, {"preset": name})
    assert config.preset == name
    assert config.architecture == PRESETS[name]["architecture"]


@pytest.mark.parametrize(
    ("name", "learning_rate", "batch_size", "train", "valid", "epochs"),
    [
        ("run_cnn3d", 1e-5, 100, 10_000, 10_000, 100),
        ("run_cnn3d_opt", 1e-3, 50, 5_000, 5_000, 20),
        ("bearnet_truncated", 1e-3, 500, 100_000, 50_000, 100),
    ],
)
def test_presets_have_the_options_of_the_scripts(
    name: str, learning_rate: float, batch_size: int, train: int, valid: int, epochs: int
) -> None:
    config = build_config(TrainConfig, {"preset": name})
    assert (config.learning_rate, config.batch_size, config.epochs) == (learning_rate, batch_size, epochs)
    assert (config.events_per_class, config.valid_events_per_class) == (train, valid)


def test_movies_of_the_presets_have_twenty_frames() -> None:
    for name in ("run_cnn3d", "run_cnn3d_opt"):
        config = build_config(TrainConfig, {"preset": name})
        assert len(window_edges(config.t_min, config.t_max, config.t_step)) == 21


def test_given_settings_go_before_those_of_a_preset() -> None:
    assert build_config(TrainConfig, {"preset": "run_cnn3d", "epochs": 3}).epochs == 3
