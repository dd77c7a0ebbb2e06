"""Rows of a split, in memory: all of them, in order, in the asked columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hepml_core.artifacts import Manifest, read_manifest
from hepml_core.errors import UnknownNameError
from hepml_core.jets import rows
from hepml_core.jets.config import OrganizeConfig
from hepml_core.jets.organize import organize
from hepml_core.jets.rows import count_rows, read_rows, read_values
from hepml_core.splits import SPLITS
from hepml_core.storage import LocalFolder
from tests.jet_shards import FOUR, jets, make_shards, rows_of


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> LocalFolder:
    folder = tmp_path_factory.mktemp("rows")
    make_shards(folder / "shards", jets(100))
    organize(LocalFolder(folder / "shards"), LocalFolder(folder / "dataset"), OrganizeConfig(rows_per_shard=60))
    return LocalFolder(folder / "dataset")


@pytest.fixture(scope="module")
def manifest(dataset: LocalFolder) -> Manifest:
    return read_manifest(dataset, "dataset", "jets")


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROWS_AT_ONCE", 13)


@pytest.mark.parametrize("split", SPLITS)
def test_all_rows_of_a_split_come_in_order(split: str, dataset: LocalFolder, manifest: Manifest) -> None:
    names = ("object", "pt", "event", "process", "position")
    found, expected = read_rows(dataset, manifest, split, names), rows_of(Path(str(dataset)), split)
    assert tuple(found) == names
    for name in names:
        assert np.array_equal(found[name], expected[name])
        assert found[name].dtype.kind == expected[name].dtype.kind
    assert len(found["pt"]) == count_rows(manifest, split) > 13


def test_values_are_contiguous_rows_in_the_order_of_the_variables(dataset: LocalFolder, manifest: Manifest) -> None:
    value_nf, expected = read_values(dataset, manifest, "train"), rows_of(Path(str(dataset)), "train")
    assert value_nf.dtype == np.float32
    assert value_nf.flags.c_contiguous
    assert np.array_equal(value_nf, np.stack([expected[name] for name in FOUR], axis=1))


@pytest.mark.parametrize("most", [1, 13, 14, 61, 10**9])
def test_the_first_rows_alone_can_be_asked_for(most: int, dataset: LocalFolder, manifest: Manifest) -> None:
    whole_nf = read_values(dataset, manifest, "train")
    assert np.array_equal(read_values(dataset, manifest, "train", max_rows=most), whole_nf[:most])
    found = read_rows(dataset, manifest, "train", ["process", "eta"], max_rows=most)
    assert np.array_equal(found["eta"], whole_nf[:most, 2])
    assert len(found["process"]) == len(found["eta"])


def test_unknown_columns_and_splits_are_named_with_the_nearest(dataset: LocalFolder, manifest: Manifest) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown column 'Pt' in .*dataset.* Did you mean 'pt'"):
        read_rows(dataset, manifest, "train", ["Pt"])
    with pytest.raises(UnknownNameError, match=r"unknown split 'tests'.* Did you mean 'test'"):
        read_values(dataset, manifest, "tests")


def test_a_split_that_was_not_asked_for_has_no_rows(tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", jets(20))
    everything = OrganizeConfig(train_fraction=1.0, valid_fraction=0.0, test_fraction=0.0)
    dataset = LocalFolder(tmp_path / "dataset")
    organize(LocalFolder(tmp_path / "shards"), dataset, everything)
    manifest = read_manifest(dataset, "dataset", "jets")
    assert read_values(dataset, manifest, "test").shape == (0, 4)
    assert {name: len(value_n) for name, value_n in read_rows(dataset, manifest, "test", ["pt", "object"]).items()} == {
        "pt": 0,
        "object": 0,
    }
