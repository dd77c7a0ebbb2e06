"""Messages that help, and survive the way home from a worker process."""

from __future__ import annotations

import pickle

import pytest

from hepml_core import errors
from hepml_core.errors import DataError, DependencyError, HepmlError, UnknownNameError

EXAMPLES = [
    HepmlError("one"),
    DataError("part-0, record 3 at byte 17: cut"),
    UnknownNameError("branch", "jet_pt", ["jets_pt", "jets_eta"], "of tree Events"),
    DependencyError("torch", "train", "train event_images"),
]


def test_an_unknown_name_comes_with_the_nearest_one_and_all_others() -> None:
    error = UnknownNameError("branch", "jet_pt", ["jets_pt", "event", "jets_eta"], "in tree 'Events'")
    expected = (
        "unknown branch 'jet_pt' in tree 'Events'. Did you mean 'jets_pt'?\n  available: event, jets_eta, jets_pt"
    )
    assert str(error) == expected


def test_a_name_in_other_letters_is_near() -> None:
    assert "Did you mean 'X'?" in str(UnknownNameError("dataset", "x", ["X", "y"]))
    assert "Did you mean 'DetectorEta'?" in str(UnknownNameError("variable", "DETECTORETA", ["DetectorEta", "eta"]))


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert str(UnknownNameError("class", "zzz", ["higgs", "qcd"])) == "unknown class 'zzz'.\n  available: higgs, qcd"
    assert str(UnknownNameError("class", "higgs", [])).endswith("available: none")


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    assert (
        str(DependencyError("torch", "train", "the fit"))
        == "the fit needs the package torch: pip install 'hepml[train]'"
    )


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_keeps_its_kind_and_text_between_processes(error: HepmlError) -> None:
    home = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(home) is type(error)
    assert str(home) == str(error)


def test_the_tree_in_the_docstring_names_every_error() -> None:
    kinds = {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert errors.__doc__ is not None
    assert {word for word in errors.__doc__.split() if word.endswith("Error")} == kinds
    assert all(issubclass(getattr(errors, kind), HepmlError) for kind in kinds)
