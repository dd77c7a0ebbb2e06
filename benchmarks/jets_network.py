"""jets: what the networks of the codecs reach of bare matrix products, and what all else costs beside them.

Suffixes: n row, d input.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from benchmarks.jets_compression import Blocks, measure
from benchmarks.jets_samples import RECIPES, Sample, Sizes, toy_sample, toy_source
from hepml_core.jets.codecs import ColumnCodec
from hepml_core.jets.compress import compress
from hepml_core.jets.config import CompressConfig, DecompressConfig
from hepml_core.jets.decompress import decompress
from hepml_core.jets.density import ExactNetwork
from hepml_core.jets.density_coder import prepare
from hepml_core.jets.density_fit import read_density
from hepml_core.jets.grids import Grid
from hepml_core.jets.inference import Reconstructor
from hepml_core.jets.model import Autoencoder
from hepml_core.memory import memory_kept
from hepml_core.storage import open_folder

ROUNDS = 9
STAGE_ROUNDS = 3
BARE_ROWS = (512, 1024, 2048, 8192, 65536)
"""Rows at once of the bare products; the fastest of two rounds each counts."""


def jets_network(work: Path, sizes: Sizes) -> None:
    """Networks of the codecs against bare matrix products, and what quantizing, coding and I/O cost beside them; one core."""
    torch.set_num_threads(1)
    for name in RECIPES:
        sample = toy_sample(name, sizes)
        print(f"   {sample.title}; {sample.jets} jets, times of one core's clock:")
        _autoencoder(sample)
        _density(sample)
        _columns(sample)
    print("   ROOT to archive and back:")
    for name in ("atlas4", "atlas27"):
        _parts(work, name, sizes)


def _autoencoder(sample: Sample) -> None:
    """Time encode and decode with everything around the network, and the products of its sizes alone."""
    reconstructor = Reconstructor(sample.models["autoencoder"], "cpu")
    value_nf = np.stack(list(sample.values.values()), axis=1)
    latent_nz = reconstructor.encode(value_nf)
    nodes, middle = reconstructor.network.nodes, len(reconstructor.network.nodes) // 2
    for what, work, widths in (
        ("encode", lambda: reconstructor.encode(value_nf), nodes[: middle + 1]),
        ("decode", lambda: reconstructor.decode(latent_nz), nodes[middle:]),
    ):
        _print_ratio(f"autoencoder, {what}", sample.jets, work, [widths], torch.float32)


def _density(sample: Sample) -> None:
    """Time the choice of contexts of all variables, and the products of its sizes alone."""
    coder = read_density(sample.models["density"]).coder()
    network = coder.network
    input_nd = prepare(coder.grids, coder.alphabets, sample.values, sample.count_e).input_nd
    variables, inputs, hidden = network.weights["weight1_vdh"].shape
    contexts = network.weights["weight3_vhk"].shape[2]
    chains = [(inputs - variables + number, hidden, hidden, contexts) for number in range(variables)]
    _print_ratio("density, contexts", sample.jets, lambda: network.contexts(input_nd), chains, torch.float64)


def _print_ratio(
    what: str, rows: int, work: Callable[[], object], chains: Sequence[Sequence[int]], dtype: torch.dtype
) -> None:
    """Time work on rows, and bare chains of products of the given widths, in turn: the machine's speed wanders."""
    bare = {at_once: [Chain.of(widths, dtype, at_once) for widths in chains] for at_once in BARE_ROWS}

    def multiply(at_once: int) -> None:
        for chain in bare[at_once]:
            chain.run(rows)

    fastest = min(BARE_ROWS, key=lambda at_once: min(_seconds(partial(multiply, at_once)) for _ in range(2)))
    pairs = [(_seconds(work), _seconds(partial(multiply, fastest))) for _ in range(ROUNDS)]
    own, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(bare_seconds / seconds for seconds, bare_seconds in pairs)
    rates = f"{rows / own / 1e3:.0f} k jets/s, bare products {rows / peer / 1e3:.0f} k jets/s"
    print(f"   {what}: {rates}: ratio {ratio:.2f}", flush=True)


@dataclass(frozen=True)
class Chain:
    """Matrix products one after the other, into tensors that are there."""

    given: Tensor
    weights: Sequence[Tensor]
    kept: Sequence[Tensor]

    @classmethod
    def of(cls, widths: Sequence[int], dtype: torch.dtype, at_once: int) -> Chain:
        """Make the tensors for so many rows at once."""
        weights = [torch.randn(a, b, dtype=dtype) for a, b in pairwise(widths)]
        kept = [torch.empty(at_once, width, dtype=dtype) for width in widths[1:]]
        return cls(torch.randn(at_once, widths[0], dtype=dtype), weights, kept)

    def run(self, rows: int) -> None:
        """Multiply so many rows, or the next multiple of those at once."""
        with torch.inference_mode():
            for _ in range(-(-rows // len(self.given))):
                before = self.given
                for weight, after in zip(self.weights, self.kept, strict=True):
                    torch.mm(before, weight, out=after)
                    before = after


def _seconds(work: Callable[[], object]) -> float:
    """Return the time of this process's threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _columns(sample: Sample) -> None:
    """Time the codec without a network, which keeps its memory from block to block as in compress."""
    codec = ColumnCodec({name: Grid(name, bound) for name, bound in sample.bounds.items()})
    with memory_kept():
        rows = [measure(Blocks("codec=columns", codec), sample) for _ in range(ROUNDS)]
    encode, decode = sorted(row.encode_mb for row in rows), sorted(row.decode_mb for row in rows)
    said = f"{statistics.median(encode):.0f} MB/s ({encode[0]:.0f} to {encode[-1]:.0f})"
    print(f"   codec=columns encodes {said}, decodes {statistics.median(decode):.0f} MB/s", flush=True)


def _parts(work: Path, name: str, sizes: Sizes) -> None:
    """Compress and decompress a ROOT file by each model, in turn; print the time of its network and of all the rest."""
    sample, source = toy_sample(name, sizes), min(toy_source("xaod_root", sizes).glob("*.root"))
    for method, folder in sample.models.items():
        archive, restored = open_folder(work / f"{name}-{method}.hepml"), open_folder(work / f"{name}-{method}.root")
        stages: dict[str, Callable[[], Mapping[str, float]]] = {
            "compress": partial(compress, open_folder(source), archive, CompressConfig(), folder),
            "decompress": partial(decompress, archive, restored, DecompressConfig(), folder),
        }
        seconds: dict[str, list[tuple[float, float]]] = {what: [] for what in stages}
        for _ in range(STAGE_ROUNDS):
            for what, stage in stages.items():
                with network_clock() as clock:
                    start = time.process_time()
                    jets = stage()["jets"]
                    seconds[what].append((clock.seconds, time.process_time() - start - clock.seconds))
        for what, rounds in seconds.items():
            own, other = (1e6 * statistics.median(side) / jets for side in zip(*rounds, strict=True))
            ratio = statistics.median(rest / network for network, rest in rounds)
            said = f"network {own:.2f} us a jet, all else {other:.2f} us: {ratio:.2f} of it"
            print(f"   {name}, {method}, {what}: {said}", flush=True)


@dataclass
class Clock:
    """Adds up the time of this process's threads that calls take."""

    seconds: float = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time taken."""

        def call(*given: Any) -> Any:
            start = time.process_time()
            try:
                return function(*given)
            finally:
                self.seconds += time.process_time() - start

        return call


@contextmanager
def network_clock() -> Iterator[Clock]:
    """Take the time of all networks."""
    clock = Clock()
    with ExitStack() as stack:
        for kind, name in (
            (Autoencoder, "encode"),
            (Autoencoder, "decode"),
            (ExactNetwork, "contexts"),
            (ExactNetwork, "contexts_of"),
        ):
            stack.enter_context(patch.object(kind, name, clock.timed(getattr(kind, name))))
        yield clock
