from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hepml_core.jets.bounds import Bound, bound_of
from hepml_core.jets.grids import ZERO, Grid
from hepml_core.jets.relations import LIKE, Guess, coding_order, first_guess, residuals, wrap_of
from hepml_core.jets.root_files import energy_of
from hepml_core.jets.variables import SETS, VARIABLES

IntArray = NDArray[np.int64]


def grids_of(*names: str, **bounds: Bound) -> dict[str, Grid]:
    return {name: Grid(name, bound_of(name, bounds)) for name in names}


def guess_of(name: str, grids: dict[str, Grid], known: dict[str, IntArray]) -> Guess:
    guess = first_guess(name, grids, known)
    assert guess is not None
    return guess


@pytest.mark.parametrize("variables", [*SETS.values(), tuple(VARIABLES)], ids=lambda names: f"{len(names)}")
def test_every_variable_comes_after_the_one_that_tells_of_it(variables: tuple[str, ...]) -> None:
    order = coding_order(variables)
    assert sorted(order) == sorted(variables)
    for late, early in LIKE.items():
        if {late, early} <= set(order):
            assert order.index(early) < order.index(late)
    assert "E" not in order or order[-1] == "E"


def test_the_energy_of_four_vectors_is_guessed_to_a_step_or_two() -> None:
    chance = np.random.default_rng(0)
    pt_n, m_n = (chance.uniform(low, high, 5000).astype(np.float32) for low, high in ((20, 500), (1, 50)))
    eta_n = chance.uniform(-2.5, 2.5, 5000).astype(np.float32)
    values = {"pt": pt_n, "eta": eta_n, "m": m_n, "E": energy_of(pt_n, eta_n, m_n)}
    grids = grids_of("pt", "eta", "m", "E")
    known = {name: grids[name].to_index(values[name])[0] for name in ("pt", "eta", "m")}
    error_n = grids["E"].to_index(values["E"])[0] - guess_of("E", grids, known).index_n
    assert np.abs(error_n).max() <= 2  # each of pt, eta and m is known to half a step


def test_massless_objects_need_no_mass_to_guess_their_energy() -> None:
    pt_n, eta_n = np.full(50, 40.0), np.linspace(-3, 3, 50)
    grids = grids_of("pt", "eta", "E")
    known = {"pt": grids["pt"].to_index(pt_n)[0], "eta": grids["eta"].to_index(eta_n)[0]}
    guess_n = guess_of("E", grids, known).index_n
    assert np.abs(grids["E"].to_index(pt_n * np.cosh(eta_n))[0] - guess_n).max() <= 2
    with_zero = {**known, "m": np.full(50, ZERO)}
    assert np.array_equal(guess_of("E", grids_of("pt", "eta", "m", "E"), with_zero).index_n, guess_n)


@pytest.mark.parametrize("index", [ZERO, -(1 << 40), 1 << 40, 0])
def test_absurd_indices_give_a_guess_and_no_warning(index: int) -> None:
    grids = grids_of(*VARIABLES)
    known = {name: np.full(3, index) for name in VARIABLES}
    for name in ("E", *LIKE):
        assert len(guess_of(name, grids, known).index_n) == 3


def test_a_variable_on_a_finer_grid_is_guessed_in_proportion() -> None:
    grids = grids_of("pt", "m", pt=Bound(2e-3, True), m=Bound(1e-3, True))
    known = {"pt": np.arange(-1000, 1000)}
    guess = guess_of("m", grids, known)
    assert np.abs(guess.index_n * grids["m"].step - known["pt"] * grids["pt"].step).max() <= grids["m"].step * 0.51


def test_a_guess_near_the_middle_between_two_numbers_is_marked() -> None:
    grids = grids_of("eta", "DetectorEta", eta=Bound(1e-3, False), DetectorEta=Bound(2e-3, False))
    guess = guess_of("DetectorEta", grids, {"eta": np.arange(6)})
    assert guess.unsure_n.tolist() == [False, True, False, True, False, True]  # 0, 1/2, 1, 3/2, …


def test_what_nothing_tells_of_has_no_guess() -> None:
    grids = grids_of("pt", "eta", "m", m=Bound(1e-3, False))
    known = {"pt": np.array([500, 600])}
    for name in ("eta", "m"):  # m is not on a logarithmic grid here, pt is
        assert first_guess(name, grids, known) is None


@pytest.mark.parametrize(
    ("pt", "mass", "expected"),
    [
        (500, 0.0, (ZERO, ZERO, True)),
        (-5, 0.0, (ZERO, ZERO, True)),
        (600, 1.0, (-600, 0, True)),
        (-ZERO, 1.0, (ZERO, 0, False)),  # the difference is the number that means zero
    ],
    ids=["zero", "zero_of_a_soft_jet", "number", "like_zero"],
)
def test_a_zero_is_no_difference_and_no_difference_is_taken_for_a_zero(
    pt: int, mass: float, expected: tuple[int, int, bool]
) -> None:
    known: dict[str, IntArray] = {}
    coded = residuals(grids_of("pt", "m"), {"pt": np.ones(2), "m": np.full(2, mass)}, known)
    next(coded)
    known["pt"] = np.full(2, pt)
    _, residual_n, index_n, good_n = next(coded)
    assert list(zip(residual_n, index_n, good_n, strict=True)) == [expected] * 2


def test_differences_of_angles_go_the_nearest_way_round() -> None:
    grid = Grid("ActiveArea4vec_phi", Bound(1e-3, False))
    wrap = wrap_of("ActiveArea4vec_phi", grid)
    assert wrap is not None
    turn = round(2 * np.pi / grid.step)
    difference_n = np.array([0, 5, turn - 5, 5 - turn, turn, 3 * turn + 1])
    assert wrap(difference_n).tolist() == [0, 5, -5, 5, 0, 1]


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("phi", Bound(1e-3, False)),
        ("ActiveArea4vec_phi", Bound(10, False)),
        ("ActiveArea4vec_phi", Bound(0, False)),
        ("ActiveArea4vec_phi", Bound(1e-3, True)),
    ],
    ids=["alone", "wider_than_a_turn", "exact", "logarithmic"],
)
def test_what_has_no_turn_is_not_wrapped(name: str, bound: Bound) -> None:
    assert wrap_of(name, Grid(name, bound)) is None
