"""Apply a model folder to showers.

Suffixes: e event, c class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepml_core.ecal.event_records import CLASSES
from hepml_core.ecal.hits import Hits
from hepml_core.ecal.train import build_model_of, cropped
from hepml_core.errors import DataError
from hepml_core.storage import Folder
from hepml_core.training.checkpoints import load_model
from hepml_core.training.config import Device
from hepml_core.training.devices import inference_device

ELECTRON = CLASSES.index("electron")


class Classifier:
    """A model folder, ready to classify.

    Attributes:
        manifest: The folder's manifest.
        facts: Class names, image size, how events were read, normalization, and the network's settings.
    """

    def __init__(self, model: Folder, device: Device) -> None:
        """Load a model.

        Raises:
            FolderError: The folder is no whole model folder of this domain.
            SettingError: A GPU was asked for and there is none.
        """
        self._device = inference_device(device)
        self.manifest, network = load_model(model, "ecal", build_model_of)
        self.facts: Mapping[str, Any] = self.manifest.facts
        self._network = network.to(self._device).eval()

    def electron_probabilities(self, hits: Hits, batch_size: int) -> Iterator[NDArray[np.float64]]:
        """Yield the probabilities (e,) that events are electrons, batch after batch, in order.

        Raises:
            DataError: The images are of another size than those that the model was fitted to.
        """
        fitted = (self.facts["height"], self.facts["width"])
        if hits.shape != fitted:
            raise DataError(
                f"the model was fitted to images of {fitted[0]} x {fitted[1]} crystals, "
                f"these have {hits.shape[0]} x {hits.shape[1]}"
            )
        for start in range(0, len(hits), batch_size):
            some = cropped(hits.of(np.arange(start, min(start + batch_size, len(hits)))), self.facts["crop"]).padded()
            parts = (
                torch.from_numpy(part).to(self._device) for part in (some.crystal_bh, some.energy_bh, some.time_bh)
            )
            with torch.inference_mode():
                logit_ec = self._network(*parts)
            yield logit_ec.double().softmax(1)[:, ELECTRON].cpu().numpy()
