"""Movies: every frame there, showing its hits, small, and the same every time."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from hepml_core import plots
from hepml_core.errors import DataError
from hepml_core.plots.movies import FRAME_MS, LAST_FRAME_MS

Frames = NDArray[np.uint8]
PICTURE = (slice(95, 306), slice(64, 300))
"""Where a frame shows nothing but crystals, in pixels: rows and columns."""


def arriving(frames: int = 20, size: int = 32) -> plots.Movie:
    """A shower whose hits arrive one a frame, along phi, the brightest first; they stay."""
    energy_kyx = np.zeros((frames, size, size), np.float32)
    for number in range(frames):
        energy_kyx[number:, size // 2, size // 2 - 8 + number % 16] = 50 / (1 + number)
    windows = [f"t ≤ {number} ns" for number in range(frames)]
    return plots.Movie(energy_kyx, np.arange(frames + 1.0), windows, ("electron, p = 0.93", "file.hdf5 row 3"))


def frames_of(gif: bytes) -> tuple[list[Frames], list[int]]:
    """Return the frames as RGB and how long each is shown, in ms."""
    with Image.open(io.BytesIO(gif)) as image:
        shown = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
    return [frame for frame, _ in shown], [duration for _, duration in shown]


def coloured(frame: Frames) -> int:
    """Count the pixels of crystals that are lit: neither white nor of the grid."""
    return int((frame[PICTURE].min(2) < 200).sum())


def test_a_movie_has_a_frame_for_each_window_and_ends_with_a_pause() -> None:
    (gif,) = plots.movie_gifs([arriving()], lowest=0.25)
    frames, durations = frames_of(gif)
    assert len(frames) == 20
    assert durations == [FRAME_MS] * 19 + [LAST_FRAME_MS]
    assert len({frame.shape for frame in frames}) == 1


def test_every_hit_lights_its_crystal_when_it_arrives_and_stays() -> None:
    movie = arriving(12)
    (gif,) = plots.movie_gifs([movie], lowest=0.25)
    lit = [coloured(frame) for frame in frames_of(gif)[0]]
    crystal = lit[0]
    assert crystal > 100
    for number, pixels in enumerate(lit, 1):
        assert pixels == pytest.approx(number * crystal, rel=0.12)


def test_an_empty_frame_is_white_and_a_hit_that_leaves_is_gone() -> None:
    movie = arriving(4)
    movie.energy_kyx[[0, 2]] = 0
    (gif,) = plots.movie_gifs([movie], lowest=0.25)
    frames, _ = frames_of(gif)
    assert [coloured(frame) > 0 for frame in frames] == [False, True, False, True]
    assert tuple(frames[0][120, 200]) == (255, 255, 255)


def test_all_movies_show_the_same_part_of_the_image_with_every_hit_in_it() -> None:
    near, far = arriving(3), arriving(3)
    near.energy_kyx[:] = 0
    near.energy_kyx[:, 16, 16] = 10
    far.energy_kyx[2, 1, 30] = 5
    alone, _ = frames_of(plots.movie_gifs([near], lowest=0.25)[0])
    beside, _ = frames_of(plots.movie_gifs([near, far], lowest=0.25)[0])
    # The part grows from 11 x 11 to 32 x 32 crystals.
    assert coloured(alone[0]) == pytest.approx(coloured(beside[0]) * (32 / 11) ** 2, rel=0.3)


def test_a_movie_is_small_and_quickly_drawn_and_the_same_every_time() -> None:
    start = time.process_time()
    (gif,) = plots.movie_gifs([arriving()], lowest=0.25)
    assert time.process_time() - start < 20 * 0.1  # a tenth of a second a frame; it takes a fifth of that
    assert len(gif) < 150_000
    assert plots.movie_gifs([arriving()], lowest=0.25) == [gif]


def test_an_event_without_a_hit_has_a_movie_too() -> None:
    movie = plots.Movie(np.zeros((3, 8, 8)), np.arange(4.0), ["a", "b", "c"], ())
    assert len(frames_of(plots.movie_gifs([movie], lowest=0.25)[0])[0]) == 3
    assert plots.movie_gifs([], lowest=0.25) == []


@pytest.mark.parametrize(("frames", "edges", "windows"), [(0, 1, 0), (3, 3, 3), (3, 4, 2)])
def test_frames_edges_and_windows_must_belong_together(frames: int, edges: int, windows: int) -> None:
    movie = plots.Movie(np.zeros((frames, 8, 8)), np.arange(float(edges)), ["t"] * windows, ())
    with pytest.raises(DataError, match="a window for each frame and one more edge"):
        plots.movie_gifs([movie], lowest=0.25)
