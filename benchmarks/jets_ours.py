"""Our side of what is compared for jets; each runs in a process of its own, like the peers.

``python -m benchmarks.jets_ours NAME …`` prints ``seconds=…`` of the work without imports, and what else it measured.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def read(source: str, variables: str) -> None:
    """Read the jets of all ROOT files of a folder, as convert does before it writes."""
    from hepml_core.jets.config import ConvertConfig
    from hepml_core.jets.sources import find_files, read_events
    from hepml_core.storage import open_folder

    config = ConvertConfig(variables=(variables,))
    start, used = time.perf_counter(), time.process_time()
    jets = sum(
        int(events.count_e.sum())
        for file in find_files(open_folder(source), "root")
        for events in read_events(file, config)
    )
    print(f"seconds={time.perf_counter() - start}\ncpu_seconds={time.process_time() - used}\njets={jets}")


def repeat(source: str, target: str, size: str) -> None:
    """Write a ROOT file with the events of a folder's first one, over and over, with new numbers, until it has a size.

    It is not compressed, so that copies take as much as others would.
    """
    import uproot

    from hepml_core.jets.root_files import open_jets
    from hepml_core.jets.variables import SETS
    from hepml_core.jets.write_root import JetWriter

    first = min(Path(source).glob("*.root"))
    with open_jets(first, variables=SETS["atlas27"]) as jets:
        events = next(jets.chunks(jets.events, raw=True))
        types = {jets.branches[name]: np.dtype(kind) for name, kind in jets.dtypes.items()}
        branches, (number, run) = dict(jets.branches), (jets.event_branch, jets.run_branch)
    columns = {branches[name]: value_n for name, value_n in events.values.items()}
    numbers = {number: np.uint64, run: np.uint32}
    one_size = sum(column_n.nbytes for column_n in columns.values())
    with JetWriter(
        Path(target), "CollectionTree", event_branches=numbers, jet_branches=types, compression="none"
    ) as writer:
        for copy in range(-(-int(size) // one_size)):
            number_e = (events.number_e + copy * len(events)).astype(np.uint64)
            run_e = np.full(len(events), 1, np.uint32)
            writer.extend({number: number_e, run: run_e}, events.count_e, columns)
    with uproot.open(target) as file:
        print(f"events={file['CollectionTree'].num_entries}")


def deliver(rows: str, batch_size: str) -> None:
    """Draw the shuffled batches of an epoch."""
    import torch

    from benchmarks.jets_training import made_rows
    from hepml_core.jets.batches import TrainingRows

    batches = TrainingRows({"row": torch.from_numpy(made_rows(int(rows)))}, int(batch_size), seed=0)
    start, used, count = time.perf_counter(), time.process_time(), 0
    for batch in batches.epoch(0, 0, 1):
        count += len(batch["row"])
    print(f"seconds={time.perf_counter() - start}\ncpu_seconds={time.process_time() - used}\nrows={count}")


def steps(rows: str, batch_size: str) -> None:
    """Fit the autoencoder for an epoch, as train does; what an epoch costs beside its steps counts."""
    import torch

    from benchmarks.jets_training import NODES, made_rows
    from hepml_core.jets.batches import TrainingRows, ValidationRows
    from hepml_core.jets.config import TrainConfig
    from hepml_core.jets.model import build_autoencoder
    from hepml_core.jets.train import reconstruction_loss
    from hepml_core.storage import open_folder
    from hepml_core.training.fit import fit

    row_nf = torch.from_numpy(made_rows(int(rows)))
    network = build_autoencoder("AE_bn_LeakyReLU", NODES[0], NODES)
    config = TrainConfig(epochs=1, batch_size=int(batch_size), device="cpu")
    train = TrainingRows({"row": row_nf}, config.batch_size, seed=0)
    valid = ValidationRows({"row": row_nf[:100]}, config.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        start, used = time.perf_counter(), time.process_time()
        fit(
            network,
            loss_of=reconstruction_loss,
            train=train,
            valid=valid,
            config=config,
            folder=open_folder(folder),
            identity="bench",
        )
        seconds, cpu = time.perf_counter() - start, time.process_time() - used
    print(f"seconds={seconds}\ncpu_seconds={cpu}\nrows={train.steps(1) * config.batch_size}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
