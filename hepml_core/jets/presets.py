"""Training settings of the runs of the original studies (HEPAutoencoders, AE-Compression), by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def _run(
    nodes: Sequence[int], epochs: int, batch_size: int, learning_rate: float, weight_decay: float
) -> dict[str, Any]:
    return {
        "network": "AE_bn_LeakyReLU",
        "nodes": list(nodes),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
    }


_FOUR = (4, 400, 400, 200, 3, 200, 400, 400, 4)
_ATLAS27 = (27, 400, 400, 200, 20, 200, 400, 400, 27)

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "phenoml_custom": _run(_FOUR, 500, 8192, 1e-4, 1e-2),
    "phenoml_standard": _run(_FOUR, 2, 1024, 1e-4, 1e-2),
    "phenoml_half": _run(_FOUR, 300, 8192, 1e-4, 1e-2),
    "darkmachines": _run(_FOUR, 500, 8192, 1e-4, 1e-2),
    "atlas27_quantile": _run(_ATLAS27, 100, 8192, 1e-4, 1e-2),
    "atlas27_custom": _run(_ATLAS27, 400, 8192, 1e-4, 1e-2),
    "whole_events": _run((), 20, 1024, 1e-4, 1e-2),
    "tla4": {
        **_run((4, 200, 200, 20, 3, 20, 200, 200, 4), 260, 256, 1e-3, 1e-6),
        "schedule": "constant",
        "rate_steps": ["10:1e-3", "50:1e-4", "100:1e-5", "100:1e-6"],
        "double": True,
    },
    **{
        f"thesis27_{latent}": _run((27, 200, 200, 200, latent, 200, 200, 200, 27), 1500, 4096, rate, decay)
        for latent, rate, decay in (
            (20, 1e-2, 1e-2),
            (18, 1e-2, 1e-2),
            (16, 3e-2, 1e-4),
            (14, 1e-2, 1e-2),
            (12, 1e-3, 1e-1),
            (10, 1e-3, 1e-2),
            (8, 1e-2, 1e-4),
        )
    },
}
