"""Settings of the ecal stages; the defaults are the reference run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hepml_core.config import check_positive, check_seed
from hepml_core.ecal.presets import PRESETS
from hepml_core.errors import SettingError
from hepml_core.splits import check_fractions
from hepml_core.training.config import FitConfig

Architecture = Literal["cnn3d", "cnn3d_opt", "bearnet", "hit_transformer"]
TimeOrigin = Literal["trigger", "seed", "energy_weighted"]
EnergyScale = Literal["none", "max", "standard", "log"]
EarlyHits = Literal["first", "drop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateConfig:
    """Reference run: electrons and photons of pt 50 GeV in a toy CMS barrel, like the public sample in the README's table."""

    events_per_class: int = 20_000
    """Photons, and as many electrons."""

    events_per_file: int = 250_000
    """Events of a class in one file at most; the public sample has one file of 249,000 a class."""

    seed: int = 0
    """Seed of all chance; a file depends on it, its class and its number, and on no other file."""

    pt_gev: float = 50.0
    """Transverse momentum of the particle, in GeV; files are in units of 50 GeV, whatever it is."""

    eta_max: float = 1.2
    """Pseudorapidities are uniform up to this absolute value; beyond it, 32 crystals would not fit into the barrel."""

    positron_fraction: float = 0.3
    """Part of the electrons that are positrons; 0.5 makes the electrons' mean image symmetric, which the real one is not."""

    field_tesla: float = 3.8
    """Field of the solenoid along the beam, in T."""

    material_scale: float = 1.0
    """Factor on the tracker's thickness, 0.4 radiation lengths at eta 0 and 1.4 at 1.2."""

    width_jitter: float = 0.15
    """Relative spread of a shower's width from one to the next, beyond what its depth makes of it."""

    spot_gev: float = 0.005
    """Energy of the spots that a shower is made of, in GeV: few spots mean large fluctuations from crystal to crystal."""

    noise_gev: float = 0.040
    """Noise of a crystal, in GeV."""

    trigger_jitter_ns: float = 0.18
    """Spread of the collision's time, which all hits of an event share, in ns."""

    def __post_init__(self) -> None:
        check_positive(events_per_class=self.events_per_class, events_per_file=self.events_per_file)
        check_seed(self.seed)
        for name, low, high in (
            ("pt_gev", 5.0, 500.0),
            ("eta_max", 0.01, 1.4),
            ("positron_fraction", 0.0, 1.0),
            ("field_tesla", 0.0, 10.0),
            ("material_scale", 0.0, 5.0),
            ("width_jitter", 0.0, 0.6),
            ("spot_gev", 0.0005, 0.1),
            ("noise_gev", 0.001, 1.0),
            ("trigger_jitter_ns", 0.0, 25.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise SettingError(f"{name} must be between {low:g} and {high:g}, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertConfig:
    """Reference run: every hit of every event of the public sample, or of files like it."""

    start: int = 0
    """First row to take of each file."""

    stop: int = 0
    """Row before which to end in each file; 0 takes all. A row beyond the end of a file is an error."""

    min_energy: float = 0.0
    """Keep hits above this energy, in units of 50 GeV as the files have it; movies cut again (train: min_energy)."""

    max_time: float = 100.0
    """Keep hits with a smaller absolute time, in units of 25 ns."""

    crop: int = 0
    """Rows and columns to keep in the middle of each image; 0 keeps all."""

    energy_scale: float = 1.0
    """Factor that brings the files' energies to units of 50 GeV (0.02 for GeV)."""

    time_scale: float = 1.0
    """Factor that brings the files' times to units of 25 ns (0.04 for ns)."""

    check_units: bool = True
    """Refuse energies or times that look as if they were in another unit."""

    on_bad_input: Literal["fail", "skip"] = "fail"
    """Stop at the first bad event (NaN, negative energy, a label other than 0 and 1), or leave such out and count them."""

    records_per_shard: int = 10_000
    """Events a shard."""

    shards_root: str = ""
    """Folder for the shards (for example gs://bucket/prefix), where they are not to lie beside the manifest."""

    def __post_init__(self) -> None:
        check_positive(records_per_shard=self.records_per_shard)
        for name in ("start", "stop", "crop", "min_energy"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("max_time", "energy_scale", "time_scale"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.stop and self.stop <= self.start:
            raise SettingError(f"stop must be above start={self.start}, got {self.stop}")


@dataclass(frozen=True, kw_only=True, slots=True)
class OrganizeConfig:
    """Reference run: 70 % to train, 15 % to choose the best epoch, 15 % that are looked at once, at the end."""

    method: Literal["hash", "rows"] = "hash"
    """Split by the hash of an event's file and row, or by rows as the original did: see valid_row and test_row."""

    train_fraction: float = 0.7
    """Fraction of the events to train on (method hash)."""

    valid_fraction: float = 0.15
    """Fraction of the events that choose the best epoch (method hash)."""

    test_fraction: float = 0.15
    """Fraction of the events for the evaluation (method hash)."""

    valid_row: int = 160_000
    """First row of each file that goes to valid (method rows)."""

    test_row: int = 204_800
    """First row of each file that goes to test (method rows)."""

    seed: int = 0
    """Seed of the splits and of the order of events."""

    exact: bool = False
    """Split each class to exactly the asked fractions (method hash). Otherwise the hash of an event decides alone: sizes
    fluctuate, and no event ever moves to another split when data are added."""

    balanced: bool = False
    """Keep the same number of photons and electrons in a split."""

    records_per_shard: int = 10_000
    """Events a shard; one shard is held in memory."""

    shards_root: str = ""
    """Folder for the shards (for example gs://bucket/prefix), where they are not to lie beside the manifest."""

    def __post_init__(self) -> None:
        check_fractions(self.train_fraction, self.valid_fraction, self.test_fraction)
        check_positive(records_per_shard=self.records_per_shard, valid_row=self.valid_row)
        check_seed(self.seed)
        if self.test_row <= self.valid_row:
            raise SettingError(f"test_row must be above valid_row={self.valid_row}, got {self.test_row}")


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalizeConfig:
    """Reference run: logarithms of energies, in units of their spread, and times against the trigger."""

    energy: EnergyScale = "log"
    """How a network sees energies: as they are (none), divided by the largest (max, as the original's MinMaxScaler) or by
    their standard deviation (standard), or as log(1 + E / log_energy), divided by its standard deviation (log). No energy
    stays 0 in all of them, so that crystals without a hit stay empty."""

    log_energy: float = 2e-3
    """Energy above which log is a logarithm, in units of 50 GeV; the noise of a crystal is a good choice."""

    time: TimeOrigin = "trigger"
    """What times are measured against: the trigger, whose jitter all hits of an event share, the event's hit of highest
    energy (seed), or the mean of its hits' times weighted by energy."""

    max_samples: int = 0
    """Use at most this many training events of each class; 0 uses all."""

    def __post_init__(self) -> None:
        if not self.log_energy > 0:
            raise SettingError(f"log_energy must be above 0, got {self.log_energy}")
        if self.max_samples < 0:
            raise SettingError(f"max_samples must be 0 or a number of events, got {self.max_samples}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig(FitConfig):
    """Reference run: the network on hits; command, time and result are in the README."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    preset: str = ""
    """Settings of a run of the original by name (run_cnn3d, run_cnn3d_opt, bearnet_truncated); others that
    are given go before."""

    architecture: Architecture = "hit_transformer"
    """Network: the original's 3D networks on movies (cnn3d, cnn3d_opt), its 2D one on energies (bearnet), or one that
    attends to the hits themselves with their times (hit_transformer)."""

    use_time: bool = True
    """Whether the network sees times. Without, hit_transformer gets energies alone; with, bearnet gets a second channel
    (the original had none). Movies are times."""

    events_per_class: int = 0
    """Train on so many events of each class, the same ones in every run; 0 takes all."""

    valid_events_per_class: int = 0
    """Choose the best epoch on so many events of each class; 0 takes all."""

    crop: int = 0
    """Rows and columns in the middle of the image that the network sees; 0 takes all."""

    min_energy: float = 0.005
    """Smallest energy of a hit in a movie, in units of 50 GeV (250 MeV); networks without a movie see every hit."""

    t_min: float = -0.1
    """First edge of the time windows of a movie, in units of 25 ns."""

    t_max: float = 0.1
    """The last window ends at or, where the range is no whole number of steps, less than a step before this time."""

    t_step: float = 0.0099
    """Length of a time window, in units of 25 ns."""

    cumulative: bool = True
    """A hit stays in all later frames of a movie; otherwise it is in the frame of its time alone."""

    early: EarlyHits = "first"
    """Hits before the first window: in the first frame (as the original's cumulative movies did), or left out."""

    dropout: float = 0.2
    """Share of the features that is left out at random while training."""

    mirror: bool = True
    """Show half of the training events mirrored in eta, which no physics tells apart."""

    epochs: int = 8
    """Passes over the training events."""

    batch_size: int = 100
    """Events per step and process."""

    learning_rate: float = 1e-3
    """Learning rate; the highest one of the schedule."""

    schedule: Literal["constant", "plateau", "one_cycle", "cosine"] = "one_cycle"
    """How the learning rate moves within a phase; one_cycle moves the momentum against it, between 0.95 and 0.85."""

    def __post_init__(self) -> None:
        FitConfig.__post_init__(self)
        if self.epochs < 1:
            raise SettingError(f"epochs must be at least 1, got {self.epochs}")
        for name in ("events_per_class", "valid_events_per_class", "crop", "min_energy"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout must be in [0, 1), got {self.dropout}")
        if not self.t_step > 0 or self.t_max - self.t_min < self.t_step:
            raise SettingError(
                f"t_step must be above 0 and no longer than the range from {self.t_min} to {self.t_max}, got {self.t_step}"
            )
        if self.architecture.startswith("cnn3d") and not self.use_time:
            raise SettingError(f"{self.architecture} looks at movies: use_time=false goes with the other networks")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Reference run: all test events, 500 bootstrap replicas."""

    batch_size: int = 500
    """Events that are classified at once."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    replicas: int = 500
    """Bootstrap replicas for the errors of the areas under the curves."""

    slices: int = 5
    """Slices of equal numbers of events, in energy and (where files tell it) in pseudorapidity, each with its own area."""

    movies: int = 3
    """Movies of each class on the page: the first one, and those that the model is most sure of and wrong about."""

    seed: int = 0
    """Seed of the bootstrap."""

    def __post_init__(self) -> None:
        check_positive(batch_size=self.batch_size, replicas=self.replicas, slices=self.slices)
        if self.movies < 0:
            raise SettingError(f"movies must not be negative, got {self.movies}")
        check_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictConfig:
    """Reference run: every row of every file, with or without labels."""

    batch_size: int = 500
    """Events that are classified at once."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    energy_scale: float = 1.0
    """Factor that brings the files' energies to units of 50 GeV (0.02 for GeV)."""

    time_scale: float = 1.0
    """Factor that brings the files' times to units of 25 ns (0.04 for ns)."""

    check_units: bool = True
    """Refuse energies or times that look as if they were in another unit."""

    on_bad_input: Literal["fail", "skip"] = "fail"
    """Stop at the first bad event, or leave such out and count them."""

    def __post_init__(self) -> None:
        check_positive(batch_size=self.batch_size)
        for name in ("energy_scale", "time_scale"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be above 0, got {getattr(self, name)}")
