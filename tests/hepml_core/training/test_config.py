"""Settings of a fit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from hepml_core.config import build_config, describe_config
from hepml_core.errors import SettingError
from hepml_core.training.config import FitConfig, fit_identity


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("epochs", -1), ("batch_size", 0), ("learning_rate", 0.0), ("betas", (0.9, 1.0)), ("plateau_factor", 1.0)],
        *[("clip_norm", -1.0), ("warmup_share", 1.0), ("momentum", 1.0), ("monitor", "loss"), ("seed", -1)],
    ],
)
def test_nonsense_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"{name} must be"):
        FitConfig(**{name: value})


def test_every_setting_is_explained_and_can_be_given_as_text() -> None:
    assert all(setting.meaning for setting in describe_config(FitConfig))
    config = build_config(FitConfig, {"betas": "[0.8, 0.99]", "epochs": 3.0, "precision": 16, "compile": "true"})
    assert (config.betas, config.epochs, config.precision, config.compile) == ((0.8, 0.99), 3, "16", True)


def test_the_identity_knows_settings_and_data_but_not_the_place() -> None:
    config = FitConfig()
    identity = fit_identity(config, "data")
    assert identity == fit_identity(replace(config, device="cpu", checkpoints_root="gs://bucket"), "data")
    others = [
        fit_identity(replace(config, learning_rate=0.1), "data"),
        fit_identity(config, "other"),
        fit_identity(config),
    ]
    assert len({identity, *others}) == 4


def test_settings_can_be_read_without_torch() -> None:
    code = "import sys, hepml_core.training.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
