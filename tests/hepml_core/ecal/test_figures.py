"""What the figures of the report are drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from hepml_core.ecal.event_records import Events
from hepml_core.ecal.figures import Judged, energy_of, mean_of
from hepml_core.ecal.hits import Hits, hits_of_images
from tests.ecal_shards import ELECTRON, shower_images


def test_energies_and_means_are_those_of_the_images_in_gev() -> None:
    image_eyxc = shower_images(5, ELECTRON)
    image_eyxc[2] = 0
    hits = hits_of_images(image_eyxc)
    assert energy_of(hits) == pytest.approx(50 * image_eyxc[..., 0].sum((1, 2), dtype=np.float64))
    np.testing.assert_allclose(mean_of(hits), 50 * image_eyxc[..., 0].mean(0), rtol=1e-5)


def test_the_mean_of_no_events_is_an_empty_image() -> None:
    nothing = Hits(
        np.empty(0, np.uint16), np.empty(0, np.float32), np.empty(0, np.float32), np.zeros(1, np.int64), (3, 4)
    )
    assert mean_of(nothing).shape == (3, 4)
    assert not mean_of(nothing).any()


def test_the_more_probable_class_is_predicted_and_events_know_their_place() -> None:
    hits = hits_of_images(shower_images(3, ELECTRON))
    events = Events(hits, np.ones(3, np.int64), np.array([0, 1, 1]), np.array([5, 6, 7]), np.zeros(3, np.float32))
    judged = Judged(events, np.array([0.2, 0.5, 0.8]), ["a.h5", "b.h5"])
    assert judged.predicted_e.tolist() == [0, 0, 1]
    np.testing.assert_allclose(judged.probability_ec.sum(1), 1)
    assert judged.place_of(2) == "b.h5 row 7"
