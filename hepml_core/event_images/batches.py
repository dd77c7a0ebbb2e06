"""Pictures from shards, decoded on all cores while the caller works.

Axes: b event of a batch, y row, x column, c channel, n event of the dataset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Manifest, files_of
from hepml_core.errors import DataError
from hepml_core.event_images.pictures import Picture, decode_into
from hepml_core.examples import bytes_features
from hepml_core.parallel import cores
from hepml_core.records import Records, shuffled
from hepml_core.storage import Folder
from hepml_core.tfrecord import payload

ResultT = TypeVar("ResultT")
IntArray = NDArray[np.int64]

CHUNK_BYTES = 1 << 18
"""Neighbours of about this size are read in one go."""
GROUP_BYTES = 1 << 26
"""Encoded pictures of about this size are held in memory and shuffled among themselves."""
SCAN_RECORDS = 256
"""Pictures that are fetched at once where order is kept."""


@dataclass(frozen=True, slots=True)
class PictureBatch:
    """Decoded pictures.

    Attributes:
        image_byxc: The pictures, uint8 or uint16.
        label_b: Their class numbers.
        record_b: Their record numbers.
        keys: Names of the files that they come from.
    """

    image_byxc: Picture
    label_b: IntArray
    record_b: IntArray
    keys: list[str]


class PictureSet:
    """The pictures of one split of a dataset."""

    def __init__(self, dataset: Folder, manifest: Manifest, split: str) -> None:
        self.records = Records(files_of(dataset, manifest), manifest.shards(split))
        facts = manifest.facts
        self._shape = (int(facts["height"]), int(facts["width"]), int(facts["channels"]))
        self._dtype = np.dtype(np.uint16 if facts["bits"] == 16 else np.uint8)
        self._raw = facts["storage"] == "raw"

    def __len__(self) -> int:
        return len(self.records)

    @property
    def label_n(self) -> IntArray:
        """Class number of each picture."""
        return self.records.index_n["label"].astype(np.int64)

    def in_order(self, record_n: IntArray, batch_size: int) -> Iterator[PictureBatch]:
        """Yield the pictures of the given record numbers in batches, the last one perhaps smaller."""
        groups = (record_n[start : start + SCAN_RECORDS] for start in range(0, len(record_n), SCAN_RECORDS))
        return self.map(lambda batch: batch, groups, batch_size)

    def shuffled(self, record_n: IntArray, batch_size: int, chance: np.random.Generator) -> Iterator[PictureBatch]:
        """Yield the pictures of the given record numbers in random order."""
        mean_bytes = max(1.0, float(self.records.index_n["length"].mean()))
        chunk = int(np.clip(CHUNK_BYTES / mean_bytes, 1, 64))
        groups = shuffled(record_n, chunk=chunk, group=max(chunk, int(GROUP_BYTES / mean_bytes)), chance=chance)
        return self.map(lambda batch: batch, groups, batch_size)

    def map(
        self, function: Callable[[PictureBatch], ResultT], groups: Iterable[IntArray], batch_size: int
    ) -> Iterator[ResultT]:
        """Fetch groups of records, decode batches of them and apply a function, in threads, a few batches ahead."""
        ahead = 2 * cores()
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(cores()) as decoders:
            waiting: deque[Future[ResultT]] = deque()
            try:
                for numbers, fetched in _in_batches(_prefetch(reader, self.records, groups), batch_size):
                    waiting.append(decoders.submit(self._decode, function, numbers, fetched))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _decode(
        self, function: Callable[[PictureBatch], ResultT], numbers: list[int], fetched: list[memoryview]
    ) -> ResultT:
        image_byxc = np.empty((len(fetched), *self._shape), self._dtype)
        keys: list[str] = []
        for position, (record, image_yxc) in enumerate(zip(fetched, image_byxc, strict=True)):
            try:
                content, key = bytes_features(payload(record), ("image", "key"))
                keys.append(key.decode(errors="replace"))
                if self._raw:
                    _copy_raw(content, image_yxc)
                else:
                    decode_into(content, image_yxc)
            except DataError as error:
                name = f" ({keys[position]})" if position < len(keys) else ""
                raise DataError(f"{self.records.place(numbers[position])}{name}: {error}") from error
        record_b = np.array(numbers)
        label_b = self.records.index_n["label"][record_b].astype(np.int64)
        return function(PictureBatch(image_byxc, label_b, record_b, keys))


def _copy_raw(content: bytes, out_yxc: Picture) -> None:
    """Copy raw pixels of 8 bits, or of the array's, into an array."""
    itemsize = len(content) / out_yxc.size
    if itemsize not in (1, out_yxc.dtype.itemsize):
        raise DataError(f"the picture has {len(content)} bytes, its folder promises {out_yxc.shape} {out_yxc.dtype}")
    stored_yxc = np.frombuffer(content, f"uint{int(itemsize) * 8}").reshape(out_yxc.shape)
    out_yxc[...] = stored_yxc if itemsize == out_yxc.dtype.itemsize else stored_yxc.astype(np.uint16) * 257


def _prefetch(
    reader: ThreadPoolExecutor, records: Records, groups: Iterable[IntArray]
) -> Iterator[tuple[IntArray, list[memoryview]]]:
    """Yield each group with its records; the next one is fetched meanwhile."""
    pending: tuple[IntArray, Future[list[memoryview]]] | None = None
    for group in groups:
        following = (group, reader.submit(records.fetch, group))
        if pending:
            yield pending[0], pending[1].result()
        pending = following
    if pending:
        yield pending[0], pending[1].result()


def _in_batches(
    groups: Iterable[tuple[IntArray, list[memoryview]]], batch_size: int
) -> Iterator[tuple[list[int], list[memoryview]]]:
    """Cut groups to batches across their borders."""
    numbers: list[int] = []
    records: list[memoryview] = []
    for group, fetched in groups:
        numbers += group.tolist()
        records += fetched
        whole = len(numbers) - len(numbers) % batch_size
        for start in range(0, whole, batch_size):
            yield numbers[start : start + batch_size], records[start : start + batch_size]
        numbers, records = numbers[whole:], records[whole:]
    if numbers:
        yield numbers, records
