"""What jets are compared with, where it needs a process of its own.

``python -m benchmarks.jets_peers NAME FILE …`` prints ``seconds=…`` of the work without imports, and what else it measured.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def read_root(source: str, variables: str) -> None:
    """Read the same branches of all ROOT files of a folder with uproot alone."""
    import uproot

    from hepml_core.jets.generate import COLLECTION
    from hepml_core.jets.variables import SETS

    branches = [f"{COLLECTION}.{name}" for name in SETS[variables]]
    identity = ["EventInfoAux.eventNumber", "EventInfoAux.runNumber"]
    start, used, jets = time.perf_counter(), time.process_time(), 0
    for path in sorted(Path(source).glob("*.root")):
        with uproot.open(path) as file:
            for block in file["CollectionTree"].iterate([*branches, *identity], step_size=50_000):
                jets += len(block[branches[0]].layout.content)
    print(f"seconds={time.perf_counter() - start}\ncpu_seconds={time.process_time() - used}\njets={jets}")


def csv_as_original(file: str, folder: str) -> None:
    """Read a PhenoML file as the original's scripts are described: lists of text, and rows deleted one by one.

    Each line is padded to the longest; then every row of zeros is told on the screen and deleted from the list, which moves
    all rows behind it.
    """
    import pickle

    import numpy as np

    start, used = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        lines = []
        for line in Path(file).read_text().splitlines():
            lines.append(line.replace(";", ",").rstrip(",\n").split(","))  # noqa: PERF401 - as it was
        objects = max(int((len(fields) - 5) / 5) for fields in lines)
        rows: list[list[Any]] = []
        for fields in lines:
            padded: list[Any] = [*fields[5:], *[0] * (5 * objects + 5 - len(fields))]
            for number in range(objects):
                rows.append(padded[5 * number : 5 * number + 5])  # noqa: PERF401
        number = 0
        while number < len(rows):
            if all(field == 0 for field in rows[number]):
                print("deleting row", number)
                del rows[number]
            else:
                number += 1
        codes = [row[0] for row in rows]
        four = np.array([row[1:] for row in rows]).astype(np.float32)
        with (Path(folder) / "original.pkl").open("wb") as out:
            pickle.dump((codes, four), out)
    print(f"seconds={time.perf_counter() - start}\ncpu_seconds={time.process_time() - used}")


def csv_loops(file: str, folder: str) -> None:
    """Read a PhenoML file with lists, in a time that grows as its length does."""
    import pickle

    import numpy as np

    start, used = time.perf_counter(), time.process_time()
    codes, four = [], []
    with Path(file).open() as lines:
        for line in lines:
            for text in line.strip().rstrip(";").split(";")[5:]:
                code, *numbers = text.split(",")
                codes.append(code)
                four.append([float(number) for number in numbers])
    with (Path(folder) / "loops.pkl").open("wb") as out:
        pickle.dump((codes, np.array(four, np.float32)), out)
    print(f"seconds={time.perf_counter() - start}\ncpu_seconds={time.process_time() - used}")


def deliver(rows: str, batch_size: str) -> None:
    """Draw the shuffled batches of an epoch from a DataLoader."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from benchmarks.jets_training import made_rows

    loader = DataLoader(TensorDataset(torch.from_numpy(made_rows(int(rows)))), int(batch_size), shuffle=True)
    start, used, count = time.perf_counter(), time.process_time(), 0
    for (row_nf,) in loader:
        count += len(row_nf)
    print(f"seconds={time.perf_counter() - start}\ncpu_seconds={time.process_time() - used}\nrows={count}")


def steps(rows: str, batch_size: str) -> None:
    """Train the same autoencoder for an epoch with a plain loop over a DataLoader."""
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader, TensorDataset

    from benchmarks.jets_training import NODES, made_rows
    from hepml_core.jets.model import build_autoencoder

    row_nf = torch.from_numpy(made_rows(int(rows)))
    network = build_autoencoder("AE_bn_LeakyReLU", NODES[0], NODES)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    loader = DataLoader(TensorDataset(row_nf), int(batch_size), shuffle=True, drop_last=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=len(loader))
    start, used, count = time.perf_counter(), time.process_time(), 0
    for (batch_nf,) in loader:
        optimizer.zero_grad()
        loss: Any = functional.mse_loss(network(batch_nf), batch_nf)
        loss.backward()
        optimizer.step()
        schedule.step()
        count += len(batch_nf)
    print(f"seconds={time.perf_counter() - start}\ncpu_seconds={time.process_time() - used}\nrows={count}")


def baler(train: str, test: str, restored: str) -> None:
    """Train baler-compressor's autoencoder with its own settings; compress and decompress with it.

    Its ``compress`` asks a model for an ``encoder`` that its autoencoder calls ``encode``; that name is added here, else
    nothing could be measured.
    """
    import numpy as np
    import torch
    from baler_compressor import compressor, config, data_processing, helper, legacy_models, trainer

    class Model(legacy_models.AE):  # type: ignore[misc]
        """With the name that the package's own functions look for."""

        def encoder(self, value_nf: torch.Tensor) -> torch.Tensor:
            latent_nz: torch.Tensor = self.encode(value_nf)
            return latent_nz

    settings: Any = config.Config()
    for name, value in BALER_SETTINGS.items():
        setattr(settings, name, value)
    settings.model, settings.input_path = Model, train
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        model, *_ = trainer.run(train, settings)
        weights = Path(folder) / "model.pt"
        data_processing.save_model(model, str(weights))
        settings.input_path = test
        start = time.process_time()
        latent_nz, *_ = compressor.run(test, str(weights), None, settings)
        encoded = time.process_time()
        with torch.no_grad():
            output_nf = model.decode(torch.from_numpy(latent_nz)).numpy()
        least_f, range_f = data_processing.find_minmax(np.load(test)["data"])
        output_nf = helper.renormalize(output_nf, least_f, range_f)
        decoded = time.process_time()
        size = weights.stat().st_size
    np.save(restored, output_nf.astype(np.float32))
    print(f"bytes={latent_nz.nbytes}\nmodel_bytes={size}")
    print(f"encode_seconds={encoded - start}\ndecode_seconds={decoded - encoded}")


BALER_SETTINGS = {
    "data_dimension": 1,
    "compression_ratio": 4 / 3,
    "apply_normalization": True,
    "model_name": "AE",
    "model_type": "dense",
    "epochs": 5,
    "lr": 0.001,
    "batch_size": 512,
    "early_stopping": True,
    "lr_scheduler": False,
    "early_stopping_patience": 100,
    "min_delta": 0,
    "lr_scheduler_patience": 50,
    "custom_norm": False,
    "reg_param": 0.001,
    "RHO": 0.05,
    "test_size": 0,
    "l1": True,
    "deterministic_algorithm": True,
    "verbose": False,
}
"""The package's defaults, but for the ratio and without its scheduler, which this torch refuses."""


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    globals()[sys.argv[1]](*sys.argv[2:])
