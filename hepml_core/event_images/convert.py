"""Convert: class folders of PNG or JPEG pictures to TFRecord shards."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np

from hepml_core.artifacts import Column, FileEntry, Output
from hepml_core.errors import DataError, FolderError
from hepml_core.event_images.config import ConvertConfig
from hepml_core.event_images.listing import BadFile, Listing, list_classes
from hepml_core.event_images.pictures import Encoded, check_whole, decode_into, prepare, read_header
from hepml_core.examples import decode_example, encode_example
from hepml_core.parallel import in_processes
from hepml_core.progress import progress
from hepml_core.records import Records, duplicate_groups, read_index
from hepml_core.storage import Folder, open_folder
from hepml_core.tfrecord import ShardWriter, hash64, index_name, payload, write_index

log = logging.getLogger(__name__)

PARALLEL_READS = 16
EXAMPLES_SHOWN = 20
HEADERS_PROBED = 64


def convert(source: Folder, shards: Folder, config: ConvertConfig) -> Mapping[str, float]:
    """Write every picture of ``source/<class>/`` to a TFRecord shard, as the encoded file it is.

    Whole files that have the asked channels and size keep their bytes; others are decoded and written as PNG. Class
    numbers follow the sorted names of the class folders. Pictures that are byte for byte the same are reported.

    Raises:
        DataError: The source has no usable classes, a picture is bad and ``on_bad_input=fail``, or all of a class are.
        FolderError: ``shards`` holds something else.
    """
    listing = list_classes(source, follow_links=config.follow_links)
    output = Output(shards, "shards", "event_images", config, {"source": listing.digest}, root=config.shards_root)
    if output.finished:
        log.info("%s is already there", shards)
        return output.finished.metrics
    classes = _usable_classes(source, listing, config)
    shape = (config.image_size, config.image_size) if config.image_size else _common_shape(source, listing, config)
    made = _make_shards(_plan(source, output, listing, classes, shape, config), output, listing)
    bad = [BadFile(**one) for one in chain(map(dataclasses.asdict, listing.bad), *(part.skipped for part in made))]
    events = sum((Counter(part.events) for part in made), Counter[str]())
    kept = events.total()
    lacking = [name for name in classes if not events[name]]
    if lacking:
        first = min((one for one in bad if one.file.startswith(f"{lacking[0]}/")), key=lambda one: one.file)
        raise DataError(f"no picture of {lacking[0]} in {source} can be used; the first: {first.file}: {first.reason}")
    duplicates = find_duplicates(output, made)
    log.info("kept %d of %d pictures in %d classes", kept, kept + len(bad), len(classes))
    metrics = {"events": kept, "skipped": len(bad), "duplicates": duplicates["copies"]}
    facts = {
        "class_names": classes,
        "height": shape[0],
        "width": shape[1],
        "channels": config.channels,
        "bits": max(part.bits for part in made),
        "storage": config.storage,
        "image_size": config.image_size,
        "events": dict(events),
        "skipped": [dataclasses.asdict(one) for one in sorted(bad, key=lambda one: one.file)],
        "duplicates": duplicates,
    }
    output.publish(metrics=metrics, facts=facts, schema=_schema(config, shape))
    return metrics


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What a worker process needs to make one shard."""

    source: str
    files: str
    shard: str
    pictures: list[tuple[str, int]]
    """Name of each picture file and its class number."""
    classes: list[str]
    shape: tuple[int, int]
    config: ConvertConfig


@dataclass(slots=True)
class MadeShard:
    """A finished shard, and what its receipt notes of it."""

    entry: FileEntry
    index: FileEntry
    bits: int = 8
    events: dict[str, int] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)


def _usable_classes(source: Folder, listing: Listing, config: ConvertConfig) -> list[str]:
    if listing.bad and config.on_bad_input == "fail":
        first = listing.bad[0]
        raise DataError(f"{source}/{first.file}: {first.reason} (on_bad_input=skip leaves such out)")
    classes = [name for name, files in listing.files.items() if len(files)]
    if len(classes) < 2:
        raise DataError(f"there are pictures of one class only ({', '.join(classes)}): a classifier needs two or more")
    return classes


def _common_shape(source: Folder, listing: Listing, config: ConvertConfig) -> tuple[int, int]:
    """Return the height and width that most of some pictures, drawn evenly from all classes, have."""
    shapes: Counter[tuple[int, int]] = Counter()
    for names in listing.files.values():
        for name in names[:: max(1, len(names) // HEADERS_PROBED)]:
            try:
                header = read_header(_read(source, name.decode()), config.max_pixels)
            except DataError:
                continue
            shapes[header.height, header.width] += 1
    if not shapes:
        raise DataError(f"none of the first pictures in {source} can be read")
    return shapes.most_common(1)[0][0]


def _plan(
    source: Folder, output: Output, listing: Listing, classes: list[str], shape: tuple[int, int], config: ConvertConfig
) -> Iterator[ShardJob]:
    pictures = ((file.decode(), label) for label, name in enumerate(classes) for file in listing.files[name])
    total = -(-listing.pictures // config.records_per_shard)
    for number in range(total):
        shard = f"part-{number:05d}-of-{total:05d}.tfrecord"
        chosen = list(islice(pictures, config.records_per_shard))
        yield ShardJob(str(source), str(output.files), shard, chosen, classes, shape, config)


def _make_shards(jobs: Iterator[ShardJob], output: Output, listing: Listing) -> list[MadeShard]:
    """Make the shards on all cores, except those that an earlier, killed run has made."""
    made: list[MadeShard] = []

    def wanted() -> Iterator[ShardJob]:
        for job in jobs:
            found, index = output.receipt(job.shard), output.receipt(index_name(job.shard))
            if found and index:
                made.append(MadeShard(found[0], index[0], **found[1]))
                bar.advance(len(job.pictures))
            else:
                yield job

    with progress("convert", listing.pictures, "images") as bar:
        for part in in_processes(_make_shard, wanted()):
            output.keep(part.index)
            output.keep(part.entry, {"bits": part.bits, "events": part.events, "skipped": part.skipped})
            made.append(part)
            bar.advance(part.entry.records + len(part.skipped))
    return sorted(made, key=lambda part: part.entry.name)


def _make_shard(job: ShardJob) -> MadeShard:
    source, folder = open_folder(job.source), open_folder(job.files)
    skipped: list[dict[str, str]] = []
    events: Counter[str] = Counter()
    bits = 8
    with folder.staged(job.shard) as path, ShardWriter(path) as writer:
        for (name, label), content in _read_all(source, job.pictures):
            try:
                picture = _check(content, job)
            except DataError as error:
                if job.config.on_bad_input == "fail":
                    raise DataError(f"{source}/{name}: {error} (on_bad_input=skip leaves such files out)") from None
                skipped.append({"file": name, "reason": str(error)})
                continue
            example = _to_example(picture, name, label, job)
            writer.write(example, label=label, key=hash64(name.encode()), content=hash64(content))
            events[job.classes[label]] += 1
            bits = max(bits, picture.bits)
    entry = FileEntry(job.shard, writer.bytes, writer.crc32c, writer.records)
    return MadeShard(entry, write_index(folder, job.shard, writer.index_n), bits, dict(events), skipped)


def _read_all(source: Folder, pictures: list[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], bytes]]:
    """Read the files in order; from an object store several at once, for there every request takes long."""
    if source.path:
        yield from ((picture, _read(source, picture[0])) for picture in pictures)
        return
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        for start in range(0, len(pictures), PARALLEL_READS):
            few = pictures[start : start + PARALLEL_READS]
            yield from zip(few, pool.map(lambda picture: _read(source, picture[0]), few), strict=True)


def _read(source: Folder, name: str) -> bytes:
    try:
        return source.read(name)
    except FileNotFoundError:
        raise FolderError(
            f"{source}/{name} was removed while convert was at work: run it when the source rests"
        ) from None


def _check(content: bytes, job: ShardJob) -> Encoded:
    """Make sure that a file is a whole picture of the asked shape."""
    config = job.config
    header = read_header(content, config.max_pixels)
    check_whole(content, header)
    picture = prepare(content, header, config.channels, config.image_size)
    if (picture.height, picture.width) != job.shape:
        usual = f"{job.shape[1]}x{job.shape[0]}"
        raise DataError(
            f"the picture has {picture.width}x{picture.height} pixels, most have {usual}; image_size resizes all"
        )
    return picture


def _to_example(picture: Encoded, name: str, label: int, job: ShardJob) -> bytes:
    content = picture.content
    if job.config.storage == "raw":
        pixels_yxc = np.empty((picture.height, picture.width, picture.channels), f"uint{picture.bits}")
        decode_into(content, pixels_yxc)
        content = pixels_yxc.tobytes()
    return encode_example(
        {
            "image": content,
            "height": picture.height,
            "width": picture.width,
            "channels": picture.channels,
            "label": label,
            "class": job.classes[label],
            "key": name,
        }
    )


def _schema(config: ConvertConfig, shape: tuple[int, int]) -> list[Column]:
    image = (
        Column("image", "bytes", (), "", "picture as a PNG or JPEG file")
        if config.storage == "encoded"
        else Column("image", "bytes", (*shape, config.channels), "", "pixels, row by row, channels last")
    )
    return [
        image,
        Column("height", "int64", (), "pixel", "rows of the picture"),
        Column("width", "int64", (), "pixel", "columns of the picture"),
        Column("channels", "int64", (), "", "1 grey, 3 red-green-blue"),
        Column("label", "int64", (), "", "number of the class in the sorted list of class names"),
        Column("class", "bytes", (), "", "name of the class"),
        Column("key", "bytes", (), "", "name of the picture file in the source; decides the event's split"),
    ]


def find_duplicates(output: Output, made: Iterable[MadeShard]) -> dict[str, Any]:
    """Count pictures that are byte for byte the same as an earlier one; show some with their keys.

    Returns:
        ``copies`` pictures that repeat another, ``across_classes`` pictures (copies and first ones) that stand in more
        than one class, ``examples`` groups of keys.
    """
    shards = [part.entry for part in made]
    # Of millions of pictures only this column is held; the whole index is read where there is something to tell.
    contents = [read_index(output.files, shard)["content"].copy() for shard in shards]
    groups = duplicate_groups(np.concatenate(contents))
    records = Records(output.files, shards if groups else [])
    label_n = records.index_n["label"]
    torn = [group for group in groups if len(set(label_n[group])) > 1]
    examples = [
        [decode_example(payload(record))["key"][0].decode() for record in records.fetch(group[:EXAMPLES_SHOWN])]
        for group in groups[:EXAMPLES_SHOWN]
    ]
    copies = sum(len(group) - 1 for group in groups)
    if copies:
        log.warning(
            "%d pictures are copies of others, byte for byte (in %d cases under another class); organize can drop them",
            copies,
            len(torn),
        )
    return {"copies": copies, "across_classes": sum(map(len, torn)), "examples": examples}
