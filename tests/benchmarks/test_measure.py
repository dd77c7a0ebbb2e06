"""Rates are medians of alternating runs, and numbers come out of what is printed."""

from __future__ import annotations

import pytest

from benchmarks.measure import Numbers, compare, numbers_of, run_module


def test_numbers_are_read_from_lines_and_other_lines_passed_over() -> None:
    assert numbers_of("seconds=0.5\nprogress: half\nrows=12") == {"seconds": 0.5, "rows": 12}


def test_both_sides_take_turns_and_the_median_counts(capsys: pytest.CaptureFixture[str]) -> None:
    turns: list[str] = []

    def side(name: str, seconds: list[float]) -> Numbers:
        turns.append(name)
        return {"seconds": seconds[turns.count(name) - 1], "rows": 100}

    last = compare(lambda: side("ours", [1, 2, 50]), lambda: side("peer", [4, 8, 8]), 1, "rows", per="rows")
    assert turns == ["ours", "peer"] * 3
    assert last == ({"seconds": 50, "rows": 100}, {"seconds": 8, "rows": 100})
    assert "ours 50 rows/s (2-100), peer 12 rows/s (12-25): ratio 4.00" in capsys.readouterr().out


def test_a_side_that_fails_ends_the_benchmark_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match="no_such_peer"):
        run_module("benchmarks.jets_peers", "no_such_peer")
