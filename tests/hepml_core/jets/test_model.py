"""The networks: widths and sizes of the original studies, and the same results without normalizations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hepml_core.errors import SettingError, UnknownNameError
from hepml_core.jets.model import (
    FIXED,
    FREE,
    PRINCIPAL,
    build_autoencoder,
    fold_normalization,
    start_from_components,
)

NODES = (4, 12, 3, 12, 4)


def parameters(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize(
    ("latent", "expected"),
    [(8, 177_651), (10, 178_457), (12, 179_263), (14, 180_069), (16, 180_875), (18, 181_681), (20, 182_487)],
)
def test_the_thesis_grid_has_the_numbers_of_parameters_of_the_study(latent: int, expected: int) -> None:
    nodes = (27, 200, 200, 200, latent, 200, 200, 200, 27)
    assert parameters(build_autoencoder("AE_bn_LeakyReLU", 27, nodes)) == expected


@pytest.mark.parametrize(
    ("network", "features", "nodes", "expected"),
    [
        ("AE_bn_LeakyReLU", 27, (27, 400, 400, 200, 20, 200, 400, 400, 27), 515_687),
        ("AE_bn_LeakyReLU", 4, (4, 400, 400, 200, 3, 200, 400, 400, 4), 490_413),
        ("AE_3D_200", 4, (), 52_607),
        ("AE_big", 4, (), 275),
    ],
)
def test_named_networks_have_the_numbers_of_parameters_of_the_study(
    network: str, features: int, nodes: tuple[int, ...], expected: int
) -> None:
    assert parameters(build_autoencoder(network, features, nodes)) == expected


@pytest.mark.parametrize("network", [*FREE, *FIXED])
def test_folding_the_normalizations_changes_no_result(network: str) -> None:
    torch.manual_seed(1)
    model = build_autoencoder(network, 4, NODES if network in FREE else ()).double()
    for _ in range(5):
        model.train()(torch.randn(64, 4, dtype=torch.float64) * 2 + 1)
    scaled_nf = torch.randn(32, 4, dtype=torch.float64)
    folded = fold_normalization(model.eval())
    torch.testing.assert_close(folded.encode(scaled_nf), model.encode(scaled_nf))
    torch.testing.assert_close(folded(scaled_nf), model(scaled_nf))
    assert not any(isinstance(one, nn.Dropout) for one in folded.modules())


def test_latent_variables_of_the_fixed_networks_are_linear() -> None:
    model = build_autoencoder("AE_3D_200", 4)
    assert isinstance(model.encoder[-1], nn.Linear)
    assert isinstance(model.decoder[0], nn.Tanh)
    assert (model.latent, model.node_string) == (3, "4-200-100-50-3-50-100-200-4")


def test_no_widths_mean_half_the_features_in_the_middle() -> None:
    assert build_autoencoder("AE_basic", 10).nodes == (10, 400, 400, 200, 5, 200, 400, 400, 10)


def test_the_last_bias_can_be_left_out() -> None:
    for network, nodes in (("AE_bn", NODES), ("AE_big", ())):
        assert build_autoencoder(network, 4, nodes, last_bias=False).decoder[-1].bias is None
    with pytest.raises(SettingError, match="AE_principal has a bias in its last layer"):
        build_autoencoder(PRINCIPAL, 4, NODES, last_bias=False)


def test_dropout_reaches_every_hidden_layer_of_networks_that_have_it() -> None:
    model = build_autoencoder("AE_3D_50_bn_drop", 4, dropout=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert [one.p for one in model.modules() if isinstance(one, nn.Dropout)] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    equal = build_autoencoder("AE_3D_50_bn_drop", 4, dropout=[0.1])
    assert [one.p for one in equal.modules() if isinstance(one, nn.Dropout)] == [0.1] * 7


def correlated(rows: int = 500) -> torch.Tensor:
    """Six features, of which three tell the others."""
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(rows, 3, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.1])
    mixed = base @ torch.randn(3, 6, generator=generator, dtype=torch.float64)
    return mixed + 5 + 1e-3 * torch.randn(rows, 6, generator=generator, dtype=torch.float64)


def test_principal_components_come_before_a_fit_to_what_no_linear_map_beats() -> None:
    scaled_nf = correlated()
    model = build_autoencoder(PRINCIPAL, 6, (6, 8, 3, 8, 6)).double().eval()
    loss = start_from_components(model, scaled_nf)
    away_nf = scaled_nf - scaled_nf.mean(0)
    lost = torch.linalg.svdvals(away_nf)[3:].square().sum() / scaled_nf.numel()
    with torch.no_grad():
        found, latent_nz = (model(scaled_nf) - scaled_nf).square().mean(), model.encode(scaled_nf)
    torch.testing.assert_close(found, lost)
    assert loss == pytest.approx(lost.item())
    torch.testing.assert_close(latent_nz.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(torch.cov(latent_nz.T, correction=0), torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("latent", [3, 4, 6])
def test_features_without_spread_and_more_latent_variables_than_features_lose_nothing(latent: int) -> None:
    scaled_nf = torch.cat([correlated(), torch.full((500, 1), 7.0, dtype=torch.float64)], dim=1)[:, [0, 6, 1]]
    model = build_autoencoder(PRINCIPAL, 3, (3, 4, latent, 4, 3)).double().eval()
    start_from_components(model, scaled_nf)
    torch.testing.assert_close(model(scaled_nf).detach(), scaled_nf)
    assert torch.isfinite(model.encode(scaled_nf + 1)).all()


def test_the_layers_of_a_principal_network_learn_what_is_not_linear() -> None:
    torch.manual_seed(0)
    x_n = torch.linspace(-1, 1, 400)
    scaled_nf = torch.stack([x_n, x_n**2], dim=1)
    model = build_autoencoder(PRINCIPAL, 2, (2, 32, 1, 32, 2))
    start_from_components(model, scaled_nf)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(200):
        loss = (model(scaled_nf) - scaled_nf).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 20


@pytest.mark.parametrize(
    ("network", "nodes", "dropout", "sentence"),
    [
        ("AE_basic", (5, 2, 5), (), "the rows have 4 features, nodes begin with 5: give nodes=4,2,4"),
        ("AE_basic", NODES, (0.1,), "AE_basic has no dropout"),
        ("AE_3D_50", (), (0.1,), "AE_3D_50 has no dropout"),
        ("AE_3D_50_bn_drop", (), (0.1, 0.2), "has 7 hidden layers, dropout names 2"),
    ],
)
def test_what_does_not_fit_a_network_is_refused(
    network: str, nodes: tuple[int, ...], dropout: tuple[float, ...], sentence: str
) -> None:
    with pytest.raises(SettingError, match=sentence):
        build_autoencoder(network, 4, nodes, dropout)


def test_an_unknown_network_comes_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'AE_3D_200'"):
        build_autoencoder("AE_3D_20", 4)
