"""The loops that ours are compared with read what ours read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from benchmarks import jets_peers
from benchmarks.measure import numbers_of
from hepml_core.jets.csv_files import read_csv


@pytest.mark.parametrize(("name", "result"), [("csv_as_original", "original.pkl"), ("csv_loops", "loops.pkl")])
def test_both_loops_find_the_objects_that_convert_finds(
    toy_text: Path, tmp_path: Path, name: str, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    getattr(jets_peers, name)(str(toy_text), str(tmp_path))
    codes, four_nf = pickle.loads((tmp_path / result).read_bytes())  # noqa: S301 - written a line above
    (events,) = read_csv(toy_text, events_per_chunk=1000, on_bad_input="fail", skipped=[])
    assert codes == events.object_n.tolist()
    expected = np.stack(
        [events.values["E"] * 1e3, events.values["pt"] * 1e3, events.values["eta"], events.values["phi"]], 1
    )
    np.testing.assert_allclose(four_nf, expected, rtol=1e-6)
    assert numbers_of(capsys.readouterr().out)["seconds"] > 0
