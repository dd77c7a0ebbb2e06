"""Networks: sizes of the original study, what they look at, and what may not change their answers."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hepml_core.ecal.batches import mirrored
from hepml_core.ecal.config import Architecture, EnergyScale, TimeOrigin, TrainConfig
from hepml_core.ecal.hit_transformer import HitTransformer
from hepml_core.ecal.hits import Hits, PaddedHits, hits_of_images
from hepml_core.ecal.model import (
    NetworkSettings,
    Normalization,
    SeenHits,
    ShowerClassifier,
    build_model,
    time_origin,
)
from hepml_core.ecal.normalize import origin_of
from hepml_core.errors import SettingError
from hepml_core.training.checkpoints import load_weights, save_weights
from hepml_core.training.devices import seeded

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
LINEAR = Normalization(energy="none", energy_scale=1.0, log_energy=2e-3, time="trigger", time_scale=0.4)


def settings_of(architecture: Architecture, **changes: Any) -> NetworkSettings:
    config = TrainConfig(architecture=architecture)
    names = [field.name for field in dataclasses.fields(NetworkSettings)]
    return NetworkSettings(**{**{name: getattr(config, name) for name in names}, **changes})


def model_of(
    architecture: Architecture, normalization: Normalization = LINEAR, size: int = 32, **changes: Any
) -> ShowerClassifier:
    with seeded(1):
        model = build_model(settings_of(architecture, **changes), normalization, (size, size)).eval()
        if isinstance(model.network, HitTransformer) and model.network.use_time:
            torch.nn.init.normal_(model.network.time.weight)  # times count nothing before training
    return model


def showers(events: int = 6, seed: int = 0, size: int = 32) -> Hits:
    """Make events of 3 to 40 hits; the energies of an event differ."""
    chance = np.random.default_rng(seed)
    count_e = chance.integers(3, 40, events)
    crystal_h = np.concatenate([np.sort(chance.permutation(size**2)[:count]) for count in count_e]).astype(np.uint16)
    energy_h = chance.uniform(0.006, 1, len(crystal_h)).astype(np.float32)
    time_h = chance.normal(0, 0.05, len(crystal_h)).astype(np.float32)
    return Hits(crystal_h, energy_h, time_h, np.concatenate([[0], np.cumsum(count_e)]), (size, size))


def tensors(padded: PaddedHits) -> tuple[Tensor, Tensor, Tensor]:
    crystal, energy, time = (torch.from_numpy(part) for part in (padded.crystal_bh, padded.energy_bh, padded.time_bh))
    return crystal, energy, time


def answers(model: ShowerClassifier, hits: Hits) -> Tensor:
    with torch.no_grad():
        logit_bc: Tensor = model(*tensors(hits.padded()))
    return logit_bc


def numbers_in(model: nn.Module) -> int:
    """Count parameters and running statistics, as Keras does."""
    running = [one for name, one in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    return sum(one.numel() for one in [*model.parameters(), *running])


@pytest.mark.parametrize("t_max", [0.1, 0.1079])  # 20 and 21 frames
def test_the_3d_networks_have_the_sizes_of_the_original(t_max: float) -> None:
    small, large = (model_of(name, t_max=t_max) for name in ("cnn3d", "cnn3d_opt"))
    assert len(small.view.edge_k) == len(large.view.edge_k) == (21 if t_max == 0.1 else 22)  # type: ignore[arg-type]
    assert numbers_in(small.network) == 1_792 + 256 + 55_328 + 128 + 655_424 + 2_080 + 66 == 715_074
    assert numbers_in(large.network) == 891_842


def test_bearnet_has_the_filters_of_the_original() -> None:
    """Counted by hand: weights of each convolution are filters times channels times the kernel's area."""
    alone, timed = (numbers_in(model_of("bearnet", use_time=use_time).network) for use_time in (False, True))
    stem = (9 + 1) * 32 + (32 * 4 + 1) * 32 + (32 * 4 + 1) * 96

    def inception(channels: int, one: int, a: int, three: int, b: int, five: int, pool: int) -> int:
        reduced = (channels + 1) * (one + a + b + pool)
        return reduced + (9 * a + 1) * three + (25 * b + 1) * five

    modules = inception(96, 32, 48, 64, 16, 16, 16) + inception(128, 64, 64, 96, 16, 48, 32)
    modules += inception(240, 96, 48, 104, 16, 24, 32)
    dense = (256 + 1) * 128 + (128 * 16 + 1) * 1024 + (1024 + 1) * 2
    assert alone == stem + modules + dense
    assert timed == alone + 9 * 32


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_answer_does_not_depend_on_padding_or_on_the_other_events(architecture: Architecture) -> None:
    model, hits = model_of(architecture), showers()
    together_bc = answers(model, hits)
    assert together_bc.shape == (6, 2)
    assert len(set(together_bc[:, 0].tolist())) == 6
    for event in range(3):
        torch.testing.assert_close(
            answers(model, hits.of(np.array([event])))[0], together_bc[event], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_event_without_hits_has_a_finite_answer_and_gradient(architecture: Architecture) -> None:
    model = model_of(architecture).train()
    empty = Hits(
        np.array([3], np.uint16), np.ones(1, np.float32), np.zeros(1, np.float32), np.array([0, 0, 1]), (32, 32)
    )
    logit_bc = model(*tensors(empty.padded()))
    logit_bc.square().sum().backward()
    assert torch.isfinite(logit_bc).all()
    assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_learns(architecture: Architecture) -> None:
    model = model_of(architecture).train()
    model(*tensors(showers(events=12).padded())).square().sum().backward()
    assert [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()] == []


@pytest.mark.parametrize("architecture", ["bearnet", "hit_transformer"])
def test_times_matter_where_they_are_used_and_nowhere_else(architecture: Architecture) -> None:
    hits = showers()
    shift_h = np.sin(np.arange(len(hits.time_h))) / 30
    later = dataclasses.replace(hits, time_h=(hits.time_h + shift_h).astype(np.float32))
    for use_time in (True, False):
        model = model_of(architecture, use_time=use_time)
        assert torch.equal(answers(model, hits), answers(model, later)) != use_time


@pytest.mark.parametrize("origin", ["seed", "energy_weighted"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shared_shift_of_all_times_is_not_seen_where_they_count_from_the_event(
    architecture: Architecture, origin: TimeOrigin
) -> None:
    model = model_of(architecture, dataclasses.replace(LINEAR, time=origin))
    hits = showers()
    hits = dataclasses.replace(hits, time_h=np.round(hits.time_h * 1024) / np.float32(1024))
    later = dataclasses.replace(hits, time_h=hits.time_h + np.float32(0.25))
    torch.testing.assert_close(answers(model, hits), answers(model, later), rtol=1e-4, atol=1e-4)
    trigger = model_of(architecture)
    assert not torch.allclose(answers(trigger, hits), answers(trigger, later), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("origin", get_args(TimeOrigin))
def test_the_origin_of_times_is_that_of_normalize(origin: TimeOrigin) -> None:
    hits = showers(events=20, seed=3)
    hits = hits.where(hits.event_h != 4)  # one without hits
    _, energy_bh, time_bh = tensors(hits.padded())
    np.testing.assert_allclose(time_origin(energy_bh, time_bh, origin).numpy(), origin_of(hits, origin), atol=1e-7)


def test_of_two_seeds_the_first_crystal_gives_the_time() -> None:
    hits = Hits(
        np.array([7, 9, 11], np.uint16),
        np.array([0.1, 0.5, 0.5], np.float32),
        np.array([1, 2, 3], np.float32),
        np.array([0, 3]),
        (32, 32),
    )
    _, energy_bh, time_bh = tensors(hits.padded())
    assert time_origin(energy_bh, time_bh, "seed").tolist() == origin_of(hits, "seed").tolist() == [2.0]


@pytest.mark.parametrize(
    ("energy", "expected"), [("none", 0.3), ("max", 0.15), ("standard", 0.15), ("log", math.log1p(0.3 / 2e-3) / 2)]
)
def test_energies_are_scaled_as_normalize_says(energy: EnergyScale, expected: float) -> None:
    scaling = dataclasses.replace(LINEAR, energy=energy, energy_scale=1.0 if energy == "none" else 2.0)
    scaled = model_of("bearnet", scaling)._scale(torch.tensor([0.0, 0.3]))
    assert scaled.tolist() == pytest.approx([0.0, expected])


def see(model: ShowerClassifier, hits: Hits) -> Tensor:
    """Return what a network looks at."""
    crystal_bh, energy_bh, time_bh = tensors(hits.padded())
    (seen,) = model.view(SeenHits(crystal_bh, energy_bh, model._scale(energy_bh), time_bh, time_bh / model.time_scale))
    assert isinstance(seen, Tensor)
    return seen


def test_an_image_shows_energies_and_scaled_times_where_they_are() -> None:
    hits = showers()
    image_bcyx = see(model_of("bearnet"), hits)
    expected_byxc = hits.to_images() / np.array([1, np.float32(0.4)], np.float32)
    np.testing.assert_allclose(image_bcyx.permute(0, 2, 3, 1).numpy(), expected_byxc, rtol=1e-6)
    torch.testing.assert_close(see(model_of("bearnet", use_time=False), hits), image_bcyx[:, :1])


def test_a_movie_leaves_out_small_energies_and_shows_the_others_scaled() -> None:
    hits = showers()
    doubled = dataclasses.replace(LINEAR, energy="max", energy_scale=0.5)
    movie_bckyx = see(model_of("cnn3d", doubled, min_energy=0.5, t_min=-9, t_max=9, t_step=4.5), hits)
    assert movie_bckyx.shape == (6, 1, 4, 32, 32)
    kept = hits.where(hits.energy_h > 0.5)
    np.testing.assert_allclose(movie_bckyx[:, 0, -1].numpy(), 2 * kept.to_images()[..., 0], rtol=1e-6)


def test_a_crop_makes_smaller_networks_of_the_same_kind() -> None:
    for architecture in ARCHITECTURES:
        model = model_of(architecture, size=16)
        assert answers(model, showers().cropped(16)).shape == (6, 2)
        assert numbers_in(model) < numbers_in(model_of(architecture))


def test_what_shrinks_to_nothing_is_refused_with_a_remedy() -> None:
    with pytest.raises(SettingError, match="movies of 10 frames of 32 x 32 crystals are too small for 4 halvings"):
        model_of("cnn3d_opt", t_max=0.0)
    with pytest.raises(SettingError, match="images of 7 x 7 crystals are too small for bearnet"):
        model_of("bearnet", size=7)


def test_dropout_acts_in_training_only() -> None:
    inputs = tensors(showers().padded())
    for architecture in ARCHITECTURES:
        model = model_of(architecture, dropout=0.5)
        with torch.no_grad():
            assert torch.equal(model(*inputs), model(*inputs))
            model.train()
            assert not torch.equal(model(*inputs), model(*inputs))


def test_normalization_and_windows_travel_with_the_weights() -> None:
    scaling = Normalization(energy="log", energy_scale=1.3, log_energy=0.01, time="trigger", time_scale=0.7)
    source = model_of("cnn3d", scaling, t_min=-0.05, t_max=0.15)
    other = model_of("cnn3d", dataclasses.replace(LINEAR, energy="log"))
    load_weights(other, save_weights(source))
    assert torch.equal(answers(other, showers()), answers(source, showers()))


def test_mirroring_keeps_the_seed_in_the_middle_and_loses_no_hit() -> None:
    for rows, columns in ((32, 32), (7, 5), (8, 3)):
        crystal = np.arange(rows * columns)
        other = mirrored(crystal, (rows, columns))
        assert np.array_equal(np.sort(other), crystal)
        assert np.array_equal(mirrored(other, (rows, columns)), crystal)
        middle = rows // 2
        assert mirrored(np.array([middle * columns + 2]), (rows, columns)) == [middle * columns + 2]
        assert mirrored(np.array([(middle + 2) * columns + 1]), (rows, columns)) == [(middle - 2) * columns + 1]


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=[pytest.mark.slow] if name == "cnn3d_opt" else []) for name in ARCHITECTURES],
)
def test_a_network_learns_to_tell_a_second_cluster(architecture: Architecture) -> None:
    """Electrons have a second cluster in their row, and all else at random."""
    chance = np.random.default_rng(5)
    size, events = 16, 48
    image_eyxc = np.zeros((events, size, size, 2), np.float32)
    label_e = np.arange(events) % 2
    image_eyxc[:, 8, 8, 0] = chance.uniform(0.5, 1, events)
    image_eyxc[label_e == 1, 8, 11, 0] = chance.uniform(0.1, 0.3, events // 2)
    y_e, x_e = chance.integers(0, 7, (2, events))
    image_eyxc[np.arange(events), y_e, x_e, 0] = chance.uniform(0.1, 0.3, events)
    image_eyxc[..., 1] = chance.normal(0, 0.02, image_eyxc.shape[:3])
    inputs, labels = tensors(hits_of_images(image_eyxc).padded()), torch.from_numpy(label_e)
    with seeded(2):
        steps = {"t_step": 0.0125} if architecture == "cnn3d_opt" else {"t_step": 0.05}  # 16 frames, or 4
        model = build_model(settings_of(architecture, **steps), LINEAR, (size, size))
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
        for _ in range(30):
            loss = nn.functional.cross_entropy(model(*inputs), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert float(loss.detach()) < 0.35
