"""Shards and examples for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hepml_core.artifacts import FileEntry
from hepml_core.examples import Value
from hepml_core.records import Records
from hepml_core.storage import open_folder
from hepml_core.tfrecord import (
    ShardWriter,
    hash64,
    write_index,
)

FEATURES: list[dict[str, Value]] = [
    {"image": bytes(range(256)), "label": 3, "class": "higgs", "key": "higgs/0001.png", "weight": 0.5},
    {"z": 1, "a": 2, "Z": 3, "B": 4, "": 5, "é": 6, "名": 7, "aa": 8, "a/b": 9, "0": 10},
    {"whole": [-1, 0, 2**63 - 1, -(2**63)], "real": [0.0, -0.0, 1e-45, 3.4e38, float("inf"), 0.1]},
    {"empty": b"", "text": "", "three": [b"a", b"", b"\xff\x00"], "words": ["jet", "µ"]},  # type: ignore[dict-item]
    {},
]


@dataclass(frozen=True)
class Shard:
    """A shard with its index."""

    path: Path
    entry: FileEntry
    payloads: list[bytes]

    def records(self) -> Records:
        return Records(open_folder(self.path.parent), [self.entry])


def make_shard(folder: Path, payloads: list[bytes], name: str = "part-0") -> Shard:
    with ShardWriter(folder / name) as writer:
        for number, content in enumerate(payloads):
            writer.write(content, label=number % 3, key=hash64(str(number).encode()), content=hash64(content))
    write_index(open_folder(folder), name, writer.index_n)
    return Shard(folder / name, FileEntry(name, writer.bytes, writer.crc32c, writer.records), payloads)


def some_payloads(count: int = 7) -> list[bytes]:
    return [bytes([number]) * (1 + 11 * number) for number in range(count)]
