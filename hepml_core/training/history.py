"""The history of a fit, one row per epoch: ``history.csv`` for people and TensorBoard event files for the web.

The event file is a TFRecord file of ``tensorboard.Event`` messages (tensorboard/compat/proto/event.proto), written here
without TensorFlow or TensorBoard.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from hepml_core.errors import DataError
from hepml_core.storage import Folder
from hepml_core.storage.folders import full_disk_errors
from hepml_core.tfrecord import frame

CSV = "history.csv"
EVENTS = "tensorboard/events.out.tfevents.0000000000.hepml"
WALL_TIME = "wall_time"
"""Column with the end of the epoch, in seconds since 1970."""

Row = Mapping[str, str | int | float]


def write_history(folder: Folder, rows: Sequence[Row]) -> None:
    """Publish ``history.csv`` and the event file of a fit's epochs so far.

    The event file of a local folder grows in place, because a TensorBoard that watches it keeps it open.
    """
    folder.write(CSV, to_csv(rows).encode())
    content = to_events(rows)
    path = folder.path and folder.path / EVENTS
    written = path.read_bytes() if path and path.exists() else b""
    if path and written and content.startswith(written):
        with full_disk_errors(f"cannot write {path}"), path.open("ab") as file:
            file.write(content[len(written) :])
    else:
        folder.write(EVENTS, content)


def read_history(folder: Folder) -> list[dict[str, str | float]]:
    """Read ``history.csv``: numbers as numbers, names of phases as text.

    Raises:
        FileNotFoundError: There is no history.
        DataError: It is no table.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(folder.read(CSV).decode()), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{folder}/{CSV} is no table: {error}") from error
    return [{name: _number(text) for name, text in row.items() if text} for row in rows]


def to_csv(rows: Sequence[Row]) -> str:
    """Return rows as comma-separated text; a metric that a row lacks is left empty."""
    table = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def to_events(rows: Sequence[Row]) -> bytes:
    """Return rows as the content of a TensorBoard event file.

    ``train_loss`` and ``valid_loss`` become ``loss/train`` and ``loss/valid``, which stand side by side on the page.
    """
    event = _event_type()
    start = float(rows[0][WALL_TIME]) if rows else 0.0
    events = [event(wall_time=start, file_version="brain.Event:2")]
    for row in rows:
        values = [
            {"tag": _tag(name), "simple_value": value}
            for name, value in row.items()
            if name not in ("epoch", WALL_TIME) and isinstance(value, (int, float))
        ]
        events.append(event(wall_time=row[WALL_TIME], step=row["epoch"], summary={"value": values}))
    return b"".join(frame(one.SerializeToString()) for one in events)


def _tag(name: str) -> str:
    split, separator, metric = name.partition("_")
    return f"{metric}/{split}" if separator and split in ("train", "valid") else name


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


@functools.cache
def _event_type() -> Any:
    """Build the message type ``tensorboard.Event``, as far as scalars need it, in a pool of its own."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="hepml/event.proto", package="hepml", syntax="proto3")
    messages: dict[str, list[tuple[str, int, str, str]]] = {
        "Value": [("tag", 1, "STRING", ""), ("simple_value", 2, "FLOAT", "")],
        "Summary": [("value", 1, "MESSAGE", ".hepml.Value")],
        "Event": [
            ("wall_time", 1, "DOUBLE", ""),
            ("step", 2, "INT64", ""),
            ("file_version", 3, "STRING", ""),
            ("summary", 5, "MESSAGE", ".hepml.Summary"),
        ],
    }
    for message, fields in messages.items():
        added = file.message_type.add(name=message)
        for name, number, kind, type_name in fields:
            label = field.LABEL_REPEATED if message == "Summary" else field.LABEL_OPTIONAL
            part = added.field.add(name=name, number=number, label=label, type_name=type_name or None)
            part.type = field.Type.Value(f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("hepml.Event"))
