"""Time windows against the figures of the original study, movies against a slow loop over frames, crystals and hits."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepml_core.ecal.hits import Hits, PaddedHits, hits_of_images
from hepml_core.ecal.movie import to_movie, window_edges
from hepml_core.errors import SettingError

Frames = NDArray[np.float32]
Early = Literal["first", "drop"]
EDGES = window_edges(-0.1, 0.1, 0.0099)


def random_hits(events: int, seed: int = 0, *, most: int = 60) -> Hits:
    """Make hits of 32 x 32 crystals: none to ``most`` an event, some at an edge, before the first and after the last."""
    chance = np.random.default_rng(seed)
    count_e = chance.integers(0, most, events)
    count_e[0] = 0
    crystal_h = np.concatenate([np.sort(chance.permutation(1024)[:count]) for count in count_e]).astype(np.uint16)
    time_h = chance.normal(0, 0.08, len(crystal_h)).astype(np.float32)
    at_edge_h = chance.random(len(time_h)) < 0.2
    time_h[at_edge_h] = chance.choice(EDGES, at_edge_h.sum()).astype(np.float32)
    energy_h = chance.uniform(1e-3, 1, len(crystal_h)).astype(np.float32)
    return Hits(crystal_h, energy_h, time_h, np.concatenate([[0], np.cumsum(count_e)]), (32, 32))


def movie_of(padded: PaddedHits, shape: tuple[int, int] = (32, 32), *, cumulative: bool, early: Early) -> Frames:
    hits = (torch.from_numpy(part) for part in (padded.crystal_bh, padded.energy_bh, padded.time_bh))
    return to_movie(*hits, edges=EDGES, shape=shape, cumulative=cumulative, early=early).numpy()


def slow_movie(hits: Hits, *, cumulative: bool, early: Early) -> Frames:
    """Make the same movie hit by hit."""
    movie_ekyx = np.zeros((len(hits), len(EDGES) - 1, 32, 32), np.float32)
    edge_k = EDGES.astype(np.float32)
    for event in range(len(hits)):
        for hit in range(hits.first_e[event], hits.first_e[event + 1]):
            y, x = divmod(int(hits.crystal_h[hit]), 32)
            for k in range(len(EDGES) - 1):
                before = hits.time_h[hit] <= edge_k[k]
                now = not before and hits.time_h[hit] <= edge_k[k + 1]
                if hits.time_h[hit] <= edge_k[0]:
                    before, now = early == "first" and k > 0, early == "first" and k == 0
                if now or (before and cumulative):
                    movie_ekyx[event, k, y, x] = hits.energy_h[hit]
    return movie_ekyx


def original_movie(image_eyxc: NDArray[np.float32], *, cumulative: bool) -> NDArray[np.float64]:
    """Spread pixels over frames as the original did, its last and always empty frame included (energies above 0)."""
    edge_k = np.arange(-0.1, 0.1, 0.0099)
    movie_ekyx = np.zeros((len(image_eyxc), len(edge_k), 32, 32))
    for event, (energy_yx, time_yx) in enumerate(np.moveaxis(image_eyxc, 3, 1)):
        for k in range(len(edge_k) - 1):
            now_yx = time_yx <= edge_k[k + 1]
            if not cumulative:
                now_yx &= time_yx > edge_k[k]
            movie_ekyx[event, k] = np.where(now_yx, energy_yx, 0)
    return movie_ekyx


def test_the_windows_are_those_of_the_original_without_its_rounding() -> None:
    assert len(EDGES) == 21
    assert EDGES.tolist() == [round(-0.1 + 0.0099 * k, 4) for k in range(21)]
    assert (EDGES[0], EDGES[1], EDGES[-2], EDGES[-1]) == (-0.1, -0.0901, 0.0881, 0.098)


@pytest.mark.parametrize(("reach", "edges", "last"), [(0.05, 11, 0.049), (0.099, 21, 0.099), (0.1188, 25, 0.1188)])
def test_other_ranges_have_the_windows_that_fit(reach: float, edges: int, last: float) -> None:
    edge_k = window_edges(-reach, reach, 0.0099)
    assert (len(edge_k), edge_k[0], edge_k[-1]) == (edges, -reach, last)


@given(st.integers(-500, 500), st.integers(1, 300), st.integers(1, 60))
def test_edges_are_the_numbers_that_one_writes(start: int, step: int, frames: int) -> None:
    """In thousandths: exact where binary fractions drift."""
    edge_k = window_edges(start / 1000, (start + step * frames) / 1000, step / 1000)
    assert edge_k.tolist() == [(start + step * k) / 1000 for k in range(frames + 1)]


@pytest.mark.parametrize("numbers", [(0.1, -0.1, 0.01), (0.0, 0.1, 0.0), (0.0, 0.1, 0.11), (0.0, 0.1, -0.01)])
def test_a_range_without_a_whole_step_is_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(SettingError, match="t_step must be above 0 and no longer than the range"):
        window_edges(*numbers)


@pytest.mark.parametrize("cumulative", [True, False])
@pytest.mark.parametrize("early", ["first", "drop"])
def test_a_movie_is_what_a_loop_over_hits_and_frames_makes(early: Early, cumulative: bool) -> None:
    hits = random_hits(20)
    movie_ekyx = movie_of(hits.padded(), cumulative=cumulative, early=early)
    assert movie_ekyx.dtype == np.float32
    np.testing.assert_array_equal(movie_ekyx, slow_movie(hits, cumulative=cumulative, early=early))
    assert movie_ekyx.any()


@pytest.mark.parametrize("cumulative", [True, False])
def test_a_movie_is_that_of_the_original_without_its_empty_last_frame(cumulative: bool) -> None:
    """Early hits were in every frame of the original's cumulative movies, and in none of the others."""
    image_eyxc = random_hits(20, seed=1).to_images()
    image_eyxc[..., 1] += np.float32(1e-4)  # off the edges, which the original rounded otherwise
    expected_ekyx = original_movie(image_eyxc, cumulative=cumulative)
    early: Early = "first" if cumulative else "drop"
    movie_ekyx = movie_of(hits_of_images(image_eyxc).padded(), cumulative=cumulative, early=early)
    assert expected_ekyx.shape[1] == movie_ekyx.shape[1] + 1
    assert not expected_ekyx[:, -1].any()
    np.testing.assert_array_equal(movie_ekyx, expected_ekyx[:, :-1].astype(np.float32))


def test_a_hit_at_an_edge_is_in_the_window_that_the_edge_ends() -> None:
    edge_k = EDGES.astype(np.float32)
    crystal_h = np.arange(21, dtype=np.uint16)
    hits = Hits(crystal_h, np.ones(21, np.float32), edge_k, np.array([0, 21]), (32, 32))
    movie_kp = movie_of(hits.padded(), cumulative=False, early="drop")[0].reshape(20, -1)
    np.testing.assert_array_equal(movie_kp[:, 1:21], np.eye(20))
    assert not movie_kp[:, 0].any()


def test_the_last_frame_of_a_cumulative_movie_holds_all_energy_up_to_the_last_edge() -> None:
    hits = random_hits(30, seed=2)
    last_eyx = movie_of(hits.padded(), cumulative=True, early="first")[:, -1]
    kept = hits.where(hits.time_h <= np.float32(EDGES[-1]))
    np.testing.assert_array_equal(last_eyx, kept.to_images()[..., 0])


def test_the_frames_of_a_movie_that_is_not_cumulative_add_up_to_the_cumulative_one() -> None:
    padded = random_hits(30, seed=3).padded()
    once_ekyx = movie_of(padded, cumulative=False, early="first")
    np.testing.assert_array_equal(np.cumsum(once_ekyx, 1), movie_of(padded, cumulative=True, early="first"))


@pytest.mark.parametrize("cumulative", [True, False])
def test_padding_changes_nothing_even_where_the_first_crystal_is_hit(cumulative: bool) -> None:
    hits = Hits(
        np.array([0, 5, 0], np.uint16),
        np.array([0.25, 0.5, 0.75], np.float32),
        np.array([-0.05, 0.0, 0.05], np.float32),
        np.array([0, 2, 3, 3]),
        (32, 32),
    )
    movie_ekyx = movie_of(hits.padded(), cumulative=cumulative, early="first")
    np.testing.assert_array_equal(movie_ekyx, slow_movie(hits, cumulative=cumulative, early="first"))
    assert not movie_ekyx[2].any()


def test_images_need_not_be_square() -> None:
    hits = Hits(np.array([13], np.uint16), np.ones(1, np.float32), np.zeros(1, np.float32), np.array([0, 1]), (3, 5))
    movie_ekyx = movie_of(hits.padded(), (3, 5), cumulative=True, early="first")
    assert movie_ekyx.shape == (1, 20, 3, 5)
    assert np.argwhere(movie_ekyx[0, -1]).tolist() == [[2, 3]]


def test_no_memory_is_taken_but_for_the_movie_and_the_hits_of_each_frame() -> None:
    from torch.profiler import ProfilerActivity, profile

    padded = random_hits(200, seed=4, most=40).padded()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as taken:
        movie_ekyx = movie_of(padded, cumulative=True, early="drop")
    largest = sum(max(0, event.self_cpu_memory_usage) for event in taken.events())
    assert largest < 1.15 * movie_ekyx.nbytes
