"""Ways to store jets without learning, as rows of the table that ``jets_compression`` prints.

Each takes all jets of a sample at once. Those that hold bounds store what misses its bound as it is, as our own codecs do.
Suffix n: jet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import uproot
from numpy.typing import NDArray

from benchmarks.jets_samples import Sample, Values
from hepml_core.jets.bounds import Bound
from hepml_core.jets.codecs import pack_exceptions, unpack_exceptions
from hepml_core.jets.grids import Grid
from hepml_core.jets.packing import pack, unpack
from hepml_core.jets.relations import LIKE, coding_order, first_guess, index_of, residuals
from hepml_core.jets.write_root import Compression, JetWriter

Numbers = NDArray[np.float32]
IntArray = NDArray[np.int64]
Guess = NDArray[np.float64] | None
Pack = Callable[[NDArray[Any]], bytes]
Unpack = Callable[[bytes], NDArray[Any]]


class Method(Protocol):
    """A way to store jets.

    Attributes:
        name: What the table calls it.
        needs: Package that it needs beyond those of the project; empty for none.
    """

    name: str
    needs: str

    def tune(self, sample: Sample) -> None:
        """Choose what depends on the sample, outside of the time that counts."""

    def encode(self, sample: Sample) -> list[bytes]:
        """Return the values as bytes."""

    def decode(self, parts: Sequence[bytes], sample: Sample) -> Values:
        """Return the values again; of the sample, its values may not be looked at."""

    def size(self, parts: Sequence[bytes]) -> int:
        """Return how many of the bytes count."""


@dataclass
class Stored:
    """What most methods share: a name, nothing to tune, and all bytes count."""

    name: str
    needs: str = field(default="", kw_only=True)

    def tune(self, sample: Sample) -> None:
        """See ``Method``."""

    def size(self, parts: Sequence[bytes]) -> int:
        """See ``Method``."""
        return sum(map(len, parts))


@dataclass
class Columns(Stored):
    """Each variable by itself, without loss."""

    pack: Pack
    unpack: Unpack

    def encode(self, sample: Sample) -> list[bytes]:
        """See ``Method``."""
        return [self.pack(value_n) for value_n in sample.values.values()]

    def decode(self, parts: Sequence[bytes], sample: Sample) -> Values:
        """See ``Method``."""
        return {name: self.unpack(part) for name, part in zip(sample.variables, parts, strict=True)}


@dataclass
class Rows(Stored):
    """All variables of a jet side by side, without loss."""

    pack: Pack
    unpack: Unpack

    def encode(self, sample: Sample) -> list[bytes]:
        """See ``Method``."""
        return [self.pack(np.stack(list(sample.values.values()), axis=1))]

    def decode(self, parts: Sequence[bytes], sample: Sample) -> Values:
        """See ``Method``."""
        value_nf = self.unpack(parts[0]).reshape(sample.jets, -1)
        return dict(zip(sample.variables, value_nf.T, strict=True))


@dataclass
class RootFile(Stored):
    """A flat tree, without loss; its baskets count, and nothing else of the file."""

    compression: Compression

    def encode(self, sample: Sample) -> list[bytes]:
        """See ``Method``."""
        types = {name: value_n.dtype for name, value_n in sample.values.items()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "jets.root"
            with JetWriter(
                path, "jets", event_branches={}, jet_branches=types, compression=self.compression, flat=True
            ) as writer:
                writer.extend({}, np.array([len(next(iter(sample.values.values())))]), sample.values)
            return [path.read_bytes()]

    def decode(self, parts: Sequence[bytes], sample: Sample) -> Values:
        """See ``Method``."""
        with tempfile.NamedTemporaryFile(suffix=".root") as file:
            file.write(parts[0])
            file.flush()
            with uproot.open(file.name) as root:
                return dict(root["jets"].arrays(list(sample.variables), library="np"))

    def size(self, parts: Sequence[bytes]) -> int:
        """See ``Method``."""
        with tempfile.NamedTemporaryFile(suffix=".root") as file:
            file.write(parts[0])
            file.flush()
            with uproot.open(file.name) as root:
                return sum(branch.compressed_bytes for branch in root["jets"].branches)


@dataclass
class Bounded(Stored):
    """A lossy compressor of floats, each variable with a parameter of its own; what misses its bound is an exception.

    Attributes:
        pack: Compresses numbers with a parameter.
        unpack: Gives them back.
        lossy: What ``unpack`` gives of what ``pack`` made; perhaps without making it.
        choices: Parameters for a bound, the one with the fewest bytes first, the last one sure to hold it.
        log: Whether it gets logarithms of what has a relative bound: its own errors are absolute.
        guessed: Whether it gets what remains of a variable when what the others tell of it is taken off.
    """

    pack: Callable[[Numbers, float], bytes]
    unpack: Unpack
    lossy: Callable[[Numbers, float], Numbers]
    choices: Callable[[Bound], Sequence[float]]
    log: bool
    guessed: bool = False
    chosen: dict[str, float] = field(default_factory=dict)

    def tune(self, sample: Sample) -> None:
        """Take for each variable the first parameter that makes no more exceptions than the last one."""
        known: dict[str, NDArray[Any]] = {}
        for name in coding_order(sample.variables):
            value_n, bound, guess = sample.values[name], sample.bounds[name], self._guess(name, sample, known)
            own_n = self._remains(name, value_n, guess, bound)

            def missed(parameter: float) -> int:
                kept_n = self._again(name, self.lossy(own_n, parameter), guess, bound)  # noqa: B023 - used at once
                return int(np.count_nonzero(~within(bound, value_n, kept_n)))  # noqa: B023

            *coarse, sure = self.choices(bound)
            least = missed(sure)
            self.chosen[name] = next((one for one in coarse if missed(one) <= least), sure)
            known[name] = value_n

    def encode(self, sample: Sample) -> list[bytes]:
        """See ``Method``: for each variable what the compressor made, and exceptions."""
        known: dict[str, NDArray[Any]] = {}
        parts = []
        for name in coding_order(sample.variables):
            value_n, bound, guess = sample.values[name], sample.bounds[name], self._guess(name, sample, known)
            content = self.pack(self._remains(name, value_n, guess, bound), self.chosen[name])
            kept_n = self._again(name, self.unpack(content), guess, bound)
            good_n = within(bound, value_n, kept_n)
            known[name] = np.where(good_n, kept_n, value_n)
            parts += [content, pack_exceptions(value_n, ~good_n)]
        return parts

    def decode(self, parts: Sequence[bytes], sample: Sample) -> Values:
        """See ``Method``."""
        known: dict[str, NDArray[Any]] = {}
        for name, content, exceptions in zip(coding_order(sample.variables), parts[::2], parts[1::2], strict=True):
            guess = self._guess(name, sample, known)
            known[name] = self._again(name, self.unpack(content), guess, sample.bounds[name])
            unpack_exceptions(exceptions, known[name])
        return known

    def _guess(self, name: str, sample: Sample, known: Values) -> Guess:
        return guess_of(name, sample.bounds, known) if self.guessed else None

    def _remains(self, name: str, value_n: Numbers, guess: Guess, bound: Bound) -> Numbers:
        """Return what the compressor gets of a variable: its logarithm or itself, over or less the guess."""
        own_n = value_n.astype(np.float64)
        if bound.relative and self.log:
            own_n = np.log(own_n, out=np.zeros_like(own_n), where=own_n > 0) - (0 if guess is None else guess)
        elif guess is not None:
            own_n = own_n / np.exp(guess) if bound.relative else _turned(name, own_n - guess)
        return own_n.astype(np.float32)

    def _again(self, name: str, remains_n: Numbers, guess: Guess, bound: Bound) -> Numbers:
        """Return the variable again."""
        own_n = remains_n.astype(np.float64)
        if bound.relative and self.log:
            own_n = np.exp(own_n + (0 if guess is None else guess))
        elif guess is not None:
            own_n = own_n * np.exp(guess) if bound.relative else _turned(name, own_n + guess)
        return (own_n if bound.size else np.rint(own_n)).astype(np.float32)


@dataclass
class Quantized(Stored):
    """Indices of a grid that holds the bound, by pcodec.

    Attributes:
        guessed: Whether what remains of them is stored when the first guess of ours is taken off: arithmetic alone.
    """

    guessed: bool

    def encode(self, sample: Sample) -> list[bytes]:
        """See ``Method``: indices and exceptions of each variable."""
        grids, parts = _grids(sample), []
        known: dict[str, IntArray] = {}
        for name, remains_n, index_n, good_n in residuals(grids, sample.values, known):
            known[name] = np.where(good_n, index_n, 0)
            parts += [
                pack(np.where(good_n, remains_n if self.guessed else index_n, 0)),
                pack_exceptions(sample.values[name], ~good_n),
            ]
        return parts

    def decode(self, parts: Sequence[bytes], sample: Sample) -> Values:
        """See ``Method``."""
        grids, values = _grids(sample), {}
        known: dict[str, IntArray] = {}
        for name, content, exceptions in zip(coding_order(sample.variables), parts[::2], parts[1::2], strict=True):
            index_n = unpack(content, np.int64, sample.jets)
            if self.guessed:
                index_n = index_of(name, grids[name], index_n, first_guess(name, grids, known))
            values[name] = grids[name].to_value(index_n, np.dtype(np.float32))
            index_n[unpack_exceptions(exceptions, values[name])] = 0
            known[name] = index_n
        return values


def within(bound: Bound, value_n: NDArray[Any], kept_n: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which values are kept within their bound; all those without one that are the same."""
    value_n, kept_n = value_n.astype(np.float64), kept_n.astype(np.float64)
    limit = bound.size * np.abs(value_n) if bound.relative else bound.size
    return np.asarray(np.abs(kept_n - value_n) <= limit)


def guess_of(name: str, bounds: Mapping[str, Bound], known: Values) -> Guess:
    """Return what the known variables tell of one, as a logarithm where its bound is relative: ``relations`` for floats."""
    if name == "E" and {"pt", "eta"} <= known.keys():
        mass_n = known["m"].astype(np.float64) if "m" in known else 0.0
        log_n: Guess = np.log(np.hypot(known["pt"] * np.cosh(known["eta"].astype(np.float64)), mass_n))
        return log_n
    like = LIKE.get(name, "")
    if like not in known or bounds[like].relative != bounds[name].relative:
        return None
    other_n = known[like].astype(np.float64)
    return np.log(other_n, out=np.zeros_like(other_n), where=other_n > 0) if bounds[name].relative else other_n


def _turned(name: str, angle_n: NDArray[np.float64]) -> NDArray[np.float64]:
    return (angle_n + np.pi) % (2 * np.pi) - np.pi if name.endswith("phi") else angle_n


def _grids(sample: Sample) -> dict[str, Grid]:
    return {name: Grid(name, bound) for name, bound in sample.bounds.items()}
