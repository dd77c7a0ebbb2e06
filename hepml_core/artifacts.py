"""The contract between stages: a folder whose ``manifest.json`` is written last.

No manifest, no folder. The manifest lists every file with bytes, records and CRC32C, so a torn, cut, changed or lost
file is found before work starts on it; it also says with which settings and from which inputs the folder was made.
While a stage works, a receipt for each finished file lies in ``.unfinished/``; a stage that was killed and is run
again keeps the files that have one and makes only the others.

| kind | written by | holds |
|---|---|---|
| images | generate | class folders of pictures (no manifest: any such folder will do) |
| shards | convert | ``part-00000-of-00010.tfrecord`` and their indices |
| dataset | organize | shards per split: ``train-…``, ``valid-…``, ``test-…`` |
| statistics | normalize | ``statistics.json`` |
| model | train | weights (safetensors), settings, statistics, class names, history, checkpoints |
| report | evaluate | ``index.html``, figures, ``metrics.json``, predictions |
| predictions | predict | predictions |
| archive | compress | ``….hepml``, one for each source file |
| restored | decompress | source files again |
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from crc32c import crc32c as extend_crc32c

from hepml_core.config import Config, to_settings
from hepml_core.errors import FolderError
from hepml_core.storage import Folder, disk_errors, in_parallel, open_folder

MANIFEST = "manifest.json"
FORMAT = 1
BLOCK_BYTES = 1 << 23

Kind = Literal["shards", "dataset", "statistics", "model", "report", "predictions", "archive", "restored"]
STAGE_OF_KIND: dict[Kind, str] = {
    "shards": "convert",
    "dataset": "organize",
    "statistics": "normalize",
    "model": "train",
    "report": "evaluate",
    "predictions": "predict",
    "archive": "compress",
    "restored": "decompress",
}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a folder."""

    name: str
    bytes: int
    crc32c: int
    records: int = 0
    split: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One feature of an event in a shard."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder holds and how it was made.

    Attributes:
        files: The files, in the order of their names within a split.
        root: Address of the folder where the files lie; empty where they lie beside the manifest.
        facts: What only the domain understands (class names, picture shape, counts).
        inputs: Digest of each folder that the stage read.
        metrics: What the stage reported.
    """

    kind: Kind
    domain: str
    files: tuple[FileEntry, ...]
    schema: tuple[Column, ...] = ()
    root: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Identify the content, wherever it lies: settings named ``…_root`` say where, and do not count."""
        settings = {name: value for name, value in self.settings.items() if not name.endswith("_root")}
        return _digest({**dataclasses.asdict(self), "root": "", "settings": settings})

    def shards(self, split: str = "") -> list[FileEntry]:
        """Return the files that hold records of a split."""
        return [file for file in self.files if file.records and file.split == split]


def read_manifest(folder: Folder, kind: Kind, domain: str) -> Manifest:
    """Read the manifest of a stage's input.

    Raises:
        FolderError: There is none, it is damaged, or the folder is of another stage or domain.
    """
    manifest = _read_manifest(folder)
    maker = STAGE_OF_KIND[kind]
    if manifest is None:
        raise FolderError(
            f"{folder} has no {MANIFEST}: it is no {kind} folder, or {maker} has not finished; run {maker} first"
        )
    if manifest.kind != kind:
        made_by = STAGE_OF_KIND.get(manifest.kind, "another stage")
        raise FolderError(
            f"{folder} is a {manifest.kind} folder, made by {made_by}; a {kind} folder, made by {maker}, is needed"
        )
    if manifest.domain != domain:
        raise FolderError(f"{folder} belongs to the domain {manifest.domain}, not to {domain}")
    return manifest


def files_of(folder: Folder, manifest: Manifest) -> Folder:
    """Open the folder where a manifest's files lie."""
    return open_folder(manifest.root) if manifest.root else folder


def check_files(folder: Folder, manifest: Manifest) -> None:
    """Hold every file against the manifest: size and CRC32C (an object store's own checksum where it has one).

    Raises:
        FolderError: A file is missing, cut or changed; the message names it.
    """
    where = files_of(folder, manifest)
    remedy = f"restore it, or remove the folder and run {STAGE_OF_KIND[manifest.kind]} again"

    def check(entry: FileEntry) -> None:
        found = where.stat(entry.name)
        if found is None:
            raise FolderError(f"{where}/{entry.name} is missing: {remedy}")
        if found.bytes != entry.bytes:
            promised = f"its manifest says {entry.bytes}"
            raise FolderError(f"{where}/{entry.name} has {found.bytes} bytes, {promised}: {remedy}")
        crc32c = found.crc32c if found.crc32c is not None else checksum(where, entry.name, entry.bytes)
        if crc32c != entry.crc32c:
            raise FolderError(f"{where}/{entry.name} was changed after it was made (its checksum differs): {remedy}")

    in_parallel(check, manifest.files)


def checksum(folder: Folder, name: str, size: int) -> int:
    """Return the CRC32C of the first ``size`` bytes of a file, read in blocks."""
    crc32c = 0
    if folder.path is None:
        for start in range(0, size, BLOCK_BYTES):
            crc32c = extend_crc32c(folder.read(name, start, min(start + BLOCK_BYTES, size)), crc32c)
        return crc32c
    # One small buffer stays in the cache, which halves the time.
    buffer = memoryview(bytearray(1 << 18))
    with folder.local(name) as path, disk_errors(f"cannot read {path}"), path.open("rb", buffering=0) as file:
        while size > 0 and (count := file.readinto(buffer[:size])):
            crc32c = extend_crc32c(buffer[:count], crc32c)
            size -= count
    return crc32c


class Output:
    """A folder being made by a stage, perhaps for the second time.

    Attributes:
        finished: The manifest, where an earlier run with the same settings and inputs has finished the folder.
        files: The folder where the stage writes its files: the given one, or one below ``root``.
        plan: Digest of what the stage was asked to do; the same plan gives the same bytes.
    """

    def __init__(
        self, folder: Folder, kind: Kind, domain: str, config: Config, inputs: Mapping[str, str], *, root: str = ""
    ) -> None:
        """Open the folder for writing, or for going on.

        Args:
            folder: Where the manifest goes.
            kind: What the folder will hold.
            domain: Whose it is.
            config: The stage's settings.
            inputs: Digest of each input.
            root: Address of a folder for the files, where they are not to lie beside the manifest.

        Raises:
            FolderError: The folder holds something else.
        """
        self._folder, self._kind, self._domain = folder, kind, domain
        self._settings, self._inputs = to_settings(config), dict(inputs)
        self.plan = _digest([FORMAT, kind, domain, self._settings, self._inputs])
        self._root = f"{root.rstrip('/')}/{kind}-{self.plan[:12]}" if root else ""
        self.files = open_folder(self._root) if root else folder
        if root and self.files.path:
            self._root = str(self.files.path.absolute())  # a later stage may run in another directory
        self._receipts = self.files / ".unfinished"
        self._entries: dict[str, FileEntry] = {}
        self.finished = self._find_finished()
        if self.finished is None:
            self._find_unfinished()
        else:
            self._forget_receipts()  # of a run that was killed between its manifest and its end

    def receipt(self, name: str) -> tuple[FileEntry, dict[str, Any]] | None:
        """Return the entry and notes of a file that an earlier, killed run left whole, or None."""
        try:
            noted = _checked(json.loads(self._receipts.read(f"{name}.json")))
            entry, notes = FileEntry(**_checked(noted["file"])), noted["notes"]
        except (FileNotFoundError, *_DAMAGE):
            return None
        found = self.files.stat(name)
        if entry.name != name or found is None or found.bytes != entry.bytes:
            return None
        crc32c = found.crc32c if found.crc32c is not None else checksum(self.files, name, entry.bytes)
        if crc32c != entry.crc32c:
            return None
        self._entries[name] = entry
        return entry, notes

    def keep(self, entry: FileEntry, notes: Mapping[str, Any] | None = None, *, receipt: bool = True) -> None:
        """List a finished file in the manifest to come; leave a receipt for a run that must go on from here."""
        self._entries[entry.name] = entry
        if receipt:
            content = {"file": dataclasses.asdict(entry), "notes": dict(notes or {})}
            self._receipts.write(f"{entry.name}.json", _to_json(content))

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the notes of a file: of the one that a killed run left whole, or of the one that ``make`` writes.

        Args:
            name: Name of the file, which ``make`` publishes in ``files``.
            make: Writes the file and returns its notes; ``records`` among them is the number of its records.
        """
        found = self.receipt(name)
        if found:
            return found[1]
        notes = make()
        stat = self.files.stat(name)
        assert stat is not None, f"{name} was not written"
        self.keep(FileEntry(name, stat.bytes, checksum(self.files, name, stat.bytes), notes["records"]), notes)
        return notes

    def write(self, name: str, content: bytes) -> None:
        """Write a small file and list it."""
        self.files.write(name, content)
        self.keep(FileEntry(name, len(content), extend_crc32c(content)), receipt=False)

    def keep_written(self) -> None:
        """List all files that lie in the folder and are not listed yet, for stages whose files others write."""
        for found in self.files.walk():
            if not found.name.startswith(".") and found.name not in self._entries:
                crc32c = checksum(self.files, found.name, found.bytes)
                self.keep(FileEntry(found.name, found.bytes, crc32c), receipt=False)

    def publish(
        self, *, metrics: Mapping[str, float], facts: Mapping[str, Any] | None = None, schema: Sequence[Column] = ()
    ) -> Manifest:
        """Write the manifest: from here on the folder exists.

        Raises:
            FolderError: Another writer has published something else there in the meantime.
        """
        manifest = Manifest(
            kind=self._kind,
            domain=self._domain,
            files=tuple(sorted(self._entries.values(), key=lambda entry: entry.name)),
            schema=tuple(schema),
            root=self._root,
            facts=dict(facts or {}),
            settings=self._settings,
            inputs=self._inputs,
            metrics=dict(metrics),
        )
        try:
            self._folder.write(MANIFEST, _to_json({"format": FORMAT, **dataclasses.asdict(manifest)}), only_new=True)
        except FileExistsError:
            if self._find_finished() is None:
                raise FolderError(f"{self._folder} was published by another writer with other content") from None
        self._forget_receipts()
        return manifest

    def _forget_receipts(self) -> None:
        for receipt in list(self._receipts.walk()):
            self._receipts.delete(receipt.name)
        if self._receipts.path:
            # With what a killed process left behind there; another writer of the same plan may have been quicker.
            shutil.rmtree(self._receipts.path, ignore_errors=True)

    def _find_finished(self) -> Manifest | None:
        manifest = _read_manifest(self._folder)
        if manifest is None:
            return None
        self._refuse_others(manifest.kind, manifest.settings, manifest.inputs, "already holds")
        return manifest

    def _find_unfinished(self) -> None:
        """Note the plan; go on from a killed run of the same plan; refuse a folder that holds anything else."""
        try:
            noted = _checked(json.loads(self._receipts.read("plan.json")))
            self._refuse_others(noted["kind"], noted["settings"], noted["inputs"], "holds an unfinished run of")
        except FileNotFoundError:
            stranger = next((file.name for file in self.files.walk() if not file.name.startswith(".")), None)
            if stranger:
                raise FolderError(
                    f"{self.files} holds {stranger!r} and no {MANIFEST}: choose an empty folder for the {self._kind}"
                ) from None
        except _DAMAGE as error:
            raise FolderError(
                f"{self._receipts}/plan.json is damaged ({error}): choose another folder, or remove this one"
            ) from error
        plan = {"kind": self._kind, "settings": self._settings, "inputs": self._inputs}
        self._receipts.write("plan.json", _to_json(plan))

    def _refuse_others(self, kind: str, settings: Mapping[str, Any], inputs: Mapping[str, str], holds: str) -> None:
        if kind != self._kind:
            raise FolderError(f"{self._folder} {holds} {kind}: choose another folder for the {self._kind}")
        names = sorted({*settings, *self._settings})
        changed = [n for n in names if settings.get(n) != self._settings.get(n)]
        differences = [f"{n} was {settings.get(n)!r}, is {self._settings.get(n)!r}" for n in changed]
        differences += [
            f"the {n} changed" for n in sorted({*inputs, *self._inputs}) if inputs.get(n) != self._inputs.get(n)
        ]
        if differences:
            raise FolderError(
                f"{self._folder} {holds} {self._kind} made otherwise ({'; '.join(differences)}): "
                "choose another folder, or remove this one"
            )


def _read_manifest(folder: Folder) -> Manifest | None:
    try:
        content = folder.read(MANIFEST)
    except FileNotFoundError:
        return None
    try:
        plain = json.loads(content)
        if plain.pop("format") != FORMAT:
            raise FolderError(f"{folder}/{MANIFEST} was written by another version of hepml: run the stage again")
        manifest = Manifest(**_checked(plain))
        files = tuple(FileEntry(**_checked(entry)) for entry in plain["files"])
        schema = tuple(Column(**{**_checked(column), "shape": tuple(column["shape"])}) for column in plain["schema"])
        return dataclasses.replace(manifest, files=files, schema=schema)
    except _DAMAGE as error:
        raise FolderError(f"{folder}/{MANIFEST} is damaged ({error}): run the stage that made it again") from error


def _checked(plain: Any) -> dict[str, Any]:
    """Return a JSON object whose values have the types of their names, for one from elsewhere may hold anything."""
    checked: dict[str, Any] = {}
    for name, value in plain.items():
        if not isinstance(value, _JSON_TYPES[name]):
            raise TypeError(f"{name} must not be {value!r:.50}")
        if isinstance(value, str) and b"\0" in os.fsencode(value):
            raise ValueError(f"{name} has a zero byte")
        checked[name] = value
    return checked


_JSON_TYPES = {
    **dict.fromkeys(("kind", "domain", "root", "name", "split", "dtype", "unit", "meaning"), str),
    **dict.fromkeys(("bytes", "crc32c", "records"), int),
    **dict.fromkeys(("files", "schema", "shape"), list),
    **dict.fromkeys(("facts", "settings", "inputs", "metrics", "file", "notes"), dict),
}
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What Python says of JSON that is damaged or holds something else."""


def _to_json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
