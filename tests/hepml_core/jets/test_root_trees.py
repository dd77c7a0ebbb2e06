"""Trees are found, read in pieces of any size, and their faults told with the file's name."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from hepml_core.errors import DataError, SettingError, UnknownNameError
from hepml_core.jets.root_trees import RootTree, _recut
from tests.hepml_core.jets.jet_files import COUNTS, flat, four_vectors, write_tree, xaod


def with_trees(path: Path, *names: str) -> Path:
    with uproot.recreate(path) as file:
        for name in names:
            file.mktree(name, {"pt": "float32"})
        file["histogram"] = np.histogram([1.0, 2.0])
    return path


def test_known_trees_come_first_then_the_only_one(tmp_path: Path) -> None:
    assert (
        RootTree(with_trees(tmp_path / "a.root", "Meta", "Events", "CollectionTree"), "", "a").name == "CollectionTree"
    )
    assert RootTree(with_trees(tmp_path / "b.root", "mine"), "", "b").name == "mine"
    assert RootTree(with_trees(tmp_path / "c.root", "Events", "folder/mine"), "folder/mine", "c").name == "folder/mine"


def test_a_tree_that_is_missing_or_not_told_is_an_error_with_the_names(tmp_path: Path) -> None:
    path = with_trees(tmp_path / "a.root", "first", "second")
    with pytest.raises(SettingError, match=r"tree= must say which tree of a\.root holds the jets: first, second"):
        RootTree(path, "", "a.root")
    with pytest.raises(UnknownNameError, match=r"tree 'secnd' in a\.root\. Did you mean 'second'"):
        RootTree(path, "secnd", "a.root")
    with pytest.raises(DataError, match=r"b\.root holds no tree, only histogram"):
        RootTree(with_trees(tmp_path / "b.root"), "", "b.root")


@pytest.mark.parametrize("step", [1, 2, 4, 100])
def test_pieces_of_any_size_hold_every_entry_once(tmp_path: Path, step: int) -> None:
    path = xaod(tmp_path / "a.root")
    tree = RootTree(path, "", "a.root")
    bounds = [*range(0, tree.entries, step), tree.entries]
    blocks = list(tree.blocks(["AnalysisJetsAuxDyn.pt", "EventInfoAuxDyn.eventNumber"], bounds))
    assert [len(block["AnalysisJetsAuxDyn.pt"]) for block in blocks] == np.diff(bounds).tolist()
    assert ak.num(ak.concatenate([block["AnalysisJetsAuxDyn.pt"] for block in blocks])).to_list() == list(COUNTS)


def test_uneven_pieces_hold_what_they_should(tmp_path: Path) -> None:
    tree = RootTree(flat(tmp_path / "a.root", {"x": np.arange(100, dtype=np.int64)}), "", "a.root")
    bounds = [3, 4, 50, 51, 52, 99]
    found = [ak.to_numpy(block["x"]).tolist() for block in tree.blocks(["x"], bounds)]
    assert found == [list(range(start, stop)) for start, stop in pairwise(bounds)]


def test_types_of_branches_are_told_and_lists_of_lists_refused(tmp_path: Path) -> None:
    tree = RootTree(xaod(tmp_path / "a.root"), "", "a.root")
    assert tree.type_of("AnalysisJetsAuxDyn.pt") == "var * float32"
    assert tree.type_of("EventInfoAuxDyn.eventNumber") == "uint64"
    with uproot.recreate(tmp_path / "b.root") as file:
        file.mktree("Events", {"cov": ("float32", (2, 2))})
    with pytest.raises(DataError, match=r"branch 'cov' in tree 'Events' of b\.root holds 2 \* 2 \* float32"):
        RootTree(tmp_path / "b.root", "", "b.root").type_of("cov")


@pytest.mark.parametrize("content", [b"", b"root", b"no ROOT file, only text about jets\n" * 40, b"root" + bytes(400)])
def test_a_file_that_is_no_root_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.root (is damaged or no ROOT file|is cut|holds no tree)"):
        RootTree(tmp_path / "x", "", "bad.root")


def test_a_file_cut_anywhere_is_an_error_with_its_name(tmp_path: Path) -> None:
    whole = xaod(tmp_path / "a.root", four_vectors(3000), [30] * 100).read_bytes()
    for size in np.linspace(1, len(whole) - 1, 15).astype(int).tolist():
        (tmp_path / "cut.root").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cut\.root"):
            RootTree(tmp_path / "cut.root", "", "cut.root")


def test_damage_inside_a_basket_is_an_error_with_the_files_name(tmp_path: Path) -> None:
    path = write_tree(
        tmp_path / "a.root", "Events", {}, [50] * 100, {"Jet_pt": np.random.default_rng(0).random(5000).astype("f4")}
    )
    with uproot.open(path) as file:
        basket = file["Events"]["Jet_pt"].basket_chunk_cursor(0)[1].index
    content = bytearray(path.read_bytes())
    content[basket + 100 : basket + 2000] = bytes(1900)
    path.write_bytes(content)
    tree = RootTree(path, "", "a.root")
    with pytest.raises(DataError, match=r"a\.root is damaged"):
        list(tree.blocks(["Jet_pt"], [0, 100]))


def test_cutting_blocks_anew_carries_nothing_along() -> None:
    blocks = [{"pt": ak.Array([[1.0, 2.0]] * 100)} for _ in range(60)]
    bounds = [*range(0, 5900, 97), 5900]
    cut = list(_recut(iter(blocks), bounds))
    assert sum(len(block["pt"]) for block in cut) == 5900
    assert max(block["pt"].nbytes for block in cut) < 4 * blocks[0]["pt"].nbytes
