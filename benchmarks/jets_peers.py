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
