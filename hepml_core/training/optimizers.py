"""Which parameters a phase trains, and by which rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from hepml_core.errors import SettingError, UnknownNameError
from hepml_core.training.config import FitConfig
from hepml_core.training.schedules import Rate


def freeze(model: nn.Module, trainable: tuple[str, ...] | None, wanted: Mapping[str, bool]) -> Callable[[], None]:
    """Let only some parameters learn.

    Args:
        model: What to train.
        trainable: Names of modules or parameters; None is all.
        wanted: For each parameter, whether it may learn at all.

    Returns:
        A function that puts the model into training mode, its frozen parts into evaluation mode: neither dropout nor
        a step of the running statistics there.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(wanted[name] and _is_within(name, trainable))
    resting = [
        module
        for name, module in model.named_modules()
        if not _is_within(name, trainable) and not any(_is_within(one, (name,)) for one in trainable or ())
    ]

    def train() -> None:
        model.train()
        for module in resting:
            module.eval()

    return train


def check_trainable(model: nn.Module, trainable: tuple[str, ...] | None, phase: str) -> None:
    """Refuse names that the model does not have, and a phase in which nothing learns.

    Raises:
        UnknownNameError: There is no such module or parameter.
        SettingError: No parameter learns.
    """
    modules = [name for name, _ in model.named_modules() if name]
    parameters = dict(model.named_parameters())
    for name in trainable or ():
        if name not in modules and name not in parameters:
            raise UnknownNameError(
                "trainable part", name, [n for n, _ in model.named_children()], f"of phase {phase!r}"
            )
    if not any(one.requires_grad and _is_within(name, trainable) for name, one in parameters.items()):
        raise SettingError(f"nothing learns in phase {phase!r}: its trainable parts have no parameters")


def build_optimizer(model: nn.Module, config: FitConfig, learning_rate: float, *, fused: bool) -> torch.optim.Optimizer:
    """Return a fresh optimizer of the parameters that learn; only weights decay, no biases and scales.

    Args:
        model: Whose parameters.
        config: Names the rule.
        learning_rate: Its learning rate.
        fused: Update all parameters in one go, where the rule can.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights, others = [p for p in learning if p.ndim > 1], [p for p in learning if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": config.weight_decay}, {"params": others}]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=config.momentum, fused=fused)
    if config.optimizer == "nadam":
        return torch.optim.NAdam(groups, lr=learning_rate, betas=config.betas, eps=config.epsilon)
    rule = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return rule(groups, lr=learning_rate, betas=config.betas, eps=config.epsilon, weight_decay=0.0, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: Rate) -> None:
    """Set learning rate and, where the schedule moves it, momentum."""
    for group in optimizer.param_groups:
        group["lr"] = rate.learning_rate
        if rate.momentum is not None and "betas" in group:
            group["betas"] = (rate.momentum, group["betas"][1])
        elif rate.momentum is not None and group["momentum"]:
            group["momentum"] = rate.momentum


def _is_within(name: str, parts: tuple[str, ...] | None) -> bool:
    return parts is None or any(name == part or name.startswith(f"{part}.") or not part for part in parts)
