"""Settings of the event_images stages; the defaults are the reference run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hepml_core.config import check_positive, check_seed
from hepml_core.errors import SettingError
from hepml_core.splits import check_fractions
from hepml_core.training.config import FitConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateConfig:
    """Reference run: three classes of toy displays that look like the CMS ones; rates and numbers are in the README."""

    classes: tuple[str, ...] = ("higgs", "jpsi", "qcd")
    """Processes to draw, one folder each: higgs (H(200) to tau tau), jpsi, qcd (two jets), upsilon."""

    events_per_class: int = 1000
    """Pictures of each class; a larger number later adds pictures and leaves the old ones as they are."""

    image_size: int = 300
    """Height and width of a picture in pixels; the windows in metres stay, so fewer pixels mean coarser ones."""

    bits: Literal[8, 16] = 8
    """Bits per colour channel; the pictures of the experiment have 16."""

    seed: int = 0
    """Seed of all chance; a picture depends on it, its class and its number, and on no other picture."""

    pileup_mean: float = 3.0
    """Mean number of further proton-proton interactions in a picture (Poisson); a nuisance common to all classes."""

    vertex_spread_cm: float = 5.0
    """Standard deviation of the interaction points along the beam, in cm."""

    field_tesla: float = 3.8
    """Field of the solenoid along the beam, in T."""

    noise_hits: float = 60.0
    """Mean number of noise hits in a picture (Poisson), over strips, calorimeters and muon chambers."""

    def __post_init__(self) -> None:
        if not self.classes:
            raise SettingError("classes must name at least one process")
        if len(set(self.classes)) != len(self.classes):
            raise SettingError(f"classes must differ, got {', '.join(self.classes)}")
        if not 30 <= self.image_size <= 4096:
            raise SettingError(f"image_size must be between 30 and 4096 pixels, got {self.image_size}")
        if self.events_per_class < 1:
            raise SettingError(f"events_per_class must be at least 1, got {self.events_per_class}")
        if not 0 < self.field_tesla <= 20:
            raise SettingError(f"field_tesla must be above 0 and at most 20 T, got {self.field_tesla}")
        for name in ("seed", "pileup_mean", "vertex_spread_cm", "noise_hits"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertConfig:
    """Reference run: pictures of one size, kept as the files they are."""

    image_size: int = 0
    """Height and width in pixels to resize to; 0 keeps the pictures' own size, which must then be the same for all."""

    channels: Literal[1, 3] = 3
    """3 for red-green-blue, 1 for grey; pictures of another kind are converted, transparency is laid over black."""

    storage: Literal["encoded", "raw"] = "encoded"
    """Keep each picture as the encoded file it is, or as raw pixels (10 to 30 times the bytes, no decoding later)."""

    on_bad_input: Literal["fail", "skip"] = "fail"
    """Stop at the first file that is no whole picture, or leave such files out and list them in the manifest."""

    follow_links: bool = False
    """Follow links that point outside the source or to folders."""

    max_pixels: int = 50_000_000
    """Largest picture that is accepted, in pixels: a guard against files that decode to more than the memory holds."""

    records_per_shard: int = 1000
    """Pictures a shard."""

    shards_root: str = ""
    """Folder for the shards (for example gs://bucket/prefix), where they are not to lie beside the manifest."""

    def __post_init__(self) -> None:
        if self.image_size < 0:
            raise SettingError(f"image_size must be 0 or a number of pixels, got {self.image_size}")
        check_positive(records_per_shard=self.records_per_shard, max_pixels=self.max_pixels)
        if self.image_size**2 > self.max_pixels:
            raise SettingError(f"image_size={self.image_size} gives more pixels than max_pixels={self.max_pixels}")


@dataclass(frozen=True, kw_only=True, slots=True)
class OrganizeConfig:
    """Reference run: 70 % to train, 15 % to choose the best epoch, 15 % that are looked at once, at the end."""

    train_fraction: float = 0.7
    """Fraction of the events to train on."""

    valid_fraction: float = 0.15
    """Fraction of the events that choose the best epoch."""

    test_fraction: float = 0.15
    """Fraction of the events for the evaluation."""

    seed: int = 0
    """Seed of the splits and of the order of events."""

    exact: bool = False
    """Split each class to exactly the asked fractions (largest remainder). Otherwise the hash of an event's key decides
    alone: sizes fluctuate, and no event ever moves to another split when data are added."""

    categories: tuple[str, ...] = ()
    """Classes to keep, all if empty; the word other collects the classes that are not named."""

    balanced: bool = False
    """Keep the same number of events in every category of a split; other takes equal parts of its classes."""

    duplicates: Literal["report", "drop"] = "report"
    """Report pictures that are byte for byte the same, or drop all copies but one (all of them if classes differ)."""

    delete_shards: bool = False
    """Delete the shard files that were read once the dataset is published; its pictures stay in the source."""

    records_per_shard: int = 1000
    """Pictures a shard; one shard is held in memory."""

    shards_root: str = ""
    """Folder for the shards (for example gs://bucket/prefix), where they are not to lie beside the manifest."""

    def __post_init__(self) -> None:
        check_fractions(self.train_fraction, self.valid_fraction, self.test_fraction)
        if len(set(self.categories)) != len(self.categories):
            raise SettingError(f"categories must differ, got {', '.join(self.categories)}")
        check_positive(records_per_shard=self.records_per_shard)
        check_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalizeConfig:
    """Reference run: mean and standard deviation of each channel over all training pictures."""

    max_samples: int = 0
    """Use at most this many training pictures, chosen by the hash of their keys; 0 uses all."""

    def __post_init__(self) -> None:
        if self.max_samples < 0:
            raise SettingError(f"max_samples must be 0 or a number of pictures, got {self.max_samples}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig(FitConfig):
    """Reference run: the small network from random weights; command, time and result are in the README."""

    architecture: Literal["small", "densenet121", "densenet161", "densenet169", "densenet201"] = "small"
    """Network: small is for laptops, DenseNets of 8 to 29 million parameters for GPUs."""

    epochs: int = 8
    """Passes over the training pictures."""

    learning_rate: float = 1e-2
    """Learning rate; the highest one of the schedule. For the DenseNets and constant schedule 1e-4 is usual."""

    schedule: Literal["constant", "plateau", "one_cycle", "cosine"] = "one_cycle"
    """How the learning rate moves within a phase; one_cycle moves the momentum against it, between 0.95 and 0.85."""

    dropout: float = 0.0
    """Share of the features that is left out at random while training."""

    head_epochs: int = 0
    """Epochs before the others in which only the classifier at the network's end learns; useful with start_weights."""

    start_weights: str = ""
    """Local .safetensors file of weights to start from (torchvision's names); the classifier itself starts fresh."""

    class_weights: Literal["none", "balanced"] = "none"
    """Weight of a class in the loss: the same for every event, or such that every class weighs the same in total."""

    def __post_init__(self) -> None:
        FitConfig.__post_init__(self)
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.head_epochs < 0 or self.head_epochs + self.epochs < 1:
            raise SettingError(
                f"there is nothing to train with epochs={self.epochs} and head_epochs={self.head_epochs}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Reference run: all test pictures, 500 bootstrap replicas."""

    batch_size: int = 64
    """Pictures that are classified at once."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    replicas: int = 500
    """Bootstrap replicas for the errors of the areas under the curves."""

    confused_events: int = 12
    """Pictures shown of events that the model is most sure of and wrong about."""

    seed: int = 0
    """Seed of the bootstrap."""

    def __post_init__(self) -> None:
        check_positive(batch_size=self.batch_size, replicas=self.replicas)
        if self.confused_events < 0:
            raise SettingError(f"confused_events must not be negative, got {self.confused_events}")
        check_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictConfig:
    """Reference run: every picture of a folder must be readable."""

    batch_size: int = 64
    """Pictures that are classified at once."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    on_bad_input: Literal["fail", "skip"] = "fail"
    """Stop at the first file that is no whole picture, or leave such files out and list them in the manifest."""

    max_pixels: int = 50_000_000
    """Largest picture that is accepted, in pixels."""

    def __post_init__(self) -> None:
        check_positive(batch_size=self.batch_size, max_pixels=self.max_pixels)
