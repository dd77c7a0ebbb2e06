"""DenseNet classifiers of event pictures.

G. Huang, Z. Liu, L. van der Maaten, K. Weinberger: Densely connected convolutional networks, arXiv:1608.06993. Names of
parameters and their shapes are those of torchvision's DenseNets, so that published weights fit.

Axes: b picture, y and x pixel, c channel or class.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hepml_core.errors import DataError, FolderError, SettingError, UnknownNameError
from hepml_core.storage import open_folder
from hepml_core.training.checkpoints import read_tensors

log = logging.getLogger(__name__)

HEAD = ("backbone.classifier",)
"""What learns in a head-first phase."""

BOTTLENECK = 4
"""Channels of a layer's 1 x 1 convolution, in units of the growth."""

_FULL_SCALE = {torch.uint8: 255.0, torch.uint16: 65535.0}


@dataclass(frozen=True, slots=True)
class Architecture:
    """Shape of a DenseNet."""

    growth: int
    """Channels that each layer adds."""
    layers: tuple[int, ...]
    """Layers of each dense block."""
    stem_channels: int
    stem_stride: int = 2
    stem_pool: bool = True
    """Halve the picture once more by a maximum over 3 x 3."""
    norm_momentum: float = 0.1
    """Weight of a batch in the running statistics; more where a fit is short and its rate high, so that they keep up."""


ARCHITECTURES = {
    "small": Architecture(
        growth=8, layers=(1, 4, 6), stem_channels=16, stem_stride=4, stem_pool=False, norm_momentum=0.5
    ),
    "densenet121": Architecture(growth=32, layers=(6, 12, 24, 16), stem_channels=64),
    "densenet161": Architecture(growth=48, layers=(6, 12, 36, 24), stem_channels=96),
    "densenet169": Architecture(growth=32, layers=(6, 12, 32, 32), stem_channels=64),
    "densenet201": Architecture(growth=32, layers=(6, 12, 48, 32), stem_channels=64),
}
"""The published networks, and a small one for laptops: its stem of stride 4 leaves a sixteenth of the pixels without
dropping one, and takes no maximum, so that single lit pixels still add up; most layers work on what a second and third
halving leaves."""


@dataclass(frozen=True, slots=True)
class StartWeights:
    """What ``load_start_weights`` found."""

    loaded: int
    """Tensors taken over."""
    fresh: tuple[str, ...]
    """Parameters of the classifier that keep their random start, because the file's are of other classes."""


def build_model(
    name: str, classes: int, channels: int, mean_c: Sequence[float], std_c: Sequence[float], dropout: float = 0.0
) -> ImageClassifier:
    """Return a classifier with random weights, to be drawn inside ``devices.seeded``.

    Args:
        name: One of ARCHITECTURES.
        classes: Number of classes.
        channels: Channels of the pictures.
        mean_c: Mean of each channel, pictures scaled to [0, 1].
        std_c: Standard deviation of each channel, likewise.
        dropout: Share of each layer's new channels that is dropped in training.

    Raises:
        UnknownNameError: There is no such architecture.
        SettingError: Numbers of channels do not fit, or a deviation is not above 0.
    """
    if name not in ARCHITECTURES:
        raise UnknownNameError("model", name, ARCHITECTURES)
    if not len(mean_c) == len(std_c) == channels:
        raise SettingError(
            f"the pictures have {channels} channels, but mean_c has {len(mean_c)} and std_c {len(std_c)}"
        )
    if not all(std > 0 for std in std_c):
        raise SettingError(f"std_c must be above 0 in every channel, got {list(std_c)}")
    if classes < 1 or not 0 <= dropout < 1:
        raise SettingError(f"classes must be at least 1 and dropout in [0, 1), got {classes} and {dropout}")
    return ImageClassifier(DenseNet(ARCHITECTURES[name], classes, channels, dropout), mean_c, std_c)


class ImageClassifier(nn.Module):
    """Pictures as stored in, one logit per class out; scaling and normalization travel inside."""

    mean_c: Tensor
    std_c: Tensor

    def __init__(self, backbone: nn.Module, mean_c: Sequence[float], std_c: Sequence[float]) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean_c", torch.tensor(mean_c, dtype=torch.float32))
        self.register_buffer("std_c", torch.tensor(std_c, dtype=torch.float32))

    def forward(self, image_byxc: Tensor) -> Tensor:
        """Return logits (picture, class) of pictures (picture, y, x, channel) of type uint8 or uint16."""
        if image_byxc.dtype not in _FULL_SCALE:
            raise DataError(f"pictures must be uint8 or uint16, got {image_byxc.dtype}")
        scale_c = 1 / (_FULL_SCALE[image_byxc.dtype] * self.std_c)
        normal_byxc = torch.addcmul(-self.mean_c / self.std_c, image_byxc.to(torch.float32), scale_c)
        logit_bc: Tensor = self.backbone(normal_byxc.permute(0, 3, 1, 2))
        return logit_bc


class DenseNet(nn.Module):
    """Dense blocks, each layer reading all layers before it; a mean over the picture; one linear classifier.

    The mean makes the number of features the same for pictures of any size.
    """

    def __init__(self, architecture: Architecture, classes: int, channels: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Sequential(_stem(architecture, channels))
        width = architecture.stem_channels
        for block, layers in enumerate(architecture.layers, 1):
            self.features.add_module(f"denseblock{block}", _DenseBlock(width, architecture.growth, layers, dropout))
            width += layers * architecture.growth
            if block < len(architecture.layers):
                self.features.add_module(f"transition{block}", nn.Sequential(_transition(width)))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = architecture.norm_momentum
        _start(self)

    def forward(self, image_bcyx: Tensor) -> Tensor:
        """Return logits (picture, class) of normalized pictures (picture, channel, y, x)."""
        feature_bcyx = nn.functional.relu(self.features(image_bcyx), inplace=True)
        logit_bc: Tensor = self.classifier(feature_bcyx.mean((2, 3)))
        return logit_bc


class _DenseBlock(nn.ModuleDict):
    """Layers of which each reads the channels of all before it."""

    def __init__(self, width: int, growth: int, layers: int, dropout: float) -> None:
        super().__init__()
        for layer in range(layers):
            self[f"denselayer{layer + 1}"] = nn.Sequential(_layer(width + layer * growth, growth, dropout))

    def forward(self, feature_bcyx: Tensor) -> Tensor:
        for layer in self.values():
            feature_bcyx = torch.cat((feature_bcyx, layer(feature_bcyx)), 1)
        return feature_bcyx


def _stem(architecture: Architecture, channels: int) -> OrderedDict[str, nn.Module]:
    width = architecture.stem_channels
    convolution = nn.Conv2d(channels, width, 7, stride=architecture.stem_stride, padding=3, bias=False)
    parts: dict[str, nn.Module] = {"conv0": convolution, "norm0": nn.BatchNorm2d(width), "relu0": nn.ReLU(inplace=True)}
    if architecture.stem_pool:
        parts["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
    return OrderedDict(parts)


def _layer(width: int, growth: int, dropout: float) -> OrderedDict[str, nn.Module]:
    parts: dict[str, nn.Module] = {
        "norm1": nn.BatchNorm2d(width),
        "relu1": nn.ReLU(inplace=True),
        "conv1": nn.Conv2d(width, BOTTLENECK * growth, 1, bias=False),
        "norm2": nn.BatchNorm2d(BOTTLENECK * growth),
        "relu2": nn.ReLU(inplace=True),
        "conv2": nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False),
    }
    if dropout:
        parts["dropout"] = nn.Dropout(dropout)
    return OrderedDict(parts)


def _transition(width: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        norm=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
        conv=nn.Conv2d(width, width // 2, 1, bias=False),
        pool=nn.AvgPool2d(2, stride=2),
    )


def _start(network: nn.Module) -> None:
    """Draw initial weights after He et al., arXiv:1502.01852, as the paper does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""Names such as ``denselayer1.norm.1.weight`` in weights published before 2018."""


def load_start_weights(model: ImageClassifier, address: str) -> StartWeights:
    """Start from published or own weights: a ``.safetensors`` file on a disk or in an object store.

    A classifier of other classes keeps its random start. Weights of an ``ImageClassifier``, of torchvision's DenseNets
    of any year and of networks wrapped for several GPUs (``module.`` before each name) are understood.

    Raises:
        FolderError: There is no such file, or it is a pickle.
        DataError: The weights are damaged or of another network; names and shapes are told.
    """
    tensors, _ = read_tensors(read_start_weights(address), address)
    found = {_present_name(name): tensor for name, tensor in tensors.items() if not name.endswith(("mean_c", "std_c"))}
    own = model.backbone.state_dict()
    classifier = [name for name in own if name.startswith("classifier.")]
    fits = all(name in found and found[name].shape == own[name].shape for name in classifier)
    fresh = () if fits else tuple(classifier)
    found = {name: tensor for name, tensor in found.items() if not (fresh and name.startswith("classifier."))}
    _check_start(own, found, fresh, address)
    model.backbone.load_state_dict(found, strict=False)
    kept = f"; the classifier starts anew ({len(fresh)} tensors)" if fresh else ""
    log.info("start weights: %d tensors from %s%s", len(found), address, kept)
    return StartWeights(len(found), fresh)


def read_start_weights(address: str) -> bytes:
    """Return the bytes of a file of start weights.

    Raises:
        FolderError: There is no such file, or it is a pickle.
    """
    folder, _, name = address.rpartition("/")
    if not name.endswith(".safetensors"):
        raise FolderError(
            f"{address} is no .safetensors file. A .pt or .pth file is a pickle, which could run any code: it is not read. "
            'Convert it once, where you trust it: python -c "import torch, safetensors.torch as s; '
            "s.save_file(torch.load('weights.pth', weights_only=True), 'weights.safetensors')\""
        )
    try:
        return open_folder(folder or ".").read(name)
    except FileNotFoundError:
        raise FolderError(f"there are no start weights at {address}") from None


def _present_name(name: str) -> str:
    for prefix in ("module.", "backbone."):
        name = name.removeprefix(prefix)
    return _OLD_NAME.sub(r"\1\2", name)


def _check_start(own: Mapping[str, Tensor], found: Mapping[str, Tensor], fresh: Sequence[str], address: str) -> None:
    """Refuse weights of another network; old ones may lack the counters of normalized batches."""
    missing = [n for n in own if n not in found and n not in fresh and not n.endswith("num_batches_tracked")]
    strange = [name for name in found if name not in own]
    other = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    complaints = {"missing": missing, "not of this network": strange, "of another shape": other}
    lines = [
        f"{about} ({len(names)}): {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
        for about, names in complaints.items()
        if names
    ]
    if lines:
        raise DataError(f"the start weights {address} are of another network:\n  " + "\n  ".join(lines))
