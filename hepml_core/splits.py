"""Which event goes where: splits, categories and balance, decided by hashes.

Suffixes: n event, c class, k category, s split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import SettingError, UnknownNameError

SPLITS = ("train", "valid", "test")
OTHER = "other"

IntArray = NDArray[np.int64]
KeyArray = NDArray[np.uint64]
SplitArray = NDArray[np.int8] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Categories:
    """What becomes of each class.

    Attributes:
        names: Names of the categories, sorted, ``other`` last.
        of_class_c: Category of each class, -1 for a class that is left out.
    """

    names: list[str]
    of_class_c: IntArray


def check_fractions(train: float, valid: float, test: float) -> None:
    """Refuse fractions that are not a split.

    Raises:
        SettingError: One is negative, there is nothing to train on, or they do not add up to 1.
    """
    total = train + valid + test
    if min(train, valid, test) < 0 or train == 0:
        raise SettingError(f"fractions must not be negative and train_fraction not 0, got {train}, {valid}, {test}")
    if not math.isclose(total, 1, abs_tol=1e-6):
        hint = "; give fractions, not percent" if math.isclose(total, 100, abs_tol=1e-3) else ""
        fractions = f"{train} + {valid} + {test} = {total:g}"
        raise SettingError(f"train_fraction + valid_fraction + test_fraction must be 1, got {fractions}{hint}")


def uniform_of(key_n: KeyArray, seed: int) -> NDArray[np.float64]:
    """Turn the hash of each event's key and a seed into a number in [0, 1) (SplitMix64, Steele et al. 2014)."""
    state_n = key_n ^ mix(np.array([seed % 2**64], np.uint64))
    return (mix(state_n) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def assign_splits(key_n: KeyArray, fractions: Sequence[float], seed: int) -> IntArray:
    """Assign each event to a split by its key and the seed alone: adding events never moves one."""
    edges = np.cumsum(fractions)[:-1]
    return np.searchsorted(edges, uniform_of(key_n, seed), side="right")


def assign_splits_exactly(key_n: KeyArray, label_n: IntArray, fractions: Sequence[float], seed: int) -> IntArray:
    """Assign the events of each class to splits of exactly the asked sizes; within a class, the hash orders them."""
    chance_n = uniform_of(key_n, seed)
    split_n = np.zeros(len(key_n), np.int64)
    for label in np.unique(label_n):
        member_n = np.flatnonzero(label_n == label)
        ordered_n = member_n[np.lexsort((key_n[member_n], chance_n[member_n]))]
        split_n[ordered_n] = np.repeat(np.arange(len(fractions)), largest_remainder(len(member_n), fractions))
    return split_n


def largest_remainder(total: int, fractions: Sequence[float]) -> list[int]:
    """Share ``total`` in whole numbers: round down, then give what is left to the largest remainders (Hamilton)."""
    exact = [total * fraction / sum(fractions) for fraction in fractions]
    # Products such as 15 x 0.8 miss whole numbers by a rounding error, which must not count as a remainder.
    shares = [math.floor(share + 1e-9) for share in exact]
    order = sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares


def choose_categories(class_names: Sequence[str], categories: Sequence[str]) -> Categories:
    """Say which classes are kept under which name.

    Args:
        class_names: The classes there are.
        categories: Classes to keep, all if empty; ``other`` collects those that are not named.

    Raises:
        UnknownNameError: A category is no class.
        SettingError: Fewer than two categories are left.
    """
    named = sorted(set(categories or class_names) - ({OTHER} - set(class_names)))
    for name in named:
        if name not in class_names:
            raise UnknownNameError("category", name, class_names)
    rest = [name for name in class_names if name not in named]
    names = named + ([OTHER] if OTHER in categories and OTHER not in named and rest else [])
    if len(names) < 2:
        raise SettingError(f"categories leave only {', '.join(names)}: a classifier needs two or more")
    of_rest = names.index(OTHER) if names[-1] == OTHER and OTHER not in named else -1
    return Categories(names, np.array([names.index(name) if name in named else of_rest for name in class_names]))


def balance(
    key_n: KeyArray, label_n: IntArray, category_n: IntArray, split_n: SplitArray, seed: int
) -> NDArray[np.bool_]:
    """Choose events such that, in each split, every category has as many as the smallest one.

    A category of several classes takes equal parts of them, or all of a class that has fewer.

    Returns:
        Whether each event is kept; events of category -1 are not.
    """
    chance_n = uniform_of(key_n, seed ^ 0x62616C616E6365)
    keep_n = np.zeros(len(key_n), bool)
    for split in np.unique(split_n):
        here_n = (split_n == split) & (category_n >= 0)
        sizes = np.bincount(category_n[here_n])
        quota = sizes[sizes > 0].min(initial=len(key_n))
        for category in np.unique(category_n[here_n]):
            member_n = np.flatnonzero(here_n & (category_n == category))
            classes, available = np.unique(label_n[member_n], return_counts=True)
            for label, share in zip(classes, _equal_shares(int(quota), available.tolist()), strict=True):
                candidate_n = member_n[label_n[member_n] == label]
                order_n = np.lexsort((key_n[candidate_n], chance_n[candidate_n]))
                keep_n[candidate_n[order_n[:share]]] = True
    return keep_n


def _equal_shares(total: int, available: list[int]) -> list[int]:
    """Share ``total`` equally among members of limited size; what one lacks the others give."""
    shares = [0] * len(available)
    left = total
    order = sorted(range(len(available)), key=lambda i: available[i])
    for position, i in enumerate(order):
        shares[i] = min(available[i], left // (len(order) - position))
        left -= shares[i]
    return shares


def mix(state_n: KeyArray) -> KeyArray:
    """Apply one step of SplitMix64: every bit of the input moves every bit of the output with probability one half."""
    z = state_n + np.uint64(0x9E3779B97F4A7C15)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z
