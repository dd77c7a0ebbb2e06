"""Settings of every fit, which a domain's TrainConfig extends; without torch, so that any image can read them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from hepml_core.config import to_settings
from hepml_core.errors import SettingError

Device = Literal["auto", "cpu", "gpu", "tpu"]
Precision = Literal["32", "bf16", "16"]

_PLACE_AND_PACE = ("checkpoints_root", "device", "compile", "channels_last")
"""Settings that change where and how fast a fit runs, not what it fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """Settings of ``training.fit``.

    A subclass that checks more says ``FitConfig.__post_init__(self)`` first: ``super()`` does not work with slots.
    """

    epochs: int = 10
    """Passes over the training events."""
    batch_size: int = 32
    """Events per step and process."""
    optimizer: Literal["adam", "adamw", "nadam", "sgd"] = "adam"
    """Rule that turns gradients into steps."""
    learning_rate: float = 1e-3
    """Learning rate; the highest one of the schedule."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of Adam's averages of the gradient and of its square."""
    epsilon: float = 1e-8
    """Term that keeps Adam's division finite."""
    momentum: float = 0.9
    """Momentum of sgd."""
    weight_decay: float = 0.0
    """Decay of the weights per step: in adam, nadam and sgd an L2 term, in adamw decoupled; biases and the scales of
    normalization layers do not decay."""
    schedule: Literal["constant", "plateau", "one_cycle", "cosine"] = "constant"
    """How the learning rate moves within a phase; one_cycle moves the momentum against it, between 0.95 and 0.85."""
    warmup_share: float = 0.3
    """Share of a phase's steps in which one_cycle (usual: 0.3) and cosine (usual: 0.05) raise the learning rate."""
    plateau_factor: float = 0.1
    """Factor on the learning rate when the monitored metric stands still (schedule plateau)."""
    plateau_patience: int = 5
    """Epochs without improvement before the learning rate falls (schedule plateau)."""
    min_learning_rate: float = 0.0
    """Floor of the learning rate of plateau and cosine."""
    clip_norm: float = 0.0
    """Largest norm of the gradient, longer ones are shortened to it; 0 is off."""
    patience: int = 0
    """Epochs without improvement after which a phase stops early; 0 is off."""
    min_improvement: float = 0.0
    """Change of the monitored metric that counts as improvement for patience and plateau."""
    monitor: str = "valid_loss"
    """Metric that names the best epoch: a column of history.csv, valid_ or train_ and the metric's name."""
    direction: Literal["lowest", "highest"] = "lowest"
    """Which value of the monitored metric is the best."""
    precision: Precision = "32"
    """Arithmetic of the network: 32 bit, or mixed with bfloat16 (about twice as fast on recent CPUs and GPUs) or with
    float16 (GPU only)."""
    device: Device = "auto"
    """Where to compute; auto takes an accelerator if there is one. For several GPUs or pods start by torchrun."""
    channels_last: bool = True
    """Keep images with their channels innermost, which convolutions prefer."""
    compile: bool = False
    """Compile the network (pays on GPUs in long fits; takes minutes at the start)."""
    seed: int = 1
    """Seed of initial weights, order of events and dropout."""
    checkpoints_root: str = ""
    """Folder (for example gs://bucket/prefix) for checkpoints, so that a pre-empted pod resumes; empty: inside the
    model folder."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "plateau_patience"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("epochs", "patience", "seed"):
            _require(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        for name in ("learning_rate", "epsilon"):
            _require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        for name in ("weight_decay", "clip_norm", "min_improvement", "min_learning_rate"):
            _require(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        _require(all(0 <= beta < 1 for beta in self.betas), "betas", "in [0, 1)", self.betas)
        _require(0 <= self.momentum < 1, "momentum", "in [0, 1)", self.momentum)
        _require(0 <= self.warmup_share < 1, "warmup_share", "in [0, 1)", self.warmup_share)
        _require(0 < self.plateau_factor < 1, "plateau_factor", "between 0 and 1", self.plateau_factor)
        _require(self.monitor.startswith(("valid_", "train_")), "monitor", "valid_… or train_…", self.monitor)


def fit_identity(config: FitConfig, *digests: str) -> str:
    """Digest of all that decides a fit's result: its settings and ``digests`` of data, statistics and start weights.

    A checkpoint carries it; the device, the checkpoints' place and the like are left out, so that a fit may move.
    """
    settings = {name: value for name, value in to_settings(config).items() if name not in _PLACE_AND_PACE}
    return hashlib.sha256(json.dumps([settings, *digests], sort_keys=True).encode()).hexdigest()


def _require(holds: bool, name: str, rule: str, value: object) -> None:
    if not holds:
        raise SettingError(f"{name} must be {rule}, got {value!r}")
