"""Events as ``tf.train.Example``: hits as three packed arrays, and where the event comes from.

Suffixes: e event, h hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Column
from hepml_core.ecal.hits import Hits, IntArray
from hepml_core.errors import DataError
from hepml_core.examples import decode_example, encode_example

CLASSES = ("photon", "electron")
"""Names of the classes; their numbers are the labels of the files."""

SCHEMA = (
    Column("crystal", "bytes", (), "", "numbers of the crystals that were hit (uint16, little endian), row by row"),
    Column("energy", "bytes", (), "50 GeV", "energy of each hit (float32, little endian)"),
    Column("time", "bytes", (), "25 ns", "time of each hit against the trigger (float32, little endian)"),
    Column("label", "int64", (), "", "0 photon, 1 electron"),
    Column("class", "bytes", (), "", "name of the class"),
    Column("file", "int64", (), "", "number of the source file in the manifest's list of files"),
    Column("row", "int64", (), "", "row of the event in its source file"),
    Column("eta", "float32", (), "", "pseudorapidity of the particle, in files that tell it"),
)


@dataclass(frozen=True, slots=True)
class Events:
    """Events with what is known of them."""

    hits: Hits
    label_e: IntArray
    file_e: IntArray
    """Number of the source file of each event."""
    row_e: IntArray
    """Row of each event in its source file."""
    eta_e: NDArray[np.float32]
    """Pseudorapidity of the particle; NaN where the file does not tell it."""

    def __len__(self) -> int:
        return len(self.label_e)

    def of(self, event_e: IntArray) -> Events:
        """Return some events, in the order asked for."""
        label_e, file_e, row_e = self.label_e[event_e], self.file_e[event_e], self.row_e[event_e]
        return Events(self.hits.of(event_e), label_e, file_e, row_e, self.eta_e[event_e])


def encode_events(events: Events) -> list[bytes]:
    """Serialize each event."""
    hits = events.hits
    crystal, energy, time = (
        np.ascontiguousarray(part, kind).tobytes()
        for part, kind in ((hits.crystal_h, "<u2"), (hits.energy_h, "<f4"), (hits.time_h, "<f4"))
    )
    first_e = hits.first_e.tolist()
    known = (events.label_e.tolist(), events.file_e.tolist(), events.row_e.tolist(), events.eta_e.tolist())
    payloads = []
    for first, stop, label, file, row, eta in zip(first_e[:-1], first_e[1:], *known, strict=True):
        payloads.append(
            encode_example(
                {
                    "crystal": crystal[2 * first : 2 * stop],
                    "energy": energy[4 * first : 4 * stop],
                    "time": time[4 * first : 4 * stop],
                    "label": label,
                    "class": CLASSES[label],
                    "file": file,
                    "row": row,
                    **({} if eta != eta else {"eta": eta}),  # NaN: not told
                }
            )
        )
    return payloads


def decode_events(payloads: Sequence[bytes], shape: tuple[int, int]) -> Events:
    """Parse events of images of one shape.

    Raises:
        DataError: A payload is no such event; the message says which and why.
    """
    crystals, energies, times = [], [], []
    labels, files, rows, etas = [], [], [], []
    for number, payload in enumerate(payloads):
        features = decode_example(payload)
        try:
            (crystal,), (energy,), (time,) = features["crystal"], features["energy"], features["time"]
            (label,), (file,), (row,) = features["label"], features["file"], features["row"]
            (eta,) = features.get("eta") or (np.nan,)
        except (KeyError, ValueError) as error:
            raise DataError(
                f"event {number} is not one of ecal's: it lacks a feature, or has several ({error})"
            ) from error
        if not 2 * len(crystal) == len(energy) == len(time) or len(energy) % 4:
            raise DataError(
                f"event {number} has {len(crystal)}, {len(energy)} and {len(time)} bytes of crystals, energies and times: "
                "they do not belong together"
            )
        crystals.append(crystal)
        energies.append(energy)
        times.append(time)
        labels.append(label)
        files.append(file)
        rows.append(row)
        etas.append(eta)
    count_e = np.array([len(crystal) // 2 for crystal in crystals], np.int64)
    hits = Hits(
        np.frombuffer(b"".join(crystals), "<u2"),
        np.frombuffer(b"".join(energies), "<f4"),
        np.frombuffer(b"".join(times), "<f4"),
        np.concatenate([[0], np.cumsum(count_e)]),
        shape,
    )
    if len(hits.crystal_h) and int(hits.crystal_h.max()) >= shape[0] * shape[1]:
        raise DataError(f"an event has a hit in crystal {hits.crystal_h.max()} of an image of {shape[0]} x {shape[1]}")
    label_e, file_e, row_e = (np.array(part, np.int64) for part in (labels, files, rows))
    return Events(hits, label_e, file_e, row_e, np.array(etas, np.float32))
