"""Benchmarks are found by name."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import choose, main, meaning
from benchmarks.jets_samples import SMALL
from hepml_core.errors import UnknownNameError


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="compression"):
        main(["--small", "compresion"])


def test_every_benchmark_says_what_it_compares() -> None:
    benchmarks = choose(SMALL)
    assert {"convert", "organize", "normalize", "read", "memory", "compression", "jets_convert"} <= benchmarks.keys()
    assert all(len(meaning(benchmark)) > 30 for benchmark in benchmarks.values())
