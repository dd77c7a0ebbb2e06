import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hepml_core.event_images.config import GenerateConfig
from hepml_core.event_images.displays import draw_display, paint
from hepml_core.event_images.helices import ECAL, HCAL, MUON_CHAMBER, PIXEL, STRIP, Hits
from hepml_core.event_images.physics import PROCESSES, FloatArray

CONFIG = GenerateConfig()


def one_hit(kind: int, x: float, y: float, z: float, energy: float = 0.0) -> Hits:
    return Hits.of_kind(kind, np.array([[x, y, z]]), np.array([energy]))


@pytest.mark.parametrize("size", [300, 224, 100])
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_a_picture_has_the_asked_size_and_depth(size: int, bits: Literal[8, 16], dtype: type) -> None:
    picture = draw_display("qcd", 0, GenerateConfig(image_size=size, bits=bits))
    assert picture.shape == (size, size, 3)
    assert picture.dtype == dtype
    assert picture.max() == np.iinfo(dtype).max


def test_sixteen_bits_show_the_same_event_as_eight() -> None:
    deep = draw_display("higgs", 4, GenerateConfig(bits=16))
    assert np.array_equal(deep >> 8, draw_display("higgs", 4, CONFIG))


def test_a_picture_depends_on_seed_class_and_number_alone() -> None:
    picture = draw_display("jpsi", 7, CONFIG)
    draw_display("jpsi", 8, CONFIG)
    assert np.array_equal(picture, draw_display("jpsi", 7, GenerateConfig(classes=("jpsi",), events_per_class=9)))
    others = [
        draw_display("jpsi", 8, CONFIG),
        draw_display("qcd", 7, CONFIG),
        draw_display("jpsi", 7, GenerateConfig(seed=1)),
    ]
    assert not any(np.array_equal(picture, other) for other in others)


def test_a_hit_is_seen_in_three_views_at_its_place() -> None:
    picture = paint(one_hit(STRIP, x=0.5, y=-0.9, z=2.0), 300)
    rows, columns = picture.max(axis=2).nonzero()
    across_z, across_x = int(150 + 2.0 * 150 / 5.99), int(150 + 0.5 * 150 / 9)
    expected = {(50 + 15, across_z), (150 + 15, across_x), (250 - 9, across_z)}
    assert {*zip(rows.tolist(), columns.tolist(), strict=True)} == expected


def test_hits_outside_the_windows_are_not_seen() -> None:
    assert not paint(one_hit(MUON_CHAMBER, x=0.0, y=7.0, z=7.0), 300).any()
    assert paint(one_hit(MUON_CHAMBER, x=7.0, y=1.0, z=7.0), 300).max(axis=(1, 2)).nonzero()[0].tolist() == [133]


@pytest.mark.parametrize(
    ("kind", "colour"),
    [(STRIP, (0, 255, 255)), (PIXEL, (255, 255, 255)), (MUON_CHAMBER, (255, 255, 0)), (HCAL, (0, 255, 0))],
)
def test_colours_tell_the_kind(kind: int, colour: tuple[int, int, int]) -> None:
    picture = paint(one_hit(kind, 0.3, 0.3, 0.3), 300)
    assert {tuple(pixel) for pixel in picture[picture.any(axis=2)].tolist()} == {colour}


def test_more_energy_pales_a_calorimeter_up_to_white() -> None:
    red = [int(paint(one_hit(ECAL, 0.3, 0.3, 0.3, energy), 300, 16)[..., 0].max()) for energy in (0.1, 5.0, 20.0, 90.0)]
    assert 0 < red[0] < red[1] < red[2] == red[3] == 65535


def test_of_two_cells_in_a_pixel_the_one_with_more_energy_is_seen_and_the_tracker_covers_both() -> None:
    low, high = one_hit(ECAL, 0.3, 0.3, 0.3, 1.0), one_hit(ECAL, 0.3, 0.3, 0.3, 9.0)
    assert np.array_equal(paint(Hits.join([high, low]), 300), paint(high, 300))
    assert np.array_equal(
        paint(Hits.join([one_hit(STRIP, 0.3, 0.3, 0.3), high]), 300), paint(one_hit(STRIP, 0.3, 0.3, 0.3), 300)
    )


EVENTS = 40


@dataclass(frozen=True)
class Sample:
    """Numbers of each picture of a process."""

    brightness_e: FloatArray
    lit: float
    cyan: float
    yellow: float
    mean_c: FloatArray
    std_c: FloatArray


def measure(process: str) -> Sample:
    pictures = np.stack([draw_display(process, number, CONFIG) for number in range(EVENTS)])
    lit = pictures[pictures.any(axis=3)].astype(np.float64)
    share = len(lit) / pictures[..., 0].size
    mean_c = lit.mean(axis=0) / 255 * share
    return Sample(
        brightness_e=pictures.sum(axis=(1, 2, 3), dtype=float),
        lit=share,
        cyan=float((lit == [0, 255, 255]).all(axis=1).mean()),
        yellow=float((lit == [255, 255, 0]).all(axis=1).sum() / EVENTS),
        mean_c=mean_c,
        std_c=np.sqrt(((lit / 255) ** 2).mean(axis=0) * share - mean_c**2),
    )


@pytest.fixture(scope="module")
def samples() -> dict[str, Sample]:
    return {process: measure(process) for process in PROCESSES}


def test_between_3_and_5_percent_of_the_pixels_are_lit_mostly_cyan(samples: dict[str, Sample]) -> None:
    for sample in samples.values():
        assert 0.033 < sample.lit < 0.05
        assert sample.cyan > 0.5


def test_brightness_alone_does_not_tell_the_classes_apart(samples: dict[str, Sample]) -> None:
    label_e = np.repeat([0, 1], EVENTS)
    for first, second in itertools.combinations(samples, 2):
        brightness_e = np.concatenate([samples[first].brightness_e, samples[second].brightness_e])
        assert 0.25 < roc_auc_score(label_e, brightness_e) < 0.75


def test_muons_light_more_chambers_in_a_jpsi_than_in_two_jets(samples: dict[str, Sample]) -> None:
    assert samples["jpsi"].yellow > 2.5 * samples["qcd"].yellow


@pytest.mark.real_data
@pytest.mark.parametrize("process", ["higgs", "jpsi"])
def test_channels_have_the_mean_and_spread_of_the_pictures_of_the_experiment(
    process: str, samples: dict[str, Sample]
) -> None:
    folder = Path(os.environ.get("HEPML_REAL_DATA", Path(__file__).parents[3] / "../shared/data"))
    file = folder / f"event_images/cms_views/{process}.png"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    real = imagecodecs.png_decode(file.read_bytes()) / 65535
    assert samples[process].mean_c == pytest.approx(real.mean(axis=(0, 1)), rel=0.3)
    assert samples[process].std_c == pytest.approx(real.std(axis=(0, 1)), rel=0.2)
