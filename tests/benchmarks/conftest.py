"""Jets to compress: few, and drawn anew in every session."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.jets_samples import SMALL, Sample, toy_sample
from hepml_core.jets.toy_jets import add_variables
from hepml_core.jets.toys import make_events
from hepml_core.jets.variables import SETS

TINY = replace(SMALL, name="tiny", phenoml_events=400, xaod_events=400)


def drawn(variables: Sequence[str]) -> Sample:
    """Draw about 2,000 jets of some events."""
    rng = np.random.default_rng(3)
    events = make_events("ttbar", 380, 20.0, rng)
    events = add_variables(events.select_objects(np.isin(events.object_n, ("j", "b"))), rng)
    values = {name: events.values[name].astype(np.float32) for name in variables}
    return Sample("toys", values, events.count_e)


@pytest.fixture(scope="session")
def four() -> Sample:
    """Objects with E, pt, eta, phi."""
    return drawn(SETS["phenoml4"])


@pytest.fixture(scope="session")
def all27() -> Sample:
    """Jets with 27 variables."""
    return drawn(SETS["atlas27"])


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Jets with the two models that were fitted, for a moment, to others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("bench")))
        return toy_sample("atlas4", TINY)


@pytest.fixture
def toy_text(tmp_path: Path) -> Path:
    """A PhenoML file of 60 events."""
    from hepml_core.jets.generate import format_events

    file = tmp_path / "toys.csv"
    events = make_events("gluino", 60, 20.0, np.random.default_rng(8))
    file.write_bytes(format_events(events, ";\n"))
    return file
