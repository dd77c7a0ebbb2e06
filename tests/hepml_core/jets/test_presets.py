"""The runs of the original studies, by name."""

from __future__ import annotations

import pytest

from hepml_core.config import build_config
from hepml_core.errors import SettingError, UnknownNameError
from hepml_core.jets.config import TrainConfig
from hepml_core.jets.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_training(name: str) -> None:
    config = build_config(TrainConfig, {"preset": name})
    assert config.optimizer == "adamw"
    assert config.weight_decay > 0


def test_settings_that_are_given_win_over_the_preset() -> None:
    config = build_config(TrainConfig, {"preset": "atlas27_custom", "epochs": "3"})
    assert (config.epochs, config.batch_size, config.nodes[4]) == (3, 8192, 20)


def test_the_tla_run_has_four_rates_in_double_precision() -> None:
    config = build_config(TrainConfig, {"preset": "tla4"})
    assert config.phases() == [(10, 1e-3), (50, 1e-4), (100, 1e-5), (100, 1e-6)]
    assert config.double


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'thesis27_20'"):
        build_config(TrainConfig, {"preset": "thesis27_21"})


@pytest.mark.parametrize("steps", ["10", "10:fast", "ten:1e-3"])
def test_rates_that_are_not_written_as_steps_are_refused(steps: str) -> None:
    with pytest.raises(SettingError, match="rate_steps must be epochs:rate"):
        build_config(TrainConfig, {"rate_steps": steps})
