"""Folders of toy data: which settings their files were drawn with, and which of them are there already."""

from __future__ import annotations

import json
from collections.abc import Collection

from hepml_core.config import Config, to_settings
from hepml_core.errors import FolderError
from hepml_core.storage import Folder

RECORD = "generate.json"
"""File beside the toy data with the settings that they depend on."""


def claim(
    source: Folder, config: Config, *, recipe: int, wanted: Collection[str], free: Collection[str] = ()
) -> set[str]:
    """Return the wanted files that are there; note the settings in a new folder.

    Args:
        source: The folder.
        config: Settings of the files.
        recipe: Counts changes of the program that make other files from the same settings.
        wanted: Names of the files that this run would make.
        free: Settings that may differ between two runs into one folder, for they leave every single file as it is.

    Raises:
        FolderError: The folder holds something else, or files of other settings. Nothing is deleted or replaced.
    """
    found = {stat.name: stat.bytes for stat in source.walk()}
    settings = {name: value for name, value in to_settings(config).items() if name not in free}
    if RECORD in found:
        _require_same(source, settings, recipe)
    foreign = sorted(name for name in found if name not in wanted and name != RECORD)
    if foreign or (found and RECORD not in found):
        example = (foreign or sorted(found))[0]
        remedy = f" or ask for no less than before ({', '.join(free)})" if free else ""
        raise FolderError(f"{source} holds {example}, which is not of this run: name a new folder{remedy}")
    if RECORD not in found:
        record = {"recipe": recipe, "settings": settings}
        source.write(RECORD, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
    return {name for name, size in found.items() if size and name != RECORD}


def _require_same(source: Folder, settings: dict[str, object], recipe: int) -> None:
    try:
        old = json.loads(source.read(RECORD))
        before, drawn_by = dict(old["settings"]), old["recipe"]
    except (ValueError, KeyError, TypeError):
        raise FolderError(f"{source}/{RECORD} is damaged: name a new folder, or delete this one") from None
    differing = [
        f"{name} {before.get(name)} (now {settings.get(name)})"
        for name in sorted({*before, *settings})
        if before.get(name) != settings.get(name)
    ]
    if drawn_by != recipe:
        differing.append(f"recipe {drawn_by} (now {recipe})")
    if differing:
        raise FolderError(
            f"{source} holds toys of other settings: {', '.join(differing)}."
            " Name a new folder, or the settings of the old run to go on with it."
        )
