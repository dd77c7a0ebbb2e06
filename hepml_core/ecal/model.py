"""Networks that tell electrons from photons: normalization, what they look at (movie, image or hits), and the layers.

The 3-D networks and BearNet are those of the original study (ekoenig4/ParticleImages).

Suffixes: b event of a batch, h hit, k frame, y row, x column, c channel or class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from hepml_core.ecal.config import Architecture, EarlyHits, EnergyScale, TimeOrigin
from hepml_core.ecal.convolution_block import Activation, ConvolutionBlock
from hepml_core.ecal.hit_transformer import HitTransformer
from hepml_core.ecal.movie import to_movie, window_edges
from hepml_core.errors import SettingError

CLASSES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalization:
    """How energies and times are scaled; what normalize measured."""

    energy: EnergyScale
    energy_scale: float
    """What energies (or their logarithms) are divided by."""
    log_energy: float
    """Energy above which ``log`` is a logarithm."""
    time: TimeOrigin
    time_scale: float
    """What times since the origin are divided by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSettings:
    """What makes a network, as in TrainConfig."""

    architecture: Architecture
    use_time: bool
    dropout: float
    min_energy: float
    t_min: float
    t_max: float
    t_step: float
    cumulative: bool
    early: EarlyHits


def build_model(settings: NetworkSettings, normalization: Normalization, shape: tuple[int, int]) -> ShowerClassifier:
    """Return a classifier with random weights, to be drawn inside ``devices.seeded``.

    Raises:
        SettingError: Images or movies of this size shrink to nothing on their way through the network.
    """
    view, network = _build_parts(settings, shape)
    return ShowerClassifier(normalization, view, network)


class ShowerClassifier(nn.Module):
    """Padded hits in, one logit per class out; normalization and the choice of what to look at are inside.

    What to look at is a view: from crystals, energies, scaled energies, times since the origin and scaled times of hits it
    makes the inputs of the network.
    """

    energy_scale: Tensor
    time_scale: Tensor
    log_energy: Tensor

    def __init__(self, normalization: Normalization, view: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.view, self.network = view, network
        self.energy, self.origin = normalization.energy, normalization.time
        for name in ("energy_scale", "time_scale", "log_energy"):
            value = getattr(normalization, name)
            # What never varies has no scale; it is left as it is.
            self.register_buffer(name, torch.tensor(value or 1.0, dtype=torch.float32))

    def forward(self, crystal_bh: Tensor, energy_bh: Tensor, time_bh: Tensor) -> Tensor:
        """Return logits (event, class) of hits as ``Hits.padded`` makes them: energy 0 is no hit."""
        time_bh = time_bh - time_origin(energy_bh, time_bh, self.origin)[:, None]
        hits = SeenHits(crystal_bh, energy_bh, self._scale(energy_bh), time_bh, time_bh / self.time_scale)
        logit_bc: Tensor = self.network(*self.view(hits))
        return logit_bc

    def _scale(self, energy_bh: Tensor) -> Tensor:
        if self.energy == "log":
            energy_bh = torch.log1p(energy_bh / self.log_energy)
        return energy_bh if self.energy == "none" else energy_bh / self.energy_scale


def time_origin(energy_bh: Tensor, time_bh: Tensor, origin: TimeOrigin) -> Tensor:
    """Return what the times of each event are measured against; 0 for an event without hits.

    Of several hits of the same, highest energy the first is the seed.
    """
    if origin == "trigger":
        return torch.zeros_like(time_bh[:, 0])
    if origin == "seed":
        return time_bh.gather(1, energy_bh.argmax(1, keepdim=True))[:, 0]
    sum_b = energy_bh.sum(1)
    return (energy_bh * time_bh).sum(1) / torch.where(sum_b > 0, sum_b, 1)


@dataclass(frozen=True, slots=True)
class SeenHits:
    """Padded hits of a batch, normalized."""

    crystal_bh: Tensor
    energy_bh: Tensor
    """Energies as they are."""
    scaled_bh: Tensor
    """The same, scaled."""
    time_bh: Tensor
    """Times since the origin."""
    scaled_time_bh: Tensor
    """The same, scaled."""


class MovieView(nn.Module):
    """Frames of scaled energies (b, 1, k, y, x); cuts and windows are on energies and times that are not scaled."""

    edge_k: Tensor

    def __init__(self, settings: NetworkSettings, shape: tuple[int, int]) -> None:
        super().__init__()
        edge_k = window_edges(settings.t_min, settings.t_max, settings.t_step)
        self.register_buffer("edge_k", torch.from_numpy(edge_k).float())
        self.min_energy, self.shape = settings.min_energy, shape
        self.cumulative, self.early = settings.cumulative, settings.early

    def forward(self, hits: SeenHits) -> tuple[Tensor, ...]:
        """Return what the network looks at."""
        shown_bh = hits.scaled_bh * (hits.energy_bh > self.min_energy)
        movie_bkyx = to_movie(
            hits.crystal_bh,
            shown_bh,
            hits.time_bh,
            edges=self.edge_k,
            shape=self.shape,
            cumulative=self.cumulative,
            early=self.early,
        )
        return (movie_bkyx[:, None],)


class ImageView(nn.Module):
    """Images (b, c, y, x) of scaled energies, and of scaled times where wanted."""

    def __init__(self, shape: tuple[int, int], *, use_time: bool) -> None:
        super().__init__()
        self.shape, self.use_time = shape, use_time

    def forward(self, hits: SeenHits) -> tuple[Tensor, ...]:
        """Return what the network looks at."""
        rows, columns = self.shape
        channels = [hits.scaled_bh, hits.scaled_time_bh * (hits.energy_bh > 0)] if self.use_time else [hits.scaled_bh]
        value_bch = torch.stack(channels, 1)
        image = torch.zeros((*value_bch.shape[:2], rows * columns), dtype=torch.float32, device=value_bch.device)
        image.scatter_add_(2, hits.crystal_bh[:, None].expand_as(value_bch), value_bch)
        return (image.view(*value_bch.shape[:2], rows, columns),)


class HitView(nn.Module):
    """The hits themselves."""

    def forward(self, hits: SeenHits) -> tuple[Tensor, ...]:
        """Return what the network looks at."""
        return hits.crystal_bh, hits.energy_bh, hits.scaled_bh, hits.time_bh


class Cnn3d(nn.Sequential):
    """Blocks of 3-D convolutions, then dense layers: the original's cnn3d (two blocks) and cnn3d_opt (four)."""

    def __init__(
        self, blocks: Sequence[tuple[int, int]], activation: Activation, dropout: float, size: tuple[int, int, int]
    ) -> None:
        """Build it.

        Args:
            blocks: Filters and size of the kernel of each block.
            activation: Of all layers.
            dropout: Share of the features that is left out after each convolution.
            size: Frames, rows and columns of the movies.
        """
        layers: list[nn.Module] = []
        channels = 1
        for filters, kernel in blocks:
            layers.append(ConvolutionBlock(channels, filters, kernel, activation, dropout))
            channels = filters
        features = channels * math.prod(part // 2 ** len(blocks) for part in size)
        if not features:
            raise SettingError(
                f"movies of {size[0]} frames of {size[1]} x {size[2]} crystals are too small for {len(blocks)} halvings: "
                f"every side needs {2 ** len(blocks)}; take a shorter t_step or a larger crop"
            )
        layers.append(nn.Flatten())
        for inputs, outputs in pairwise((features, 64, 32)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU() if activation == "relu" else nn.ELU()]
        super().__init__(*layers, nn.Linear(32, CLASSES))
        _start_as_keras(self)


class BearNet(nn.Sequential):
    """The original's 2-D network of inception modules (C. Szegedy and others, arXiv:1409.4842), truncated after three."""

    def __init__(self, channels: int, dropout: float, shape: tuple[int, int]) -> None:
        pixels = math.prod(part // 8 for part in shape)
        if not pixels:
            raise SettingError(
                f"images of {shape[0]} x {shape[1]} crystals are too small for bearnet, which needs 8 x 8"
            )
        super().__init__(
            *_convolve(channels, 32, 3),
            nn.MaxPool2d(2),
            *_convolve(32, 32, 2),
            *_convolve(32, 96, 2),
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.MaxPool2d(2, stride=1),
            _Inception(96, 32, (48, 64), (16, 16), 16),
            _Inception(128, 64, (64, 96), (16, 48), 32),
            nn.MaxPool2d(2),
            _Inception(240, 96, (48, 104), (16, 24), 32),
            nn.AvgPool2d(2),
            *_convolve(256, 128, 1),
            nn.Flatten(),
            nn.Linear(128 * pixels, 1024),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(1024, CLASSES),
        )
        _start_truncated(self)


class _Inception(nn.Module):
    """Convolutions of three sizes and a maximum side by side."""

    def __init__(self, channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*_convolve(channels, one, 1)),
                nn.Sequential(*_convolve(channels, three[0], 1), *_convolve(*three, 3)),
                nn.Sequential(*_convolve(channels, five[0], 1), *_convolve(*five, 5)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *_convolve(channels, pool, 1)),
            ]
        )

    def forward(self, image_bcyx: Tensor) -> Tensor:
        return torch.cat([branch(image_bcyx) for branch in self.branches], 1)


def _convolve(channels: int, filters: int, kernel: int) -> list[nn.Module]:
    """Return a convolution that keeps the size, and its activation; an even kernel reaches farther to the end."""
    before, after = (kernel - 1) // 2, kernel // 2
    pad: list[nn.Module] = [] if before == after else [nn.ZeroPad2d((before, after, before, after))]
    inside = before if before == after else 0
    return [*pad, nn.Conv2d(channels, filters, kernel, padding=inside), nn.ReLU(inplace=True)]


def _build_parts(settings: NetworkSettings, shape: tuple[int, int]) -> tuple[nn.Module, nn.Module]:
    """Return what the network looks at, and the network."""
    if settings.architecture == "bearnet":
        channels = 2 if settings.use_time else 1
        return ImageView(shape, use_time=settings.use_time), BearNet(channels, settings.dropout, shape)
    if settings.architecture == "hit_transformer":
        return HitView(), HitTransformer(shape, settings.dropout, use_time=settings.use_time)
    view = MovieView(settings, shape)
    size = (len(view.edge_k) - 1, *shape)
    if settings.architecture == "cnn3d":
        return view, Cnn3d(((64, 3), (32, 3)), "relu", settings.dropout, size)
    return view, Cnn3d(((64, 3), (96, 5), (32, 3), (32, 3)), "elu", settings.dropout, size)


def _start_as_keras(network: nn.Module) -> None:
    """Draw weights uniformly by the rule of X. Glorot and Y. Bengio (2010), biases 0, as Keras does."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(cast(Tensor, module.bias))


def _start_truncated(network: nn.Module) -> None:
    """Draw weights from normal distributions cut at two of their widths (of He's rule), biases 5e-4."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            width = math.sqrt(2 / module.weight[0].numel())
            nn.init.trunc_normal_(module.weight, std=width, a=-2 * width, b=2 * width)
            nn.init.constant_(cast(Tensor, module.bias), 5e-4)
