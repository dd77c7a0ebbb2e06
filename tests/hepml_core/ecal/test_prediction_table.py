"""The table of predictions: one line an event, any name of a file."""

from __future__ import annotations

import csv
import io

import numpy as np

from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hits import hits_of_images
from hepml_core.ecal.prediction_table import header, lines_of, predicted_class


def some_events() -> Events:
    hits = hits_of_images(np.ones((3, 2, 2, 2), np.float32))
    return Events(
        hits, np.array([0, 1, 1]), np.array([1, 0, 1]), np.array([7, 0, 10**9]), np.full(3, np.nan, np.float32)
    )


def test_a_line_tells_place_truth_and_probability_whatever_the_name_of_the_file() -> None:
    files = ['a, "b"\nc.hdf5', "größe.h5"]
    electron_e = np.array([1 / 3, 0.999999999, 2e-12])
    text = (header(truth=True) + lines_of(some_events(), electron_e, files, truth=True)).decode()
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == [
        {"file": files[1], "row": "7", "true": "photon", "predicted": "photon", "p_electron": "0.333333"},
        {"file": files[0], "row": "0", "true": "electron", "predicted": "electron", "p_electron": "1"},
        {"file": files[1], "row": "1000000000", "true": "electron", "predicted": "photon", "p_electron": "2e-12"},
    ]


def test_without_truth_there_is_no_such_column() -> None:
    text = (header(truth=False) + lines_of(some_events(), np.zeros(3), ["a", "b"], truth=False)).decode()
    assert text.splitlines() == [
        "file,row,predicted,p_electron",
        "b,7,photon,0",
        "a,0,photon,0",
        "b,1000000000,photon,0",
    ]


def test_of_equally_probable_classes_the_photon_is_predicted() -> None:
    assert [predicted_class(electron) for electron in (0.0, 0.5, 0.5000001, 1.0)] == ["photon"] * 2 + ["electron"] * 2
