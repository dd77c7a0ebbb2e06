"""Hits hold what dense images hold, whatever is done to both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hepml_core.ecal.batches import mirrored
from hepml_core.ecal.hits import PADDING_STEP, Hits, hits_of_images, join
from hepml_core.errors import DataError, SettingError
from tests.ecal_shards import Images, shower_images

Sizes = st.tuples(st.integers(0, 6), st.integers(1, 7), st.integers(1, 7))
VALUES = st.one_of(st.just(0.0), st.floats(-4, 4, width=32))


@st.composite
def sparse_images(draw: st.DrawFn) -> Images:
    """Draw images in which a time stands only where there is energy."""
    shape = (*draw(Sizes), 2)
    image_eyxc = draw(hnp.arrays(np.float32, shape, elements=VALUES))
    image_eyxc[image_eyxc[..., 0] == 0] = 0
    return image_eyxc


@given(sparse_images())
def test_images_to_hits_and_back_are_the_same(image_eyxc: Images) -> None:
    hits = hits_of_images(image_eyxc)
    assert np.array_equal(hits.to_images(), image_eyxc)
    assert len(hits) == len(image_eyxc)
    assert np.diff(hits.first_e).tolist() == np.count_nonzero(image_eyxc[..., 0], (1, 2)).tolist()


@given(sparse_images())
def test_hits_of_an_event_are_sorted_by_crystal(image_eyxc: Images) -> None:
    hits = hits_of_images(image_eyxc)
    order_h = hits.event_h * hits.shape[0] * hits.shape[1] + hits.crystal_h
    assert (np.diff(order_h) > 0).all()


@given(sparse_images(), st.data())
def test_choosing_events_is_choosing_images(image_eyxc: Images, data: st.DataObject) -> None:
    most = len(image_eyxc) - 1
    chosen = data.draw(st.lists(st.integers(0, most), max_size=8)) if most >= 0 else []
    event_e = np.array(chosen, np.int64)
    assert np.array_equal(hits_of_images(image_eyxc).of(event_e).to_images(), image_eyxc[event_e])


@given(sparse_images(), st.floats(-2, 2, width=32))
def test_a_cut_on_hits_is_a_cut_on_pixels(image_eyxc: Images, cut: float) -> None:
    hits = hits_of_images(image_eyxc)
    kept_eyx = image_eyxc[..., 0] > np.float32(cut)
    assert np.array_equal(hits.where(hits.energy_h > np.float32(cut)).to_images(), image_eyxc * kept_eyx[..., None])


@given(sparse_images(), st.data())
def test_a_crop_of_hits_is_a_crop_of_pixels(image_eyxc: Images, data: st.DataObject) -> None:
    rows, columns = image_eyxc.shape[1:3]
    size = data.draw(st.integers(1, min(rows, columns)))
    top, left = rows // 2 - size // 2, columns // 2 - size // 2
    cropped = hits_of_images(image_eyxc).cropped(size)
    assert cropped.shape == (size, size)
    assert np.array_equal(cropped.to_images(), image_eyxc[:, top : top + size, left : left + size])


@pytest.mark.parametrize("size", [0, -1, 33])
def test_a_crop_that_is_no_part_of_the_image_is_refused(size: int) -> None:
    with pytest.raises(SettingError, match=f"crop must be between 1 and 32 crystals, got {size}"):
        hits_of_images(shower_images(2, 0)).cropped(size)


@given(sparse_images())
def test_padded_hits_add_up_to_the_images(image_eyxc: Images) -> None:
    events, rows, columns, _ = image_eyxc.shape
    padded = hits_of_images(image_eyxc).padded()
    assert padded.crystal_bh.shape[1] % PADDING_STEP == 0
    for value_bh, channel in ((padded.energy_bh, 0), (padded.time_bh, 1)):
        total_ep = np.zeros((events, rows * columns), np.float32)
        np.add.at(total_ep, (np.arange(events)[:, None], padded.crystal_bh), value_bh)
        assert np.array_equal(total_ep.reshape(events, rows, columns), image_eyxc[..., channel])


def test_joined_parts_are_the_whole() -> None:
    image_eyxc = shower_images(9, 1)
    parts = [hits_of_images(image_eyxc[part]) for part in (slice(0, 4), slice(4, 4), slice(4, 9))]
    assert np.array_equal(join(parts).to_images(), image_eyxc)


def test_images_of_different_sizes_are_not_joined() -> None:
    parts = [hits_of_images(shower_images(1, 0, size=size)) for size in (16, 32)]
    with pytest.raises(DataError, match="of one size"):
        join(parts)
    with pytest.raises(DataError, match="of one size"):
        join([])


def test_an_event_may_lose_all_hits() -> None:
    hits = hits_of_images(shower_images(3, 0))
    nothing = hits.where(np.zeros(len(hits.energy_h), bool))
    assert (len(nothing), len(nothing.energy_h)) == (3, 0)
    assert not nothing.to_images().any()
    assert not nothing.padded().energy_bh.any()


def test_the_largest_image_fits_into_the_numbers_of_crystals() -> None:
    image_eyxc = np.zeros((1, 256, 256, 2), np.float32)
    image_eyxc[0, -1, -1] = 1, 2
    hits = hits_of_images(image_eyxc)
    assert hits.crystal_h.tolist() == [65535]
    assert isinstance(hits, Hits)
    assert np.array_equal(hits.to_images(), image_eyxc)


@pytest.mark.parametrize("size", [32, 16, 15, 9, 2, 1])
def test_a_crop_keeps_the_seed_in_the_middle_where_mirrors_and_figures_look_for_it(size: int) -> None:
    image_eyxc = np.zeros((1, 32, 32, 2), np.float32)
    image_eyxc[0, 16, 16] = 1.0, 0.1
    cropped = hits_of_images(image_eyxc).cropped(size)
    middle = size // 2 * size + size // 2
    assert cropped.crystal_h.tolist() == [middle]
    assert mirrored(cropped.crystal_h.astype(np.int64), cropped.shape).tolist() == [middle]
