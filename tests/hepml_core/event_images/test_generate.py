from dataclasses import replace
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
import pytest

from hepml_core.config import build_config
from hepml_core.errors import FolderError, SettingError, UnknownNameError
from hepml_core.event_images.config import GenerateConfig
from hepml_core.event_images.displays import draw_display
from hepml_core.event_images.generate import generate
from hepml_core.storage import LocalFolder
from hepml_core.toy_folders import RECORD
from tests.class_folders import contents

SMALL = GenerateConfig(classes=("jpsi", "qcd"), events_per_class=4, image_size=60)


def test_pictures_lie_in_a_folder_for_each_class_and_nothing_else_looks_like_one(tmp_path: Path) -> None:
    metrics = generate(LocalFolder(tmp_path), SMALL)
    assert metrics == {"pictures": 8.0, "drawn": 8.0}
    expected = {f"{name}/{name}_{n:06d}.png" for name in ("jpsi", "qcd") for n in range(4)}
    assert set(contents(tmp_path)) == {RECORD, *expected}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"jpsi", "qcd"}


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_a_file_holds_the_picture_without_loss(bits: Literal[8, 16], dtype: type, tmp_path: Path) -> None:
    config = replace(SMALL, bits=bits)
    generate(LocalFolder(tmp_path), config)
    picture = imagecodecs.png_decode((tmp_path / "qcd/qcd_000002.png").read_bytes())
    assert picture.dtype == dtype
    assert np.array_equal(picture, draw_display("qcd", 2, config))


def test_one_process_writes_the_same_bytes_as_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(LocalFolder(tmp_path / "two"), SMALL)
    monkeypatch.setattr("hepml_core.parallel.cores", lambda: 1)
    generate(LocalFolder(tmp_path / "one"), SMALL)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_gives_other_pictures(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path / "a"), SMALL)
    generate(LocalFolder(tmp_path / "b"), replace(SMALL, seed=1))
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_pictures_that_are_missing_are_drawn_and_no_others(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    expected = contents(tmp_path)
    (tmp_path / "qcd/qcd_000001.png").unlink()
    before = (tmp_path / "qcd/qcd_000002.png").stat().st_mtime_ns
    assert generate(LocalFolder(tmp_path), SMALL) == {"pictures": 8.0, "drawn": 1.0}
    assert contents(tmp_path) == expected
    assert (tmp_path / "qcd/qcd_000002.png").stat().st_mtime_ns == before


def test_a_finished_run_draws_nothing_again(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert generate(LocalFolder(tmp_path), SMALL)["drawn"] == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before


def test_more_events_and_classes_later_leave_the_old_pictures(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    before = contents(tmp_path)
    more = replace(SMALL, classes=("jpsi", "qcd", "upsilon"), events_per_class=5)
    assert generate(LocalFolder(tmp_path), more) == {"pictures": 15.0, "drawn": 7.0}
    assert before.items() <= contents(tmp_path).items()


def test_an_empty_file_under_the_name_of_a_picture_is_drawn_again(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    before = contents(tmp_path)
    (tmp_path / "qcd/qcd_000001.png").write_bytes(b"")
    assert generate(LocalFolder(tmp_path), SMALL)["drawn"] == 1
    assert contents(tmp_path) == before


def test_pictures_of_other_settings_are_refused(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    before = contents(tmp_path)
    with pytest.raises(FolderError, match=r"other settings: pileup_mean 3.0 \(now 9.0\), seed 0 \(now 4\)"):
        generate(LocalFolder(tmp_path), replace(SMALL, seed=4, pileup_mean=9.0))
    assert contents(tmp_path) == before


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("[1, 2")
    with pytest.raises(FolderError, match=r"generate\.json is damaged"):
        generate(LocalFolder(tmp_path), SMALL)


def test_pictures_that_this_run_would_not_draw_are_refused(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    with pytest.raises(FolderError, match=r"no less than before \(classes, events_per_class\)"):
        generate(LocalFolder(tmp_path), replace(SMALL, events_per_class=2))


def test_a_folder_with_files_of_the_user_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays/beach.png").write_bytes(b"sand")
    with pytest.raises(FolderError, match=r"holidays/beach\.png"):
        generate(LocalFolder(tmp_path), SMALL)
    assert contents(tmp_path) == {"holidays/beach.png": b"sand"}


def test_an_unknown_class_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'higgs'"):
        generate(LocalFolder(tmp_path), replace(SMALL, classes=("jpsi", "higs")))
    assert not contents(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": "[]"},
        {"classes": "qcd,qcd"},
        {"events_per_class": 0},
        {"image_size": 20},
        {"image_size": 10000},
        {"seed": -1},
        {"pileup_mean": -0.5},
        {"field_tesla": 0},
        {"vertex_spread_cm": -1},
        {"noise_hits": -1},
    ],
)
def test_nonsense_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        build_config(GenerateConfig, settings)


def test_a_detector_without_pile_up_noise_and_spread_still_gives_pictures(tmp_path: Path) -> None:
    quiet = replace(SMALL, classes=("upsilon",), pileup_mean=0.0, noise_hits=0.0, vertex_spread_cm=0.0)
    assert generate(LocalFolder(tmp_path), quiet)["drawn"] == 4
