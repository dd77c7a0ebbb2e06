"""What jets, events and trees are called in each kind of ROOT file.

A branch of a jet's variable is a collection, a separator and the variable as that kind of file spells it:
``AnalysisJetsAuxDyn.pt`` (xAOD), ``AnalysisJetsAuxDyn:pt`` (its RNTuple), ``Jet_mass`` (NanoAOD), ``Jet.PT`` (Delphes),
``pt`` (a flat tree).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hepml_core.errors import UnknownNameError

Unit = Literal["MeV", "GeV"]

SPELLINGS = {
    "E": ("E", "e", "energy", "Energy"),
    "pt": ("pt", "PT", "Pt"),
    "eta": ("eta", "Eta"),
    "phi": ("phi", "Phi"),
    "m": ("m", "mass", "Mass", "M"),
}
"""Other ways to write a variable; all others are written as in ``VARIABLES``."""
SEPARATORS = (".", "_", ":", "")
INGREDIENTS = {"E": ("pt", "eta", "m"), "m": ("pt", "eta", "E")}
"""From what a variable is computed where a file lacks it."""
NAMES_SHOWN = 30


@dataclass(frozen=True, slots=True)
class Layout:
    """A kind of tree.

    Attributes:
        unit: Unit of energies; None where it has to be told.
        collections: Collections of jets, the preferred one first; patterns of regular expressions.
    """

    unit: Unit | None
    collections: tuple[str, ...]


_XAOD = Layout(
    "MeV",
    (
        "AnalysisJetsAux(Dyn)?",
        "AntiKt4EMPFlowJetsAux(Dyn)?",
        "AntiKt4EMTopoJetsAux(Dyn)?",
        "AntiKt4LCTopoJetsAux(Dyn)?",
        "HLT_xAOD__JetContainer_TrigHLTJetDSSelectorCollectionAux(Dyn)?",
        r"HLT_xAOD__JetContainer_\w+Aux(Dyn)?",
    ),
)
LAYOUTS = {
    "CollectionTree": _XAOD,
    "EventData": _XAOD,
    "Events": Layout("GeV", ("Jet",)),
    "Delphes": Layout("GeV", ("Jet",)),
    "AnalysisMiniTree": Layout("MeV", ("trigger_akt4_pf", "offline_akt4_pf_NOSYS", r"(trigger|offline)_akt4_\w+")),
}
"""Kinds of trees by their names, in the order in which they are looked for."""
OTHER = Layout(None, ("", "[Jj]ets?"))

IDENTITIES = (
    ("EventInfoAuxDyn.eventNumber", "EventInfoAuxDyn.runNumber"),
    ("EventInfoAux.eventNumber", "EventInfoAux.runNumber"),
    ("EventInfoAuxDyn:eventNumber", "EventInfoAuxDyn:runNumber"),
    ("EventInfoAux:eventNumber", "EventInfoAux:runNumber"),
    ("EventInfoAux:.eventNumber", "EventInfoAux:.runNumber"),
    ("eventNumber", "runNumber"),
    ("EventNumber", "RunNumber"),
    ("event_number", "run_number"),
    ("event", "run"),
    ("Event.Number", ""),
)
"""Branches with the number of the event and of its run."""


def find_collection(
    layout: Layout, asked: str, variables: Sequence[str], names: Collection[str], where: str
) -> tuple[str, dict[str, str]]:
    """Return the collection of jets and the branch of each variable, or of what it is computed from.

    Args:
        layout: Kind of the tree.
        asked: Collection that the user named; empty takes the first known one with all variables.
        variables: Variables to find.
        names: Names of the tree's branches.
        where: File and tree, for messages.

    Raises:
        UnknownNameError: There is no such collection, or it has no branch for a variable.
    """
    known = _collections(names, variables)
    candidates = [asked] if asked else [one for kind in layout.collections for one in known if re.fullmatch(kind, one)]
    found = {one: _find_branches(one, variables, names) for one in candidates}
    for one, branches in found.items():
        if not _missing(variables, branches):
            return one, branches
    default = asked or _readable(layout)
    if any(known) and not any(found.values()):
        raise UnknownNameError("collection", default or "jet", [one for one in known if one], where)
    best = max(found, key=lambda one: len(found[one]), default=default)
    missing = _missing(variables, found.get(best, ()))[0]
    wanted = next(_spelled(best, missing))
    raise UnknownNameError("branch", wanted, _nearest(wanted, best, names), f"for the variable {missing} {where}")


def find_identity(names: Collection[str]) -> tuple[str, str]:
    """Return the branches of the event's number and of its run; empty where there are none."""
    for event, run in IDENTITIES:
        if event in names:
            return event, run if run in names else ""
    return "", ""


def _find_branches(collection: str, variables: Sequence[str], names: Collection[str]) -> dict[str, str]:
    """Return the branches of the variables that there are, and of the ingredients of those that there are not."""
    branches: dict[str, str] = {}
    for variable in variables:
        branch = _find_branch(collection, variable, names)
        for needed in (variable,) if branch else INGREDIENTS.get(variable, ()):
            if found := _find_branch(collection, needed, names):
                branches[needed] = found
    return branches


def _missing(variables: Sequence[str], branches: Collection[str]) -> list[str]:
    """Return the variables that are neither there nor can be computed."""
    return [name for name in variables if name not in branches and not _computable(name, branches)]


def _computable(variable: str, branches: Collection[str]) -> bool:
    return variable in INGREDIENTS and all(name in branches for name in INGREDIENTS[variable])


def _find_branch(collection: str, variable: str, names: Collection[str]) -> str:
    return next((name for name in _spelled(collection, variable) if name in names), "")


def _spelled(collection: str, variable: str) -> Iterator[str]:
    for separator in SEPARATORS if collection else ("",):
        for stem in _stems(collection):
            for spelling in SPELLINGS.get(variable, (variable,)):
                yield f"{stem}{separator}{spelling}"


def _stems(collection: str) -> tuple[str, ...]:
    """Return a collection's names: variables of one xAOD container stand in its Aux. or in its AuxDyn. branches."""
    stem = collection.rstrip(".:")
    container = re.fullmatch(r"(\w+)Aux(Dyn)?", stem)
    return (stem, f"{container[1]}{'Aux' if container[2] else 'AuxDyn'}") if container else (stem,)


def _collections(names: Iterable[str], variables: Sequence[str]) -> list[str]:
    """Return what has a transverse momentum or one of the variables; empty for a bare ``pt``."""
    spelled = {spelling for name in ("pt", *variables) for spelling in SPELLINGS.get(name, (name,))}
    matches = (re.fullmatch(rf"(?:(\w+)[.:_])?(?:{'|'.join(sorted(spelled))})", name) for name in names)
    return sorted({match[1] or "" for match in matches if match})


def _readable(layout: Layout) -> str:
    return layout.collections[0].replace("(Dyn)?", "Dyn")


def _nearest(wanted: str, collection: str, names: Collection[str]) -> list[str]:
    """Return the names that are worth showing; a file may have thousands."""
    siblings = [name for name in names if collection and name.startswith(_stems(collection))]
    return difflib.get_close_matches(wanted, siblings or names, NAMES_SHOWN, cutoff=0.2) or sorted(names)[:NAMES_SHOWN]
