"""DenseNets against the published facts, and the classifier around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hepml_core.errors import DataError, FolderError, SettingError, UnknownNameError
from hepml_core.event_images.model import (
    ARCHITECTURES,
    HEAD,
    DenseNet,
    ImageClassifier,
    build_model,
    load_start_weights,
)
from hepml_core.training.checkpoints import load_weights, save_weights
from hepml_core.training.devices import seeded

PARAMETERS = {"densenet121": 7978856, "densenet161": 28681000, "densenet169": 14149480, "densenet201": 20013928}
MEAN_C, STD_C = (0.1, 0.2, 0.3), (0.5, 0.4, 0.3)


def small(classes: int = 3, channels: int = 3, dropout: float = 0.0, seed: int = 1) -> ImageClassifier:
    with seeded(seed):
        return build_model("small", classes, channels, MEAN_C[:channels], STD_C[:channels], dropout).eval()


def pictures(size: int = 32, count: int = 2, channels: int = 3) -> Tensor:
    chance = np.random.default_rng(3)
    return torch.from_numpy(chance.integers(0, 256, (count, size, size, channels), dtype=np.uint8))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        network = DenseNet(ARCHITECTURES[name], 1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_names_and_shapes_are_those_of_torchvision() -> None:
    with torch.device("meta"):
        shapes = {
            name: tuple(one.shape) for name, one in DenseNet(ARCHITECTURES["densenet161"], 5).state_dict().items()
        }
    assert shapes["features.conv0.weight"] == (96, 3, 7, 7)
    assert shapes["features.norm0.running_var"] == (96,)
    assert shapes["features.denseblock1.denselayer1.norm1.weight"] == (96,)
    assert shapes["features.denseblock3.denselayer36.conv1.weight"] == (192, 384 + 35 * 48, 1, 1)
    assert shapes["features.denseblock4.denselayer24.conv2.weight"] == (48, 192, 3, 3)
    assert shapes["features.transition2.conv.weight"] == (384, 768, 1, 1)
    assert shapes["features.norm5.num_batches_tracked"] == ()
    assert shapes["classifier.weight"] == (5, 2208)
    assert sum(len(shape) > 1 for shape in shapes.values()) == 161


@pytest.mark.parametrize("size", [32, 45, 300])
@pytest.mark.parametrize("name", ["small", "densenet121"])
def test_pictures_of_any_size_give_one_logit_a_class(name: str, size: int) -> None:
    model = build_model(name, 4, 3, MEAN_C, STD_C).eval()
    with torch.no_grad():
        assert model(pictures(size, count=1)).shape == (1, 4)


def test_pictures_are_normalized_inside() -> None:
    class Seen(nn.Module):
        def forward(self, image_bcyx: Tensor) -> Tensor:
            return image_bcyx

    image_byxc = pictures()
    seen_bcyx = ImageClassifier(Seen(), MEAN_C, STD_C)(image_byxc)
    expected_byxc = (image_byxc.numpy() / 255.0 - np.array(MEAN_C)) / np.array(STD_C)
    assert seen_bcyx.dtype == torch.float32
    assert seen_bcyx.is_contiguous(memory_format=torch.channels_last)
    assert np.allclose(seen_bcyx.permute(0, 2, 3, 1).numpy(), expected_byxc, atol=1e-6)


def test_the_same_picture_in_8_and_16_bits_gives_the_same_answer() -> None:
    model, image_byxc = small(), pictures()
    as_16_bit = torch.from_numpy(image_byxc.numpy().astype(np.uint16) * 257)
    with torch.no_grad():
        assert torch.allclose(model(image_byxc), model(as_16_bit), atol=1e-5)


def test_pictures_that_are_no_stored_integers_are_refused() -> None:
    with pytest.raises(DataError, match="uint8 or uint16, got"):
        small()(pictures().float())


def test_a_single_lit_pixel_anywhere_changes_the_answer_of_the_small_network() -> None:
    model = small(channels=1)
    dark = torch.zeros(1, 24, 24, 1, dtype=torch.uint8)
    lit = dark.repeat(24 * 24, 1, 1, 1)
    lit.view(24 * 24, 24 * 24)[range(24 * 24), range(24 * 24)] = 255
    with torch.no_grad():
        assert ((model(lit) - model(dark)).abs().amax(1) > 1e-6).all()


def test_dropout_acts_in_training_only() -> None:
    model, image_byxc = small(dropout=0.5), pictures()
    with torch.no_grad():
        assert torch.equal(model(image_byxc), model(image_byxc))
        model.train()
        assert not torch.equal(model(image_byxc), model(image_byxc))


def test_dropout_changes_no_name_of_a_parameter() -> None:
    assert small(dropout=0.5).state_dict().keys() == small().state_dict().keys()


def test_the_small_network_learns_sparse_pictures() -> None:
    """Class 0 has twelve lit pixels anywhere, class 1 has them in a row."""
    chance = np.random.default_rng(4)
    image_byxc, label_b = np.zeros((96, 64, 64, 1), np.uint8), np.arange(96) % 2
    for image_yxc, label in zip(image_byxc, label_b, strict=True):
        y, x = chance.integers(0, 50, 2)
        where = (np.full(12, y), x + np.arange(12)) if label else chance.integers(0, 64, (2, 12))
        image_yxc[tuple(where)] = 255
    images, labels = torch.from_numpy(image_byxc), torch.from_numpy(label_b)
    with seeded(5):
        model = build_model("small", 2, 1, (0.003,), (0.05,))
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(15):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert float(loss.detach()) < 0.3


def test_the_head_is_a_part_of_the_model() -> None:
    model = small()
    assert [name for name, _ in model.named_parameters() if name.startswith(HEAD)] == [
        "backbone.classifier.weight",
        "backbone.classifier.bias",
    ]


def test_normalization_travels_with_the_weights() -> None:
    other = build_model("small", 3, 3, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).eval()
    model = small()
    load_weights(other, save_weights(model))
    with torch.no_grad():
        assert torch.equal(other(pictures()), model(pictures()))


def test_an_unknown_model_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'densnet161'\. Did you mean 'densenet161'"):
        build_model("densnet161", 3, 3, MEAN_C, STD_C)


def test_normalization_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingError, match="1 channels, but mean_c has 3"):
        build_model("small", 3, 1, MEAN_C, STD_C)
    with pytest.raises(SettingError, match="std_c must be above 0"):
        build_model("small", 3, 3, MEAN_C, (0.1, 0.0, 0.1))


def store(folder: Path, tensors: dict[str, Tensor]) -> str:
    save_file(tensors, folder / "start.safetensors")
    return str(folder / "start.safetensors")


def old_name(name: str) -> str:
    """Return a name as torchvision had it before 2018, inside a wrapper for several GPUs."""
    for part in ("norm", "relu", "conv"):
        for number in "12":
            if "denselayer" in name:
                name = name.replace(f"{part}{number}.", f"{part}.{number}.")
    return f"module.{name}"


@pytest.mark.parametrize("style", ["torchvision", "old", "own"])
def test_start_weights_of_the_same_classes_are_taken_whole(tmp_path: Path, style: str) -> None:
    source, model = small(seed=1), small(seed=2)
    tensors = source.state_dict() if style == "own" else source.backbone.state_dict()
    if style == "old":
        tensors = {old_name(name): one for name, one in tensors.items() if not name.endswith("num_batches_tracked")}
    assert load_start_weights(model, store(tmp_path, tensors)).fresh == ()
    with torch.no_grad():
        assert torch.equal(model(pictures()), source(pictures()))


def test_a_classifier_of_other_classes_stays_fresh_and_is_reported(tmp_path: Path) -> None:
    source, model = small(classes=1000), small(classes=3, seed=2)
    before = {name: one.clone() for name, one in model.backbone.state_dict().items()}
    found = load_start_weights(model, store(tmp_path, dict(source.backbone.state_dict())))
    after = model.backbone.state_dict()
    assert found.fresh == ("classifier.weight", "classifier.bias")
    assert found.loaded == len(after) - 2
    assert all(torch.equal(after[name], before[name]) for name in found.fresh)
    assert torch.equal(after["features.conv0.weight"], source.backbone.state_dict()["features.conv0.weight"])


def test_start_weights_of_another_network_are_refused_and_change_nothing(tmp_path: Path) -> None:
    model = small()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    grey = dict(small(channels=1).backbone.state_dict())
    with pytest.raises(DataError, match=r"of another shape \(1\): features\.conv0\.weight"):
        load_start_weights(model, store(tmp_path, grey))
    grey.pop("features.norm0.weight")
    with pytest.raises(DataError, match=r"missing \(1\): features\.norm0\.weight"):
        load_start_weights(model, store(tmp_path, grey))
    with pytest.raises(DataError, match=r"not of this network \(1\): layer1\.weight"):
        load_start_weights(model, store(tmp_path, {"layer1.weight": torch.ones(1)}))
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_pickles_are_refused_with_how_to_convert_them(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"anything")
    with pytest.raises(FolderError, match=r"pickle.*Convert it once.*weights_only=True"):
        load_start_weights(small(), str(tmp_path / "weights.pth"))


def test_start_weights_that_are_not_there_or_damaged_are_told(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no start weights at"):
        load_start_weights(small(), str(tmp_path / "none.safetensors"))
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"torn\.safetensors cannot be read"):
        load_start_weights(small(), str(tmp_path / "torn.safetensors"))
