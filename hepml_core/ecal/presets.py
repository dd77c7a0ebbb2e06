"""Training settings of the runs of the original study (ekoenig4/ParticleImages), by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLATEAU = {
    "schedule": "plateau",
    "plateau_factor": 0.2,
    "plateau_patience": 2,
    "min_learning_rate": 1e-6,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "run_cnn3d": {
        "mirror": False,
        "architecture": "cnn3d",
        "learning_rate": 1e-5,
        "schedule": "constant",
        "batch_size": 100,
        "epochs": 100,
        "events_per_class": 10_000,
        "valid_events_per_class": 10_000,
    },
    "run_cnn3d_opt": {
        "mirror": False,
        "architecture": "cnn3d_opt",
        **_PLATEAU,
        "learning_rate": 1e-3,
        "batch_size": 50,
        "epochs": 20,
        "events_per_class": 5_000,
        "valid_events_per_class": 5_000,
        "t_min": -0.099,
        "t_max": 0.099,
    },
    "bearnet_truncated": {
        "mirror": False,
        "architecture": "bearnet",
        "use_time": False,
        **_PLATEAU,
        "learning_rate": 1e-3,
        "batch_size": 500,
        "epochs": 100,
        "dropout": 0.4,
        "events_per_class": 100_000,
        "valid_events_per_class": 50_000,
    },
}
