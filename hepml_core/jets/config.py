"""Settings of the jets stages; the defaults are the reference run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hepml_core.config import check_positive, check_seed
from hepml_core.errors import SettingError
from hepml_core.jets.bounds import parse_bounds
from hepml_core.jets.presets import PRESETS
from hepml_core.jets.variables import check_objects, choose_variables
from hepml_core.splits import check_fractions
from hepml_core.training.config import FitConfig

Format = Literal["auto", "root", "csv"]
Units = Literal["auto", "MeV", "GeV"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateConfig:
    """Reference run: events with jets, leptons and photons as PhenoML files write them."""

    events: int = 100_000
    """Events to make."""

    format: Literal["phenoml_csv", "darkmachines_csv", "xaod_root", "flat_root"] = "phenoml_csv"
    """What to write: text of PhenoML or DarkMachines (E, pt, eta, phi of every object), ROOT with branches named and
    jagged as in an xAOD (27 variables of each jet), or a flat ROOT tree with a row for each jet."""

    processes: tuple[str, ...] = ("dijet", "ttbar", "gluino")
    """Processes, in equal parts; one file each: dijet, ttbar, gluino, zprime_350, zprime_600 (di-jet resonances)."""

    min_pt: float = 20.0
    """Smallest transverse momentum of an object, in GeV."""

    events_per_file: int = 1_000_000
    """Events of a process in one file at most."""

    seed: int = 0
    """Seed of all chance; a file depends on it, its process and its number, and on no other file."""

    def __post_init__(self) -> None:
        check_positive(events=self.events, events_per_file=self.events_per_file)
        check_seed(self.seed)
        if not self.processes or len(set(self.processes)) != len(self.processes):
            raise SettingError(f"processes must differ and be at least one, got {', '.join(self.processes)}")
        if not 5 <= self.min_pt <= 1000:
            raise SettingError(f"min_pt must be between 5 and 1000 GeV, got {self.min_pt}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertConfig:
    """Reference run: E, pt, eta, phi of every object of PhenoML files, or pt, eta, phi, m of every jet of ROOT files."""

    format: Format = "auto"
    """Kind of the source files; auto goes by their endings."""

    variables: tuple[str, ...] = ()
    """Variables to keep: names, or the name of a set (atlas27, atlas25, atlas16, atlas4, tla4, thesis4, phenoml4).
    Empty means E, pt, eta, phi for CSV and pt, eta, phi, m for ROOT files."""

    tree: str = ""
    """Tree of the ROOT files; empty looks for CollectionTree, EventData, Events, Delphes, AnalysisMiniTree, or the only
    one there is."""

    collection: str = ""
    """What stands before the variables in the names of branches (AntiKt4EMTopoJetsAuxDyn, Jet, trigger_akt4_pf); empty
    takes the first jet collection that is known and has all variables."""

    units: Units = "auto"
    """Unit of energies in the files; auto knows those of (D)xAOD, NanoAOD, Delphes and PhenoML, others must be told."""

    leading_jets: int = 0
    """Keep the first so many jets of an event in the order of the file; 0 keeps all."""

    data_fraction: float = 1.0
    """Part of the events to keep, chosen by the hash of each event's identity."""

    cuts: Literal["none", "data", "mc", "four_vector"] = "none"
    """Quality cuts of the original studies: of data and of simulation with 27 variables, and of four-vectors."""

    rows: Literal["objects", "events"] = "objects"
    """A row for each object, or one for each event with E_0 E_1 … pt_0 pt_1 … and zeros where there is no object."""

    objects: tuple[str, ...] = ()
    """Kinds of objects to keep (CSV): j, b, e-, e+, m-, m+, g; empty keeps all."""

    only_jets_in_event: bool = False
    """Drop events with anything but jets and b jets (CSV)."""

    max_objects: int = 0
    """Objects of an event that a row of a whole event holds at most; 0 means as many as the longest event has."""

    on_bad_input: Literal["fail", "skip"] = "fail"
    """Stop at the first malformed line or value that is not finite, or leave such events out and list them."""

    events_per_chunk: int = 50_000
    """Events that are read at once: what bounds the memory."""

    rows_per_shard: int = 1_000_000
    """Rows a shard."""

    shards_root: str = ""
    """Folder for the shards (for example gs://bucket/prefix), where they are not to lie beside the manifest."""

    def __post_init__(self) -> None:
        choose_variables(self.variables)
        check_objects(objects=self.objects)
        check_positive(events_per_chunk=self.events_per_chunk, rows_per_shard=self.rows_per_shard)
        _check_fraction(data_fraction=self.data_fraction)
        if self.leading_jets < 0 or self.max_objects < 0:
            raise SettingError("leading_jets and max_objects must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class OrganizeConfig:
    """Reference run: 80 % of the events to train, 10 % to choose the best epoch, 10 % that are looked at once."""

    train_fraction: float = 0.8
    """Fraction of the events to train on."""

    valid_fraction: float = 0.1
    """Fraction of the events that choose the best epoch."""

    test_fraction: float = 0.1
    """Fraction of the events for the evaluation."""

    seed: int = 0
    """Seed of the splits and of the order of rows."""

    exact: bool = False
    """Split the events of each process to exactly the asked fractions (largest remainder). Otherwise the hash of an
    event's identity decides alone: sizes fluctuate, and no event ever moves to another split when data are added."""

    train_processes: tuple[str, ...] = ()
    """Processes in train and valid; empty means all."""

    test_processes: tuple[str, ...] = ()
    """Processes in test; empty means all."""

    train_objects: tuple[str, ...] = ()
    """Kinds of objects in train and valid (j, b); empty means all."""

    test_objects: tuple[str, ...] = ()
    """Kinds of objects in test (e-, e+, m-, m+, g); empty means all."""

    data_fraction: float = 1.0
    """Part of the training events to keep (0.5 for the study with half the data); valid and test stay whole."""

    rows_per_shard: int = 1_000_000
    """Rows a shard; one shard is held in memory."""

    shards_root: str = ""
    """Folder for the shards (for example gs://bucket/prefix), where they are not to lie beside the manifest."""

    def __post_init__(self) -> None:
        check_fractions(self.train_fraction, self.valid_fraction, self.test_fraction)
        check_objects(train_objects=self.train_objects, test_objects=self.test_objects)
        check_positive(rows_per_shard=self.rows_per_shard)
        check_seed(self.seed)
        _check_fraction(data_fraction=self.data_fraction)


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalizeConfig:
    """Reference run: the fixed transforms of the original studies."""

    method: Literal["standard", "log", "custom", "quantile"] = "custom"
    """standard: mean 0 and spread 1. log: log10(pt)/3, eta/3, phi/3, log10(E)/3 of the thesis. custom: the fixed
    transforms of the 27 variables, or those of four-vectors. quantile: to a flat or normal distribution."""

    target: Literal["uniform", "gauss"] = "uniform"
    """Distribution that quantile maps to: flat between -1 and 1, or normal with spread 1."""

    max_samples: int = 1_000_000
    """Rows at most that quantile keeps to look up; drawn evenly from the training rows."""

    def __post_init__(self) -> None:
        if self.max_samples < 2:
            raise SettingError(f"max_samples must be at least 2, got {self.max_samples}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig(FitConfig):
    """Reference run: a 4-400-400-200-3 autoencoder on four-vectors; command, time and residuals are in the README."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    preset: str = ""
    """Start from the settings of a run of the original studies: phenoml_custom, phenoml_standard, phenoml_half,
    darkmachines, atlas27_quantile, atlas27_custom, whole_events, tla4, thesis27_8 … thesis27_20; other settings that are
    given win."""

    method: Literal["autoencoder", "density"] = "autoencoder"
    """autoencoder: fewer numbers, from which the variables are reconstructed. density: the probability of each variable
    given those before it, by which compress codes values within their bounds in the fewest bytes."""

    network: str = "AE_principal"
    """Kind of autoencoder, whose widths are nodes: principal components and what layers add to them (AE_principal), or
    the kinds of the original studies (AE_basic, AE_LeakyReLU, AE_bn, AE_bn_LeakyReLU); or a named network of fixed
    widths (AE_3D_200, AE_big …)."""

    nodes: tuple[int, ...] = (4, 400, 400, 200, 3, 200, 400, 400, 4)
    """Widths of all layers, an odd number of them, the latent one in the middle; empty means D-400-400-200-D//2-200-400-
    400-D for D variables."""

    dropout: tuple[float, ...] = ()
    """Share of the numbers left out at random while training, one for all hidden layers or one each (networks with drop
    in their names)."""

    last_bias: bool = True
    """Whether the last layer has a bias."""

    angles: Literal["number", "circle"] = "number"
    """Give an angle to the network as the number it is, as the original did, or as a point on a circle (cosine and sine),
    so that -pi and pi are the same."""

    double: bool = False
    """Compute in double precision, as the original's TLA study did."""

    bounds: tuple[str, ...] = ()
    """Errors that a density is made for, such as pt=1e-3 relative, eta=1e-3; see the setting of compress."""

    hidden: int = 64
    """Width of a density's hidden layers."""

    contexts: int = 64
    """Contexts of each variable of a density: a network chooses one, and it has a table of frequencies."""

    rate_steps: tuple[str, ...] = ()
    """Phases of constant learning rate, as epochs:rate (10:1e-3,50:1e-4); in place of epochs and learning_rate."""

    epochs: int = 20
    """Passes over the training rows."""

    settle_epochs: int = 0
    """Epochs after the others in which the normalizations stand still, as they do in use: their noise, which depends on
    the batch, limits how close an autoencoder comes."""

    settle_rate: float = 3e-4
    """Highest learning rate of those epochs."""

    batch_size: int = 8192
    """Rows per step and process."""

    optimizer: Literal["adam", "adamw", "nadam", "sgd"] = "adamw"
    """Rule that turns gradients into steps."""

    learning_rate: float = 3e-3
    """Learning rate; the highest one of the schedule."""

    weight_decay: float = 1e-2
    """Decay of the weights per step, decoupled; biases and the scales of normalization layers do not decay."""

    schedule: Literal["constant", "plateau", "one_cycle", "cosine"] = "one_cycle"
    """How the learning rate moves within a phase; one_cycle moves the momentum against it, between 0.95 and 0.85."""

    def __post_init__(self) -> None:
        FitConfig.__post_init__(self)
        if self.nodes and (len(self.nodes) < 3 or len(self.nodes) % 2 == 0 or min(self.nodes) < 1):
            raise SettingError(f"nodes must be an odd number of widths, 3 or more of at least 1, got {self.nodes}")
        if not all(0 <= share < 1 for share in self.dropout):
            raise SettingError(f"dropout must be in [0, 1), got {self.dropout}")
        if not 2 <= self.contexts <= 256 or not 1 <= self.hidden <= 256:
            raise SettingError(f"contexts must be 2 to 256 and hidden 1 to 256, got {self.contexts}, {self.hidden}")
        if self.settle_epochs < 0 or self.settle_rate <= 0:
            raise SettingError("settle_epochs must not be negative and settle_rate above 0")
        parse_bounds(self.bounds)
        self.phases()

    def phases(self) -> list[tuple[int, float]]:
        """Return epochs and learning rate of each phase.

        Raises:
            SettingError: ``rate_steps`` is not written as epochs:rate.
        """
        try:
            steps = [step.split(":") for step in self.rate_steps]
            return [(int(epochs), float(rate)) for epochs, rate in steps]
        except ValueError:
            wanted = "rate_steps must be epochs:rate, such as 10:1e-3,50:1e-4"
            raise SettingError(f"{wanted}; got {', '.join(self.rate_steps)}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Reference run: the whole test split."""

    batch_size: int = 65_536
    """Rows that are reconstructed at once."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    max_rows: int = 2_000_000
    """Rows of the test split that are looked at, the first ones; 0 means all."""

    compare: tuple[str, ...] = ()
    """Folders of other models of the same dataset, whose spreads are drawn against their latent sizes."""

    def __post_init__(self) -> None:
        check_positive(batch_size=self.batch_size)
        if self.max_rows < 0:
            raise SettingError(f"max_rows must be 0 or a number of rows, got {self.max_rows}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictConfig:
    """Reference run: the jets of ROOT or CSV files, reconstructed and written to ROOT files of the same structure."""

    format: Format = "auto"
    """Kind of the source files; auto goes by their endings."""

    tree: str = ""
    """Tree of the ROOT files; see convert."""

    collection: str = ""
    """What stands before the variables in the names of branches; see convert."""

    units: Units = "auto"
    """Unit of energies in the files; see convert."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    events_per_chunk: int = 50_000
    """Events that are read at once."""

    def __post_init__(self) -> None:
        check_positive(events_per_chunk=self.events_per_chunk)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressConfig:
    """Reference run: 1e-3 relative on energies, momenta and masses, 1e-3 on angles, about 1e-3 of its spread on the rest."""

    codec: Literal["model", "columns"] = "model"
    """model: the given model (an autoencoder with corrections, or a density). columns: each variable rounded to its bound,
    less what those before it and the jet before tell of it, coded by pcodec; needs no model."""

    bounds: tuple[str, ...] = ()
    """Largest error of a variable, as pt=1e-3 relative, eta=1e-3 absolute (what is not said goes by the variable:
    relative for energies, momenta and masses), m=exact for no error. Variables not named have their own bound, about a
    thousandth of the spread. With an autoencoder the word none asks for no bounds: the latent numbers alone are stored."""

    latent_step: float = 0.0
    """Step to which an autoencoder's latent numbers are rounded, in units of their spread; 0 takes the one of a few with
    which the first jets of a block take the fewest bytes, and without bounds 1e-3."""

    variables: tuple[str, ...] = ()
    """Variables to store; empty means those of the model, or pt, eta, phi, m without one."""

    tree: str = ""
    """Tree of the ROOT files; see convert."""

    collection: str = ""
    """What stands before the variables in the names of branches; see convert."""

    units: Units = "auto"
    """Unit of energies in the files; see convert."""

    events_per_block: int = 50_000
    """Events that are coded together and can be read alone."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where an autoencoder computes; auto takes a GPU if there is one."""

    def __post_init__(self) -> None:
        if tuple(self.bounds) != ("none",):
            parse_bounds(self.bounds)
        choose_variables(self.variables)
        check_positive(events_per_block=self.events_per_block)
        if not self.latent_step >= 0:
            raise SettingError(f"latent_step must not be negative, got {self.latent_step}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DecompressConfig:
    """Reference run: all events of an archive, back to a ROOT file."""

    events: str = ""
    """Range of events, as first:last+1 (1000:2000); empty means all."""

    compression: Literal["zlib", "lz4", "zstd", "none"] = "zstd"
    """Compression of the ROOT file."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where an autoencoder computes; auto takes a GPU if there is one."""

    def __post_init__(self) -> None:
        self.event_range()

    def event_range(self) -> tuple[int, int | None]:
        """Return the first event and the one after the last (None: to the end).

        Raises:
            SettingError: ``events`` is no range.
        """
        if not self.events:
            return 0, None
        found = re.fullmatch(r"(\d*):(\d*)", self.events.strip())
        if not found or (found[1] and found[2] and int(found[1]) >= int(found[2])):
            raise SettingError(f"events must be a range such as 1000:2000, got {self.events!r}")
        return int(found[1] or 0), int(found[2]) if found[2] else None


def _check_fraction(**given: float) -> None:
    for name, value in given.items():
        if not 0 < value <= 1:
            raise SettingError(f"{name} must be above 0 and at most 1, got {value}")
