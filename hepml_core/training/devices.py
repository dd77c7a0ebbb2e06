"""Where a fit computes: CPU, GPU, many GPUs or TPU; the only door to Lightning Fabric.

Several processes are started by torchrun (which reads Kubeflow Trainer's PET_* variables) or by a PyTorchJob (which
sets RANK and WORLD_SIZE itself). Every process runs the same program on its own share of the events.
"""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hepml_core.errors import DependencyError, SettingError, TrainingError
from hepml_core.memory import memory_kept
from hepml_core.training.config import Device, Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

log = logging.getLogger(__name__)

Batch = Mapping[str, Tensor]
"""Tensors of one step by name; the first axis of the first one is the event."""

_BATCHES_AHEAD = 2


def open_fabric(device: Device, precision: Precision) -> Fabric:
    """Open the devices of this process and join the other processes, if there are any.

    Raises:
        SettingError: There is no such device, or it cannot compute with this precision.
        TrainingError: The process was to be one of several, but was not started by torchrun.
    """
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError as error:
        raise DependencyError("lightning-fabric", "train", "training") from error
    processes, per_node = _processes()
    accelerator = _accelerator(device)
    plugins: list[Any] = [] if precision == "32" else [_mixed_precision(precision, accelerator)]
    if processes == 1:
        fabric = Fabric(accelerator=accelerator, devices=1, plugins=plugins)
    else:
        fabric = Fabric(
            accelerator=accelerator,
            devices=per_node,
            num_nodes=processes // per_node,
            strategy=_strategy(accelerator),
            plugins=[*plugins, _environment()],
        )
    fabric.launch()
    _tell(fabric, precision)
    return fabric


class Feed:
    """Batches brought to a device: a thread draws the next ones while the device computes.

    Attributes:
        waited: Seconds that the device waited for data.
    """

    def __init__(self, batches: Iterator[Batch], device: torch.device) -> None:
        self._batches, self._device = batches, device
        self.waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        # The feed's thread computes alone. Did it have helpers of its own, those of this thread would go to sleep whenever
        # they wait for each other (so does GNU OpenMP with more threads than cores), and a step would take twice as long.
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(1, "feed", torch.set_num_threads, (1,)) as pool:
                coming = deque(pool.submit(self._draw) for _ in range(_BATCHES_AHEAD))
                while True:
                    start = time.perf_counter()
                    batch = coming.popleft().result()
                    self.waited += time.perf_counter() - start
                    if batch is None:
                        return
                    coming.append(pool.submit(self._draw))
                    yield {name: tensor.to(self._device, non_blocking=True) for name, tensor in batch.items()}
        finally:
            torch.set_num_threads(threads)

    def _draw(self) -> Batch | None:
        batch = next(self._batches, None)
        if batch is None or self._device.type != "cuda":
            return batch
        return {name: tensor.pin_memory() for name, tensor in batch.items()}


def inference_device(device: Device) -> torch.device:
    """Return the device to apply a model on.

    Raises:
        SettingError: A GPU was asked for and there is none.
    """
    if device == "gpu" and not torch.cuda.is_available():
        raise SettingError("device=gpu was asked for, but no GPU is to be seen; device=auto takes what there is")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def seeded(*numbers: int, device: torch.device | None = None) -> Iterator[None]:
    """Draw torch's random numbers from a seed made of ``numbers``; leave the global state as it was.

    Use it around the building of a model, so that its initial weights follow from the seed.
    """
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
    cuda = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield


@contextmanager
def tuned(device: torch.device) -> Iterator[None]:
    """Let cuDNN try its algorithms and keep the fastest, or a CPU's steps use the memory of the steps before."""
    if device.type == "cpu":
        with memory_kept():
            yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def put_channels_last(model: nn.Module) -> None:
    """Store the weights of convolutions with their channels innermost, those of 1 x 1 ones by their strides as well.

    Gradients come with such strides; other ones of the weights would cost a copy per step with several processes.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        if parameter.ndim in formats:
            ordered = torch.empty_like(parameter.data, memory_format=formats[parameter.ndim])
            parameter.data = ordered.copy_(parameter.data)


def _processes() -> tuple[int, int]:
    """Return the number of processes and how many of them run on this node."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = os.environ.get("PET_NNODES", "1")
    if nodes not in ("", "1"):
        raise TrainingError(
            f"this pod is one of {nodes}, but the program was not started by torchrun, so each would train alone: "
            "start it with 'torchrun -m hepml_core train …'"
        )
    return 1, 1


def _accelerator(device: Device) -> str:
    """Name the accelerator to use; refuse one that is not there."""
    from lightning_fabric.accelerators.cuda import CUDAAccelerator
    from lightning_fabric.accelerators.mps import MPSAccelerator
    from lightning_fabric.accelerators.xla import XLAAccelerator

    there = {"tpu": bool(XLAAccelerator.is_available()), "cuda": CUDAAccelerator.is_available()}
    there["mps"] = MPSAccelerator.is_available()
    wanted = {"auto": ("tpu", "cuda", "mps"), "gpu": ("cuda", "mps"), "tpu": ("tpu",), "cpu": ()}[device]
    for name in wanted:
        if there[name]:
            return name
    if device in ("gpu", "tpu"):
        hint = "a TPU needs the package torch_xla" if device == "tpu" else "does the pod ask for nvidia.com/gpu?"
        raise SettingError(f"device is {device}, but this process sees none ({hint}); device=auto takes what there is")
    return "cpu"


def _mixed_precision(precision: Precision, accelerator: str) -> Any:
    from lightning_fabric.plugins import MixedPrecision, XLAPrecision

    if accelerator == "tpu":
        if precision == "16":
            raise SettingError("precision 16 needs a GPU; on a TPU use bf16")
        return XLAPrecision("bf16-true")
    if precision == "16" and accelerator == "cpu":
        raise SettingError("precision 16 needs a GPU; on a CPU use bf16 or 32")

    class MixedInside(MixedPrecision):
        """Mixed precision that leaves a model's inputs alone: a raw pt of 1234.5 GeV would be 1232 in bfloat16."""

        def convert_input(self, data: Any) -> Any:
            return data

    return MixedInside("bf16-mixed" if precision == "bf16" else "16-mixed", accelerator)


def _strategy(accelerator: str) -> Any:
    """Return the strategy of several processes.

    Buffers are not broadcast at every step: ``fit`` brings them together before it validates.
    """
    from lightning_fabric.strategies.ddp import DDPStrategy

    if accelerator == "tpu":
        return "xla"
    known = inspect.signature(nn.parallel.DistributedDataParallel).parameters
    options: dict[str, Any] = {
        "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
    }
    return DDPStrategy(gradient_as_bucket_view=True, **options)


def _environment() -> ClusterEnvironment:
    """Describe this process from RANK, WORLD_SIZE and LOCAL_RANK, which torchrun and PyTorchJob set."""
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    os.environ.setdefault("LOCAL_RANK", "0")
    return TorchElasticEnvironment()


def _tell(fabric: Fabric, precision: Precision) -> None:
    if not fabric.is_global_zero:
        return
    log.info("computing on %s, %d process(es), precision %s", fabric.device, fabric.world_size, precision)
    if fabric.world_size == 1 and fabric.device.type == "cuda" and torch.cuda.device_count() > 1:
        log.info("using 1 of %d GPUs; start by torchrun to use all", torch.cuda.device_count())
