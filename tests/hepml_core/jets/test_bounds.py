from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.errors import SettingError, UnknownNameError
from hepml_core.jets.bounds import Bound, bound_of, parse_bounds
from hepml_core.jets.variables import VARIABLES


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("pt=1e-3 relative", Bound(1e-3, True)),
        ("pt=1e-3", Bound(1e-3, True)),
        ("pt:0.5 absolute", Bound(0.5, False)),
        (" eta = 2E-4 ", Bound(2e-4, False)),
        ("eta=1e-3 relative", Bound(1e-3, True)),
        ("m=exact", Bound(0.0, True)),
    ],
)
def test_a_bound_is_read_as_it_is_written(text: str, bound: Bound) -> None:
    assert list(parse_bounds((text,)).values()) == [bound]


@pytest.mark.parametrize(
    "text", ["", "pt", "pt=", "pt=0", "pt=-1", "pt=1e400", "pt=1e-400", "pt=nan", "pt=1.2.3", "pt=1e-3 wide", "pt=1 2"]
)
def test_what_is_no_bound_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingError, match=r"pt=1e-3 relative, eta=1e-3 or m=exact, got"):
        parse_bounds((text,))


def test_a_bound_of_an_unknown_variable_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'ActiveAria' in bounds\. Did you mean 'ActiveArea'"):
        parse_bounds(("ActiveAria=1e-3",))


@given(st.sampled_from(sorted(VARIABLES)), st.floats(1e-300, 9e8), st.booleans())
def test_every_bound_is_read_back_as_written(name: str, size: float, relative: bool) -> None:
    text = f"{name}={size!r} {'relative' if relative else 'absolute'}"
    assert parse_bounds((text,)) == {name: Bound(size, relative)}


def test_a_bound_of_six_digits_says_what_can_be_written_again() -> None:
    for bound in (Bound(1e-3, True), Bound(0.25, False), Bound(0.0, True)):
        assert parse_bounds((f"pt={bound}",)) == {"pt": bound}


def test_variables_that_are_not_named_have_their_own_bound_and_whole_numbers_none() -> None:
    asked = {"pt": Bound(0.1, False)}
    assert bound_of("pt", asked) == Bound(0.1, False)
    assert bound_of("m", asked) == Bound(1e-3, True)
    assert bound_of("eta", asked) == Bound(1e-3, False)
    assert bound_of("N90Constituents", asked).size == 0
