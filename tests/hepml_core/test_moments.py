"""Moments of parts merge to those of the whole."""

from __future__ import annotations

from functools import reduce
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.moments import FloatArray, Moments

parts = st.lists(
    st.lists(st.tuples(st.integers(-1000, 1000), st.floats(-1e3, 1e3)), min_size=1, max_size=20), min_size=1, max_size=8
).map(lambda found: [np.array(part, np.float64) for part in found])


def moments_of(values_nc: FloatArray) -> Moments:
    mean_c = values_nc.mean(0)
    return Moments(len(values_nc), mean_c, ((values_nc - mean_c) ** 2).sum(0))


@given(parts)
def test_merged_parts_equal_numpy_on_the_whole(parts: list[FloatArray]) -> None:
    merged = reduce(Moments.merge, map(moments_of, parts))
    whole_nc = np.concatenate(parts)
    assert merged.count == len(whole_nc)
    np.testing.assert_allclose(merged.mean_c, whole_nc.mean(0), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(merged.std_c, whole_nc.std(0), rtol=1e-9, atol=1e-6)


@given(parts, st.randoms(use_true_random=False))
def test_the_order_of_parts_does_not_matter(parts: list[FloatArray], chance: Random) -> None:
    found = [moments_of(part) for part in parts]
    one = reduce(Moments.merge, found)
    chance.shuffle(found)
    other = reduce(Moments.merge, found)
    np.testing.assert_allclose(one.mean_c, other.mean_c, rtol=1e-12, atol=1e-12 * 1000)
    np.testing.assert_allclose(one.m2_c, other.m2_c, rtol=1e-12, atol=1e-12 * 1000**2)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=50))
def test_exact_sums_of_pixels_give_their_moments(pixels: list[int]) -> None:
    values = np.array(pixels, np.float64)
    moments = Moments.from_sums(len(pixels), [sum(pixels)], [sum(pixel**2 for pixel in pixels)])
    np.testing.assert_allclose(moments.mean_c[0], values.mean(), rtol=1e-12)
    np.testing.assert_allclose(moments.std_c[0], values.std(), rtol=1e-9, atol=1e-9)


def test_equal_pixels_have_no_spread() -> None:
    count, pixel = 10_000_019, 255
    moments = Moments.from_sums(count, [pixel * count], [pixel**2 * count])
    assert (moments.mean_c[0], moments.std_c[0]) == (pixel, 0)


def test_many_parts_far_from_zero_lose_no_digits() -> None:
    chance = np.random.default_rng(0)
    values_nc = 1e8 + chance.standard_normal((100_000, 1))
    merged = reduce(Moments.merge, map(moments_of, np.split(values_nc, 1000)))
    assert merged.std_c[0] == pytest.approx(values_nc.std(), rel=1e-9)


def test_scaled_moments_are_those_of_scaled_values() -> None:
    values_nc = np.random.default_rng(0).standard_normal((50, 3)) * 100 + 7
    scaled, expected = moments_of(values_nc).scaled(1 / 255), moments_of(values_nc / 255)
    np.testing.assert_allclose(scaled.mean_c, expected.mean_c, rtol=1e-12)
    np.testing.assert_allclose(scaled.std_c, expected.std_c, rtol=1e-12)
