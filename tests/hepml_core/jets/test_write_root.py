import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import awkward
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepml_core.jets.write_root import ENTRIES_PER_BASKET, Compression, JetWriter

PT, INDEX = "AntiKt4EMTopoJetsAuxDyn.pt", "AntiKt4EMTopoJetsAuxDyn.N90Constituents"
NUMBER = "EventInfoAux.eventNumber"


def write(path: Path, counts: list[list[int]], compression: Compression = "zstd") -> tuple[NDArray[Any], NDArray[Any]]:
    """Write chunks of events with running numbers and return the jets' columns."""
    total = sum(map(sum, counts))
    pt_n, index_n = np.sqrt(np.arange(total, dtype=np.float32)), np.arange(total, dtype=np.int32)
    types = {PT: np.float32, INDEX: np.int32}
    first = event = 0
    with JetWriter(
        path, "CollectionTree", event_branches={NUMBER: np.uint64}, jet_branches=types, compression=compression
    ) as writer:
        for chunk in counts:
            count_e = np.array(chunk, np.int64)
            last = first + int(count_e.sum())
            number_e = np.arange(event, event + len(chunk), dtype=np.uint64)
            writer.extend({NUMBER: number_e}, count_e, {PT: pt_n[first:last], INDEX: index_n[first:last]})
            first, event = last, event + len(chunk)
    return pt_n, index_n


@pytest.mark.parametrize("compression", get_args(Compression))
def test_names_types_and_structure_come_back(compression: Compression, tmp_path: Path) -> None:
    pt_n, index_n = write(tmp_path / "a.root", [[2, 0, 3], [0], [1, 4]], compression)
    with uproot.open(tmp_path / "a.root") as file:
        tree = file["CollectionTree"]
        assert tree.classname == "TTree"
        assert tree.keys() == [NUMBER, "nAntiKt4EMTopoJetsAuxDyn", PT, INDEX]
        assert [tree[name].typename for name in (NUMBER, PT, INDEX)] == ["uint64_t", "float[]", "int32_t[]"]
        assert awkward.num(tree[PT].array()).tolist() == [2, 0, 3, 0, 1, 4]
        assert tree["nAntiKt4EMTopoJetsAuxDyn"].array().tolist() == [2, 0, 3, 0, 1, 4]
        assert np.array_equal(awkward.to_numpy(awkward.flatten(tree[PT].array())), pt_n)
        assert np.array_equal(awkward.to_numpy(awkward.flatten(tree[INDEX].array())), index_n)
        assert tree[NUMBER].array().tolist() == [0, 1, 2, 3, 4, 5]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=4))
def test_any_cut_into_chunks_gives_the_same_file(counts: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chunks, whole = Path(folder, "chunks.root"), Path(folder, "whole.root")
        write(chunks, counts)
        write(whole, [[count for chunk in counts for count in chunk]])
        assert chunks.read_bytes() == whole.read_bytes()


def test_the_same_content_gives_the_same_bytes_at_another_time_under_another_name(tmp_path: Path) -> None:
    write(tmp_path / "first.root", [[2, 0, 3]])
    time.sleep(1.1)  # ROOT counts time in seconds
    write(tmp_path / "second_with_a_longer_name.root", [[2, 0, 3]])
    assert (tmp_path / "first.root").read_bytes() == (tmp_path / "second_with_a_longer_name.root").read_bytes()


def test_many_small_chunks_become_few_baskets(tmp_path: Path) -> None:
    chunk = [1] * 10_000
    write(tmp_path / "a.root", [chunk] * 21)
    with uproot.open(tmp_path / "a.root") as file:
        branch = file["CollectionTree"][PT]
        assert [branch.basket(i).num_entries for i in range(branch.num_baskets)] == [
            ENTRIES_PER_BASKET,
            ENTRIES_PER_BASKET,
            10_000,
        ]


def test_a_flat_tree_has_a_row_for_each_jet(tmp_path: Path) -> None:
    types = {"pt": np.float64}
    with JetWriter(
        tmp_path / "a.root", "jets", event_branches={"eventNumber": np.int64}, jet_branches=types, flat=True
    ) as writer:
        writer.extend({"eventNumber": np.array([7, 8, 9])}, np.array([2, 0, 1]), {"pt": np.array([3.0, 2.0, 1.0])})
        writer.extend({"eventNumber": np.array([10])}, np.array([1]), {"pt": np.array([4.0])})
    with uproot.open(tmp_path / "a.root") as file:
        assert file["jets"].keys() == ["eventNumber", "pt"]
        assert file["jets"]["eventNumber"].array().tolist() == [7, 7, 9, 10]
        assert file["jets"]["pt"].array().tolist() == [3.0, 2.0, 1.0, 4.0]


def test_a_tree_without_events_can_be_opened(tmp_path: Path) -> None:
    write(tmp_path / "a.root", [])
    with uproot.open(tmp_path / "a.root") as file:
        assert file["CollectionTree"].num_entries == 0
        assert len(file["CollectionTree"][PT].array()) == 0


def test_a_counter_never_takes_the_name_of_another_branch(tmp_path: Path) -> None:
    with JetWriter(
        tmp_path / "a.root", "Events", event_branches={"nJet": np.int32}, jet_branches={"Jet_pt": np.float32}
    ) as writer:
        writer.extend({"nJet": np.array([7, 8])}, np.array([1, 2]), {"Jet_pt": np.ones(3)})
    with uproot.open(tmp_path / "a.root") as file:
        assert file["Events"]["nJet"].array().tolist() == [7, 8]
        assert awkward.num(file["Events"]["Jet_pt"].array()).tolist() == [1, 2]


def test_columns_of_other_lengths_or_names_are_a_bug_of_the_caller(tmp_path: Path) -> None:
    types = {"pt": np.float32}
    with JetWriter(tmp_path / "a.root", "t", event_branches={}, jet_branches=types) as writer:
        with pytest.raises(AssertionError, match="differ in length"):
            writer.extend({}, np.array([2]), {"pt": np.ones(3)})
        with pytest.raises(AssertionError):
            writer.extend({}, np.array([3]), {"eta": np.ones(3)})
        writer.extend({}, np.array([3]), {"pt": np.ones(3)})
