"""The table has a line for every method, of bytes that were counted and values that were checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import jets_compression
from benchmarks.jets_codecs import Columns, Stored
from benchmarks.jets_compression import Blocks, Row, baler, measure, ours, print_table, table
from benchmarks.jets_compressors import methods, unzstd, zstd
from benchmarks.jets_samples import Sample, Values
from benchmarks.measure import importable
from hepml_core.errors import DataError
from hepml_core.jets.codecs import ColumnCodec
from hepml_core.jets.grids import Grid


class Careless(Stored):
    """Forgets a thousandth and a bit of the first variable."""

    def encode(self, sample: Sample) -> list[bytes]:
        return [zstd(value_n) for value_n in sample.values.values()]

    def decode(self, parts: Sequence[bytes], sample: Sample) -> Values:
        values = {name: unzstd(part) for name, part in zip(sample.variables, parts, strict=True)}
        values[sample.variables[0]][-1] *= 1.0011
        return values


def test_a_method_that_breaks_a_bound_once_is_refused_by_name(four: Sample) -> None:
    with pytest.raises(DataError, match=r"Careless keeps only 99\.9"):
        measure(Careless("Careless"), four)


def test_a_method_without_bounds_says_which_part_it_keeps(four: Sample) -> None:
    row = measure(Careless("Careless"), four, holds_bounds=False)
    assert row.held == pytest.approx(1 - 1 / (4 * four.jets), abs=1e-9)


def test_bytes_and_rates_are_those_of_the_parts(four: Sample) -> None:
    row = measure(Columns("zstd", zstd, unzstd), four)
    assert row.jet_bytes == sum(len(zstd(value_n)) for value_n in four.values.values()) / four.jets
    assert row.held == 1
    assert row.encode_mb > 0 < row.decode_mb


def test_a_package_that_is_missing_is_named_with_the_command_that_brings_it(four: Sample) -> None:
    row = measure(Columns("tomorrow's", zstd, unzstd, needs="compressor_of_tomorrow"), four)
    assert row.jet_bytes is None
    assert "pip install compressor_of_tomorrow" in row.remark


def test_blocks_of_events_come_back_in_their_order(four: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jets_compression, "EVENTS_PER_BLOCK", 37)
    method = Blocks("columns", ColumnCodec({name: Grid(name, bound) for name, bound in four.bounds.items()}))
    parts = method.encode(four)
    assert len(parts) == 2 * 4 * -(-len(four.count_e) // 37)
    assert jets_compression.share_within(four.bounds, four.values, method.decode(parts, four)) == 1


def test_the_models_own_bytes_are_spread_over_the_jets(fitted: Sample) -> None:
    density = next(method for method, _ in ours(fitted) if method.name == "ours: density")
    row = measure(density, fitted)
    assert row.model_bytes * fitted.jets == len(fitted.models["density"].read("density.safetensors"))


def test_the_table_has_a_line_for_every_method(fitted: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(fitted, table(fitted))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(methods()) + 5
    assert {line.count("|") for line in lines} == {8}
    unbounded = [line for line in lines if "no bound" in line]
    assert all("autoencoder" in line and "corrected" not in line for line in unbounded)
    assert len(unbounded) == 2


def test_a_line_without_numbers_gives_its_reason(four: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(four, [Row("theirs", remark="cannot be run: it is broken")])
    assert "| theirs | cannot be run: it is broken |" in capsys.readouterr().out


def test_what_cannot_be_imported_is_a_line_and_no_error(four: Sample, tmp_path: Path) -> None:
    if importable("baler_compressor"):
        pytest.skip("baler-compressor is installed here")
    assert "baler-compressor" in baler(four, tmp_path).remark


def test_training_rows_and_compared_jets_have_no_event_in_common(fitted: Sample) -> None:
    from hepml_core.artifacts import read_manifest
    from hepml_core.jets.rows import read_rows

    assert fitted.dataset is not None
    manifest = read_manifest(fitted.dataset, "dataset", "jets")
    of_split = {
        split: read_rows(fitted.dataset, manifest, split, ["event", "pt"]) for split in ("train", "valid", "test")
    }
    seen = {split: set(rows["event"].tolist()) for split, rows in of_split.items()}
    assert not seen["test"] & (seen["train"] | seen["valid"])
    np.testing.assert_array_equal(np.sort(fitted.values["pt"]), np.sort(of_split["test"]["pt"]))
