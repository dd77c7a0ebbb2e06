"""Autoencoders: the kinds of any widths, and the networks of fixed widths of the original studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from hepml_core.errors import SettingError, UnknownNameError

Block = Callable[[int], list[nn.Module]]
"""Makes the layers that follow a linear one of the given width."""

PRINCIPAL = "AE_principal"
"""Kind whose two halves are principal components and what layers like those of AE_bn_LeakyReLU add to them."""

FREE: dict[str, Block] = {
    "AE_basic": lambda _: [nn.Tanh()],
    "AE_LeakyReLU": lambda _: [nn.LeakyReLU(0.01)],
    "AE_bn": lambda width: [nn.BatchNorm1d(width), nn.Tanh()],
    "AE_bn_LeakyReLU": lambda width: [nn.LeakyReLU(0.01), nn.BatchNorm1d(width)],
    PRINCIPAL: lambda width: [nn.LeakyReLU(0.01), nn.BatchNorm1d(width)],
}
"""Kinds of any widths: what follows each linear layer, the last one excluded, and the latent one but for PRINCIPAL."""

FIXED: dict[str, tuple[int, ...]] = {
    "AE_3D_100": (100, 100, 50, 3, 50, 100, 100),
    "AE_3D_200": (200, 100, 50, 3, 50, 100, 200),
    "AE_3D_small": (3,),
    "AE_3D_small_v2": (8, 3, 8),
    "AE_big": (8, 6, 4, 3, 4, 6, 8),
    "AE_3D_50": (50, 50, 20, 3, 20, 50, 50),
    "AE_3D_50cone": (50, 30, 20, 3, 20, 20, 20),
    "AE_3D_50_bn_drop": (50, 50, 20, 3, 20, 50, 50),
    "AE_3D_50cone_bn_drop": (50, 30, 20, 3, 20, 20, 20),
    "AE_3D_100_bn_drop": (100, 80, 50, 3, 50, 80, 100),
    "AE_3D_200_bn_drop": (200, 100, 50, 3, 50, 100, 200),
    "AE_3D_500cone_bn": (400, 200, 100, 3, 100, 100, 100),
    "AE_2D": (20, 10, 6, 2, 6, 10, 20),
    "AE_2D_v2": (50, 20, 10, 2, 10, 20, 50),
    "AE_2D_v3": (100, 200, 100, 2, 100, 200, 100),
    "AE_2D_v4": (500, 200, 100, 2, 100, 200, 500),
}
"""Hidden widths of the networks whose latent numbers are linear; the first activation of the decoder follows them."""


MOST_ROWS = 1 << 20
"""Rows that principal components are found from; more would not move them."""


class Autoencoder(nn.Module):
    """Fewer numbers than went in, and back.

    Attributes:
        nodes: Widths of all layers, the latent one in the middle.
        linear_encoder, linear_decoder: What encoder and decoder add their numbers to, if anything.
    """

    def __init__(
        self,
        nodes: Sequence[int],
        encoder: nn.Sequential,
        decoder: nn.Sequential,
        linear: tuple[nn.Linear, nn.Linear] | None = None,
    ) -> None:
        super().__init__()
        self.nodes = tuple(nodes)
        self.encoder, self.decoder = encoder, decoder
        self.linear_encoder: nn.Linear | None
        self.linear_decoder: nn.Linear | None
        self.linear_encoder, self.linear_decoder = linear or (None, None)

    @property
    def latent(self) -> int:
        """Number of latent variables."""
        return self.nodes[len(self.nodes) // 2]

    def encode(self, scaled_nf: Tensor) -> Tensor:
        """Return the latent variables (n, z)."""
        latent_nz: Tensor = self.encoder(scaled_nf)
        return latent_nz if self.linear_encoder is None else self.linear_encoder(scaled_nf) + latent_nz

    def decode(self, latent_nz: Tensor) -> Tensor:
        """Return the reconstruction (n, f)."""
        output_nf: Tensor = self.decoder(latent_nz)
        return output_nf if self.linear_decoder is None else self.linear_decoder(latent_nz) + output_nf

    def forward(self, scaled_nf: Tensor) -> Tensor:
        """Encode and decode."""
        return self.decode(self.encode(scaled_nf))

    @property
    def node_string(self) -> str:
        """The widths as text, ``4-200-3-200-4``."""
        return "-".join(map(str, self.nodes))


def build_autoencoder(
    network: str, features: int, nodes: Sequence[int] = (), dropout: Sequence[float] = (), *, last_bias: bool = True
) -> Autoencoder:
    """Build a network with random weights.

    Args:
        network: A name of FREE or FIXED.
        features: Numbers in and out.
        nodes: Widths of a network of FREE, from input to output; empty means D-400-400-200-D//2-200-400-400-D.
        dropout: Share of each hidden layer's numbers that is left out while training, for networks with it.
        last_bias: Whether the last layer has a bias; the means of principal components need one.

    Raises:
        UnknownNameError: There is no such network.
        SettingError: The widths do not begin and end with ``features``, or the dropout or the bias does not fit.
    """
    if network in FIXED:
        return _build_fixed(network, features, dropout, last_bias)
    if network not in FREE:
        raise UnknownNameError("network", network, [*FREE, *FIXED])
    if dropout:
        raise SettingError(f"{network} has no dropout; AE_3D_50_bn_drop and its like have")
    widths = tuple(nodes) or (features, 400, 400, 200, max(1, features // 2), 200, 400, 400, features)
    if widths[0] != features or widths[-1] != features:
        fitting = ",".join(map(str, (features, *widths[1:-1], features)))
        raise SettingError(f"the rows have {features} features, nodes begin with {widths[0]}: give nodes={fitting}")
    if network == PRINCIPAL and not last_bias:
        raise SettingError(f"{network} has a bias in its last layer, the mean of the rows: leave last_bias out")
    middle = len(widths) // 2
    layers: list[list[nn.Module]] = [[], []]
    for link, (a, b) in enumerate(pairwise(widths)):
        last = link == len(widths) - 2
        plain = last or (network == PRINCIPAL and link == middle - 1)
        layers[link >= middle] += [nn.Linear(a, b, bias=last_bias or not last), *([] if plain else FREE[network](b))]
    encoder, decoder = (nn.Sequential(*part) for part in layers)
    if network != PRINCIPAL:
        return Autoencoder(widths, encoder, decoder)
    latent = widths[middle]
    return Autoencoder(widths, encoder, decoder, (nn.Linear(features, latent), nn.Linear(latent, features)))


def start_from_components(model: Autoencoder, scaled_nf: Tensor) -> float:
    """Make a network of PRINCIPAL the principal components of rows (n, f), to which its layers add nothing yet.

    Latent variables have mean zero and spread one then. The best linear map (Pearson, Phil. Mag. 2 (1901) 559) is a good
    start: where latent variables are many, it alone comes closer than networks do that long fits made of random weights.

    Returns:
        The mean squared error of these rows.
    """
    into, back = model.linear_encoder, model.linear_decoder
    assert into is not None
    assert back is not None
    some_nf = scaled_nf[:: 1 + len(scaled_nf) // MOST_ROWS].double()
    mean_f = some_nf.mean(0)
    away_nf = some_nf - mean_f
    variance_f, axis_ff = torch.linalg.eigh(away_nf.T @ away_nf / len(away_nf))
    count = min(model.latent, len(mean_f))
    variance_z, axis_zf = variance_f.flip(0)[:count], axis_ff.T.flip(0)[:count]
    # Directions without spread hold nothing; any scale will do.
    spread_z = torch.where(variance_z > 1e-12 * variance_z[0], variance_z, 1.0).sqrt()
    with torch.no_grad():
        for layer in (into, back, model.encoder[-1], model.decoder[-1]):
            for parameter in layer.parameters():
                parameter.zero_()
        into.weight[:count] = axis_zf / spread_z[:, None]
        into.bias[:count] = -(axis_zf @ mean_f) / spread_z
        back.weight[:, :count] = axis_zf.T * spread_z
        back.bias.copy_(mean_f)
    return float(variance_f.sum() - variance_z.sum()) / len(mean_f)


def _build_fixed(network: str, features: int, dropout: Sequence[float], last_bias: bool) -> Autoencoder:
    """Build a network of FIXED: the latent numbers are those of a linear layer, its activation begins the decoder."""
    hidden = FIXED[network]
    shares = list(dropout) * (len(hidden) if len(dropout) == 1 else 1) or [0.0] * len(hidden)
    if any(shares) and "drop" not in network:
        raise SettingError(f"{network} has no dropout; {network}_bn_drop or its like may have")
    if len(shares) != len(hidden):
        raise SettingError(f"{network} has {len(hidden)} hidden layers, dropout names {len(shares)}")

    def after(layer: int) -> list[nn.Module]:
        normalized = [nn.BatchNorm1d(hidden[layer])] if "_bn" in network else []
        dropped = [nn.Dropout(shares[layer])] if "drop" in network else []
        return [nn.Tanh(), *normalized, *dropped]

    widths = (features, *hidden, features)
    middle = len(widths) // 2
    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for link, (a, b) in enumerate(pairwise(widths)):
        before = after(link - 1) if link else []
        bias = last_bias or link < len(widths) - 2
        (encoder if link < middle else decoder).extend([*before, nn.Linear(a, b, bias=bias)])
    return Autoencoder(widths, nn.Sequential(*encoder), nn.Sequential(*decoder))


def fold_normalization(model: Autoencoder) -> Autoencoder:
    """Return a network for inference with the same results, whose normalizations are part of its linear layers.

    What stands behind a normalization is linear again, save a tanh; such a normalization is folded into what is before.
    """
    parts = [_fold(list(part)) for part in (model.encoder, model.decoder)]
    if isinstance(parts[0][-1], nn.BatchNorm1d) and isinstance(parts[1][0], nn.Linear):
        scale, shift = _affine(parts[0][-1])
        parts[0] = [*parts[0][:-1], _Affine(scale, shift)]
    encoder, decoder = (nn.Sequential(*part) for part in parts)
    into, back = model.linear_encoder, model.linear_decoder
    return Autoencoder(model.nodes, encoder, decoder, (into, back) if into and back else None).eval()


class _Affine(nn.Module):
    """A scale and a shift for each column."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(scale), nn.Parameter(shift)

    def forward(self, value_nf: Tensor) -> Tensor:
        return torch.addcmul(self.shift, value_nf, self.scale)


def _fold(layers: list[nn.Module]) -> list[nn.Module]:
    """Fold each normalization into the linear layer after it, or, if a tanh follows it, into the one before."""
    folded: list[nn.Module] = []
    pending: tuple[Tensor, Tensor] | None = None
    for number, layer in enumerate(layers):
        following = layers[number + 1] if number + 1 < len(layers) else None
        if isinstance(layer, nn.Dropout):
            continue
        if isinstance(layer, nn.BatchNorm1d):
            scale, shift = _affine(layer)
            if folded and isinstance(folded[-1], nn.Linear):
                folded[-1] = _after(folded[-1], scale, shift)
            elif following is None:
                folded.append(layer)
            else:
                pending = (scale, shift)
        elif isinstance(layer, nn.Linear) and pending:
            folded.append(_before(layer, *pending))
            pending = None
        else:
            folded.append(layer)
    return folded


def _affine(layer: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return the scale and shift that a normalization amounts to in evaluation."""
    assert layer.running_var is not None
    assert layer.running_mean is not None
    scale = layer.weight.detach() / torch.sqrt(layer.running_var + layer.eps)
    return scale, layer.bias.detach() - layer.running_mean * scale


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.weight = nn.Parameter(weight)
    layer.bias = nn.Parameter(bias)
    return layer


def _bias(layer: nn.Linear) -> Tensor:
    return torch.zeros(layer.out_features, dtype=layer.weight.dtype) if layer.bias is None else layer.bias.detach()


def _after(layer: nn.Linear, scale: Tensor, shift: Tensor) -> nn.Linear:
    return _linear(layer.weight.detach() * scale[:, None], _bias(layer) * scale + shift)


def _before(layer: nn.Linear, scale: Tensor, shift: Tensor) -> nn.Linear:
    weight = layer.weight.detach()
    return _linear(weight * scale, _bias(layer) + weight @ shift)
