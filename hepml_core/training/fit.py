"""``fit``: the one training loop, for every domain and device."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from hepml_core.errors import SettingError, TrainingError, UnknownNameError
from hepml_core.progress import Bar, progress
from hepml_core.storage import Folder, open_folder
from hepml_core.training.checkpoints import Checkpoints, Restored, load_weights, restore
from hepml_core.training.config import FitConfig
from hepml_core.training.devices import Batch, Feed, open_fabric, put_channels_last, seeded, tuned
from hepml_core.training.history import WALL_TIME, write_history
from hepml_core.training.meters import Means, Watch, check_loss_scale, not_finite
from hepml_core.training.optimizers import build_optimizer, check_trainable, freeze, set_rate
from hepml_core.training.schedules import Rate, rate_at
from hepml_core.training.state import FitState

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

LossOf = Callable[[nn.Module, Batch], Mapping[str, Tensor]]
"""Calls the model on a batch and returns means over it, as scalars: ``loss`` and any other metric.

A key ``weight`` is the batch's share in the epoch's means, where that is not the number of its events (the sum of the
events' weights, the number of voxels). The model must be called as ``model(…)``: other methods know no precision.
"""


class Batches(Protocol):
    """Events in batches; the same (number, rank, world) gives the same batches."""

    def steps(self, world: int) -> int:
        """Return the number of batches that each of ``world`` processes gets per epoch."""

    def epoch(self, number: int, rank: int, world: int) -> Iterator[Batch]:
        """Yield the share of process ``rank`` of an epoch; it is drawn in another thread, with chance of its own.

        A training epoch has ``steps(world)`` batches on every process; validation may have fewer on some.
        """


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a fit with its own trainable parameters, optimizer and schedule."""

    name: str
    epochs: int
    trainable: tuple[str, ...] | None = None
    """Names of the modules or parameters that learn; None is all. The others rest: no gradients, no dropout, and the
    running statistics of their normalization stand still."""
    learning_rate: float | None = None
    """Learning rate, where it differs from the config's."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a fit came to; the model holds the weights of ``best_epoch``."""

    best_epoch: int
    metrics: dict[str, float]
    """The best epoch's ``train_…`` and ``valid_…`` metrics."""
    history: list[dict[str, Any]]
    """One row per epoch, as in ``history.csv``."""
    writes: bool
    """Whether this process is the one, of several, that writes files."""


def fit(
    model: nn.Module,
    *,
    loss_of: LossOf,
    train: Batches,
    valid: Batches,
    config: FitConfig,
    folder: Folder,
    identity: str,
    phases: Sequence[Phase] = (),
) -> FitResult:
    """Train a model; leave it with the weights of its best epoch, on the CPU and in evaluation mode.

    A fit that was killed goes on after its last whole epoch; one that is finished returns at once.

    Args:
        model: What to train, with its initial weights.
        loss_of: Computes the loss and metrics of a batch.
        train: Training events.
        valid: Validation events.
        config: Settings.
        folder: Model folder; gets ``history.csv``, ``tensorboard/`` and ``checkpoints/``.
        identity: Digest of all that decides the result (``training.config.fit_identity``).
        phases: One after the other; none means one phase of ``config.epochs`` with all parameters.

    Raises:
        TrainingError: The loss or a gradient is not finite, or memory is out; earlier checkpoints are kept.
        FolderError: The folder holds checkpoints of another identity.
        UnknownNameError: A phase or ``config.monitor`` names what is not there.
    """
    plan = [phase for phase in phases or (Phase("train", config.epochs),) if phase.epochs]
    if not plan:
        raise SettingError("epochs must be at least 1: there is nothing to train")
    for phase in plan:
        check_trainable(model, phase.trainable, phase.name)
    fabric = open_fabric(config.device, config.precision)
    place = open_folder(config.checkpoints_root) / identity[:16] if config.checkpoints_root else folder / "checkpoints"
    checkpoints = Checkpoints(place, identity)
    found = fabric.broadcast(checkpoints.read_last() if fabric.is_global_zero else None)
    restored = restore(found) if found else Restored(FitState(), {}, {})
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    run = _Run(model, loss_of, train, valid, config, plan, folder, fabric, checkpoints, restored.state, wanted)
    try:
        if not run.state.finished:
            run.go_on(restored)
        best = checkpoints.read_best(run.state.best_epoch) if fabric.is_global_zero else b""
        load_weights(model, fabric.broadcast(best), "the best epoch's weights")
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(wanted[name])
            parameter.grad = None
        model.cpu().eval()
    return run.result()


@dataclass(slots=True)
class _Run:
    """A fit under way."""

    model: nn.Module
    loss_of: LossOf
    train: Batches
    valid: Batches
    config: FitConfig
    plan: list[Phase]
    folder: Folder
    fabric: Fabric
    checkpoints: Checkpoints
    state: FitState
    wanted: dict[str, bool]

    def go_on(self, restored: Restored) -> None:
        """Run the epochs that are left."""
        if restored.model:
            restored.load_model(self.model)
            log.info("going on after epoch %d", self.state.epoch)
        if self.config.channels_last:
            put_channels_last(self.model)
        self.fabric.to_device(self.model)
        epochs = sum(phase.epochs for phase in self.plan[self.state.phase :]) - self.state.epoch_of_phase
        with tuned(self.fabric.device), _bar(self.fabric, epochs * self.train.steps(self.fabric.world_size)) as bar:
            for phase in self.plan[self.state.phase :]:
                self._run_phase(phase, restored, bar)
                restored = Restored(self.state, {}, {})

    def result(self) -> FitResult:
        """Return what the fit came to."""
        state = self.state
        row = state.history[state.best_epoch - 1]
        metrics = {name: float(row[name]) for name in row if name.startswith(("train_", "valid_"))}
        return FitResult(state.best_epoch, metrics, state.history, self.fabric.is_global_zero)

    def _run_phase(self, phase: Phase, restored: Restored, bar: Bar) -> None:
        into_training_mode = freeze(self.model, phase.trainable, self.wanted)
        fused = self.fabric.device.type in ("cpu", "cuda") and self.config.precision != "16"
        optimizer = build_optimizer(self.model, self.config, self._highest_rate(phase), fused=fused)
        restored.load_optimizer(self.model, optimizer)
        if self.state.scaler:
            self.fabric.strategy.precision.load_state_dict(self.state.scaler)
        network = cast(nn.Module, torch.compile(self.model)) if self.config.compile else self.model
        wrapped, stepper = self.fabric.setup(network, optimizer)
        number = self.state.phase
        while self.state.phase == number:
            start = time.perf_counter()
            into_training_mode()
            row = self._train_epoch(wrapped, stepper, phase, bar)
            row |= self._validate(wrapped, row)
            row |= {"seconds": time.perf_counter() - start, WALL_TIME: time.time()}
            self._conclude_epoch(phase, row, optimizer)

    def _train_epoch(self, wrapped: nn.Module, optimizer: Any, phase: Phase, bar: Bar) -> dict[str, Any]:
        """Take the steps of one epoch; return the first part of its row."""
        rank, world, device = self.fabric.global_rank, self.fabric.world_size, self.fabric.device
        steps, epoch = self.train.steps(world), self.state.epoch
        means, watch = Means(self.fabric), Watch(epoch + 1, device, self._highest_rate(phase))
        feed, rate = Feed(self.train.epoch(epoch, rank, world), device), self._rate(phase, 0, steps)
        start = time.perf_counter()
        with seeded(self.config.seed, epoch, rank, device=device), _memory_errors(self.config):
            for step, batch in enumerate(feed):
                rate = self._rate(phase, step, steps)
                set_rate(optimizer, rate)
                losses = self.loss_of(wrapped, batch)
                optimizer.zero_grad()
                self.fabric.backward(losses["loss"])
                watch.look(losses["loss"], self._gradient_norm(optimizer))
                optimizer.step()
                means.add(losses, batch)
                if step == 0:
                    _check_monitor(self.config, means.names)
                bar.advance(1, self._note(watch.loss))
            watch.check()
        if means.steps != steps:
            raise TrainingError(f"process {rank} got {means.steps} training batches where {steps} were promised")
        seconds = time.perf_counter() - start
        row = {"epoch": epoch + 1, "phase": phase.name, "learning_rate": rate.learning_rate}
        row |= {f"train_{name}": value for name, value in means.over_all_processes().items()}
        return row | {"events_per_second": means.events / seconds, "data_wait": feed.waited / seconds}

    def _validate(self, wrapped: nn.Module, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metrics of the validation events, exact over all processes."""
        _join_buffers(self.model, self.fabric)
        self.model.eval()
        names = tuple(name.removeprefix("train_") for name in row if name.startswith("train_"))
        rank, world = self.fabric.global_rank, self.fabric.world_size
        means = Means(self.fabric, names)
        with torch.no_grad(), _memory_errors(self.config):
            for batch in Feed(self.valid.epoch(0, rank, world), self.fabric.device):
                means.add(self.loss_of(wrapped, batch), batch)
        metrics = means.over_all_processes()
        if not means.events:
            raise TrainingError("there are no validation events, so the best epoch cannot be told")
        return {f"valid_{name}": value for name, value in metrics.items()}

    def _conclude_epoch(self, phase: Phase, row: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Judge the epoch, move the state on, publish history and checkpoint."""
        state, config = self.state, self.config
        for name in ("train_loss", "valid_loss", config.monitor):
            if not math.isfinite(row[name]):
                raise not_finite(name, f"epoch {row['epoch']}", self._highest_rate(phase))
        state.judge(row[config.monitor], config)
        state.history.append(row)
        state.scaler = dict(self.fabric.strategy.precision.state_dict())
        check_loss_scale(state.scaler, state.epoch)
        stale = 0 < config.patience <= state.standing
        ended = stale or state.epoch_of_phase == phase.epochs
        if ended:
            state.end_phase(len(self.plan))
        if self.fabric.is_global_zero:
            write_history(self.folder, state.history)
            self.checkpoints.write(self.model, None if ended else optimizer, state)
            best = ", best" if state.best_epoch == state.epoch else ""
            log.info("%s%s", _sentence(row, self._epochs), best)
            if stale:
                log.info("phase %s stops early: no improvement in %d epochs", phase.name, config.patience)

    def _highest_rate(self, phase: Phase) -> float:
        return phase.learning_rate or self.config.learning_rate

    def _rate(self, phase: Phase, step: int, steps: int) -> Rate:
        done = self.state.epoch_of_phase * steps + step
        return rate_at(self.config, self._highest_rate(phase), done, phase.epochs * steps, self.state.reductions)

    def _gradient_norm(self, optimizer: Any) -> Tensor | None:
        """Return the norm of the gradient and shorten it to ``clip_norm``; None where it need not be finite.

        With precision 16 a step whose gradient overflows is left out and the loss scaled down.
        """
        norm: Tensor | None = None
        limit = self.config.clip_norm
        if limit:
            norm = self.fabric.clip_gradients(self.model, optimizer, max_norm=limit, error_if_nonfinite=False)
        elif self.config.precision != "16":
            norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        return None if self.config.precision == "16" else norm

    @property
    def _epochs(self) -> int:
        return sum(phase.epochs for phase in self.plan)

    def _note(self, loss: float) -> str:
        text = f"epoch {self.state.epoch + 1}/{self._epochs} loss {loss:.4g}"
        return f"{text} valid {self.state.history[-1]['valid_loss']:.4g}" if self.state.history else text


def _check_monitor(config: FitConfig, names: tuple[str, ...]) -> None:
    columns = [f"{split}_{name}" for split in ("train", "valid") for name in names]
    if config.monitor not in columns:
        raise UnknownNameError("metric", config.monitor, columns, "in monitor")


def _join_buffers(model: nn.Module, fabric: Fabric) -> None:
    """Average running statistics over the processes; in double precision, so that equal ones stay what they are."""
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    if fabric.world_size == 1 or not buffers:
        return
    sizes = [buffer.numel() for buffer in buffers]
    flat = torch.cat([buffer.flatten().double() for buffer in buffers])
    mean: Tensor = fabric.all_reduce(flat, reduce_op="mean")  # type: ignore[assignment]
    for buffer, part in zip(buffers, torch.split(mean, sizes), strict=True):
        buffer.copy_(part.view_as(buffer))


def _sentence(row: Mapping[str, Any], epochs: int) -> str:
    metrics = ", ".join(f"{name} {row[name]:.4g}" for name in row if name.startswith(("train_", "valid_")))
    pace = f"{row['events_per_second']:.0f} events/s, {row['seconds']:.1f} s"
    return f"epoch {row['epoch']}/{epochs} ({row['phase']}): {metrics}, {pace}"


@contextmanager
def _memory_errors(config: FitConfig) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the device is out of memory: lower batch_size (it is {config.batch_size}) or use precision=bf16"
        ) from error


@contextmanager
def _bar(fabric: Fabric, steps: int) -> Iterator[Bar]:
    if fabric.is_global_zero:
        with progress("train", steps, "steps") as bar:
            yield bar
    else:
        yield _Silence()


class _Silence:
    """The bar of a process that is not the one to speak."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Say nothing."""
