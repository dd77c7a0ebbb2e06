"""Splits, categories and balance: nothing is lost, nothing is twice, nothing moves."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepml_core.errors import SettingError, UnknownNameError
from hepml_core.splits import (
    KeyArray,
    assign_splits,
    assign_splits_exactly,
    balance,
    check_fractions,
    choose_categories,
    largest_remainder,
    uniform_of,
)
from hepml_core.tfrecord import hash64

THREE = (0.7, 0.15, 0.15)
SPEC_FRACTIONS = [(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.7, 0.15, 0.15)]

keys = st.lists(st.integers(0, 2**64 - 1), max_size=60, unique=True).map(lambda found: np.array(found, np.uint64))
seeds = st.integers(-(2**70), 2**70)
fractions = (
    st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any).map(lambda f: tuple(x / sum(f) for x in f))
)


def many_keys(count: int) -> KeyArray:
    return np.array([hash64(f"higgs/{number}.png".encode()) for number in range(count)], np.uint64)


# Which split.


@given(keys, fractions, seeds)
def test_every_event_is_in_one_split_that_was_asked_for(key_n: KeyArray, asked: tuple[float, ...], seed: int) -> None:
    split_n = assign_splits(key_n, asked, seed)
    assert len(split_n) == len(key_n)
    assert set(split_n.tolist()) <= {number for number, fraction in enumerate(asked) if fraction}


@given(keys, keys, seeds)
def test_no_event_moves_when_events_are_added_or_their_order_changes(
    old_n: KeyArray, new_n: KeyArray, seed: int
) -> None:
    both_n = np.concatenate([new_n[::-1], old_n])
    assert np.array_equal(assign_splits(old_n, THREE, seed), assign_splits(both_n, THREE, seed)[len(new_n) :])


def test_the_split_of_a_key_never_changes_between_versions() -> None:
    key_n = np.array([hash64(b"higgs/0001.png"), 0, 2**64 - 1], np.uint64)
    assert uniform_of(key_n, 0).tolist() == [0.4531608416499787, 0.6524484863740322, 0.1790798029343914]
    assert uniform_of(key_n, 7).tolist() == [0.03108754332962471, 0.7215081806049702, 0.6627413876392583]


def test_the_mixing_is_that_of_splitmix64() -> None:
    """The generator's published first two outputs from state 0: the second mixes what the constant has moved it to."""
    outputs, step = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4], 0x9E3779B97F4A7C15
    key_n = np.array([state ^ outputs[0] for state in (0, step)], np.uint64)
    assert uniform_of(key_n, 0).tolist() == [(output >> 11) * 2.0**-53 for output in outputs]


@given(keys, seeds)
def test_numbers_are_in_the_half_open_unit_interval_for_any_seed(key_n: KeyArray, seed: int) -> None:
    chance_n = uniform_of(key_n, seed)
    assert ((chance_n >= 0) & (chance_n < 1)).all()


@pytest.mark.parametrize("key_n", [many_keys(20_000), np.arange(20_000, dtype=np.uint64)], ids=["hashed", "counted"])
def test_splits_have_about_the_asked_sizes(key_n: KeyArray) -> None:
    for seed in range(3):
        sizes = np.bincount(assign_splits(key_n, THREE, seed), minlength=3)
        for size, fraction in zip(sizes, THREE, strict=True):
            assert abs(size - fraction * len(key_n)) < 5 * math.sqrt(len(key_n) * fraction * (1 - fraction))


def test_another_seed_is_another_and_independent_split() -> None:
    key_n = many_keys(20_000)
    first, second = assign_splits(key_n, THREE, 0), assign_splits(key_n, THREE, 1)
    agreeing = sum(fraction**2 for fraction in THREE)
    assert abs(np.mean(first == second) - agreeing) < 0.02


# Exact sizes.


@given(st.integers(0, 10**7), fractions)
def test_shares_add_up_and_miss_the_exact_ones_by_less_than_one(total: int, asked: tuple[float, ...]) -> None:
    shares = largest_remainder(total, asked)
    assert sum(shares) == total
    for share, fraction in zip(shares, asked, strict=True):
        assert abs(share - total * fraction) < 1 + 1e-6
        assert share >= 0
        assert fraction or not share


@pytest.mark.parametrize("asked", SPEC_FRACTIONS)
@pytest.mark.parametrize("total", [5, 7, 15, 17, 33, 101])
def test_the_sizes_that_the_original_rounded_lose_no_event(total: int, asked: tuple[float, ...]) -> None:
    shares = largest_remainder(total, asked)
    assert sum(shares) == total
    assert all(abs(share - total * fraction) < 1 for share, fraction in zip(shares, asked, strict=True))


@pytest.mark.parametrize(
    ("total", "asked", "shares"),
    [
        (15, (0.8, 0.1, 0.1), [12, 2, 1]),
        (5, (0.8, 0.1, 0.1), [4, 1, 0]),
        (101, (0.6, 0.2, 0.2), [61, 20, 20]),
        (10, (0.7, 0.15, 0.15), [7, 2, 1]),
        (10, (0.1, 0.2, 0.7), [1, 2, 7]),
        (0, (0.8, 0.1, 0.1), [0, 0, 0]),
        (1, (0.4, 0.3, 0.3), [1, 0, 0]),
    ],
)
def test_what_rounding_leaves_goes_to_the_largest_remainders(
    total: int, asked: tuple[float, ...], shares: list[int]
) -> None:
    assert largest_remainder(total, asked) == shares


@given(keys, fractions, seeds, st.integers(1, 4))
def test_every_class_is_split_to_exactly_the_asked_sizes(
    key_n: KeyArray, asked: tuple[float, ...], seed: int, classes: int
) -> None:
    label_n = (key_n % np.uint64(classes)).astype(np.int64)
    split_n = assign_splits_exactly(key_n, label_n, asked, seed)
    for label in range(classes):
        sizes = np.bincount(split_n[label_n == label], minlength=3).tolist()
        assert sizes == largest_remainder(int((label_n == label).sum()), asked)
    order_n = np.argsort(key_n)
    assert np.array_equal(assign_splits_exactly(key_n[order_n], label_n[order_n], asked, seed), split_n[order_n])


def test_an_exact_split_differs_between_seeds() -> None:
    key_n, label_n = many_keys(1000), np.zeros(1000, np.int64)
    first, second = (assign_splits_exactly(key_n, label_n, THREE, seed) for seed in (0, 1))
    assert (first != second).sum() > 300


# Fractions.


@pytest.mark.parametrize("asked", [*SPEC_FRACTIONS, (1, 0, 0), (1 / 3, 1 / 3, 1 / 3), (0.1, 0.2, 0.7)])
def test_fractions_that_add_up_are_taken(asked: tuple[float, float, float]) -> None:
    check_fractions(*asked)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            (0.7, 0.2, 0.2),
            r"train_fraction \+ valid_fraction \+ test_fraction must be 1, got 0\.7 \+ 0\.2 \+ 0\.2 = 1\.1$",
        ),
        ((70, 15, 15), r"got 70 \+ 15 \+ 15 = 100; give fractions, not percent"),
        ((0.5, 0.2, 0.2), "must be 1"),
        ((1.2, -0.1, -0.1), "must not be negative"),
        ((0, 0.5, 0.5), "train_fraction not 0"),
        ((math.nan, 0.5, 0.5), "must be 1"),
    ],
)
def test_fractions_that_are_no_split_are_refused(asked: tuple[float, float, float], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        check_fractions(*asked)


# Categories.


@pytest.mark.parametrize(
    ("categories", "names", "of_class"),
    [
        ((), ["higgs", "jpsi", "qcd", "upsilon"], [0, 1, 2, 3]),
        (("qcd", "higgs"), ["higgs", "qcd"], [0, -1, 1, -1]),
        (("higgs", "other"), ["higgs", "other"], [0, 1, 1, 1]),
        (("other", "qcd", "jpsi"), ["jpsi", "qcd", "other"], [2, 0, 1, 2]),
        (("upsilon", "qcd", "jpsi", "higgs", "other"), ["higgs", "jpsi", "qcd", "upsilon"], [0, 1, 2, 3]),
    ],
)
def test_classes_are_kept_collected_in_other_or_left_out(
    categories: tuple[str, ...], names: list[str], of_class: list[int]
) -> None:
    chosen = choose_categories(["higgs", "jpsi", "qcd", "upsilon"], categories)
    assert chosen.names == names
    assert chosen.of_class_c.tolist() == of_class


def test_other_is_last_whatever_the_classes_are_called() -> None:
    chosen = choose_categories(["zz", "qcd", "ww"], ("zz", "other"))
    assert chosen.names == ["zz", "other"]
    assert chosen.of_class_c.tolist() == [0, 1, 1]


def test_a_class_that_is_called_other_is_a_class() -> None:
    chosen = choose_categories(["higgs", "other", "qcd"], ("higgs", "other"))
    assert chosen.names == ["higgs", "other"]
    assert chosen.of_class_c.tolist() == [0, 1, -1]


def test_a_category_that_is_no_class_comes_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown category 'higs'\. Did you mean 'higgs'"):
        choose_categories(["higgs", "qcd"], ("higs", "other"))


@pytest.mark.parametrize("categories", [("higgs",), ("other",)])
def test_one_category_is_nothing_to_classify(categories: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match=f"categories leave only {categories[0]}: a classifier needs two or more"):
        choose_categories(["higgs", "qcd"], categories)


# Balance.

Events = tuple[KeyArray, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@st.composite
def events(draw: st.DrawFn) -> Events:
    """Draw events of up to five classes, in up to three categories and splits; some are left out."""
    of_class_c = np.array(draw(st.lists(st.integers(-1, 2), min_size=5, max_size=5)))
    rows = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=80))
    label_n, split_n = np.array(rows, np.int64).reshape(-1, 2).T
    return many_keys(len(rows)), label_n, of_class_c[label_n], split_n


@given(events(), seeds)
def test_each_category_of_a_split_keeps_as_many_as_the_smallest_one_has(drawn: Events, seed: int) -> None:
    key_n, label_n, category_n, split_n = drawn
    keep_n = balance(key_n, label_n, category_n, split_n, seed)
    assert not keep_n[category_n < 0].any()
    for split in set(split_n.tolist()):
        here_n = (split_n == split) & (category_n >= 0)
        sizes = Counter(category_n[here_n].tolist())
        kept = Counter(category_n[here_n & keep_n].tolist())
        assert kept == {category: min(sizes.values()) for category in sizes}


@given(events(), seeds)
def test_the_classes_of_a_category_give_equal_parts_or_all_they_have(drawn: Events, seed: int) -> None:
    key_n, label_n, category_n, split_n = drawn
    keep_n = balance(key_n, label_n, category_n, split_n, seed)
    for split in set(split_n.tolist()):
        for category in set(category_n[(split_n == split) & (category_n >= 0)].tolist()):
            member_n = (split_n == split) & (category_n == category)
            had, kept = Counter(label_n[member_n].tolist()), Counter(label_n[member_n & keep_n].tolist())
            most = max(kept.values())
            assert all(kept[label] >= most - 1 or kept[label] == had[label] for label in had)


def test_other_takes_from_large_classes_what_small_ones_lack() -> None:
    label_n = np.repeat([0, 1, 2, 3], [30, 4, 50, 50])
    category_n = np.array([0, 1, 1, 1])[label_n]
    keep_n = balance(many_keys(134), label_n, category_n, np.zeros(134, np.int64), seed=0)
    assert np.bincount(label_n[keep_n]).tolist() == [30, 4, 13, 13]


def test_what_balance_keeps_depends_on_the_seed_and_not_on_the_order() -> None:
    key_n, label_n, split_n = many_keys(300), np.repeat([0, 1], [100, 200]), np.zeros(300, np.int64)
    first, second = (balance(key_n, label_n, label_n, split_n, seed) for seed in (0, 1))
    assert first.sum() == second.sum() == 200
    assert (first != second).any()
    backwards = balance(key_n[::-1], label_n[::-1], label_n[::-1], split_n, 0)
    assert np.array_equal(backwards[::-1], first)


def test_what_balance_keeps_does_not_depend_on_how_the_split_was_drawn() -> None:
    """Its hash is another one: else it would keep those nearest to the edge of their split."""
    key_n = many_keys(4000)
    keep_n = balance(key_n, *(np.repeat([0, 1], [1000, 3000]),) * 2, np.zeros(4000, np.int64), 0)
    mean = uniform_of(key_n[1000:], 0)[keep_n[1000:]].mean()
    assert abs(mean - 0.5) < 5 / math.sqrt(12 * 1000)
