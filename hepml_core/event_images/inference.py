"""Apply a model folder to pictures.

Axes: e event, c class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepml_core.event_images.batches import PictureBatch
from hepml_core.event_images.train import build_model_of
from hepml_core.storage import Folder
from hepml_core.training.checkpoints import load_model
from hepml_core.training.config import Device
from hepml_core.training.devices import inference_device


class Classifier:
    """A model folder, ready to classify.

    Attributes:
        manifest: The folder's manifest.
        facts: Class names, picture shape and normalization.
    """

    def __init__(self, model: Folder, device: Device) -> None:
        """Load a model.

        Raises:
            FolderError: The folder is no whole model folder of this domain.
            SettingError: A GPU was asked for and there is none.
        """
        self._device = inference_device(device)
        self.manifest, network = load_model(model, "event_images", build_model_of)
        self.facts: Mapping[str, Any] = self.manifest.facts
        self._network = network.to(self._device).eval()

    def classify(self, batches: Iterable[PictureBatch]) -> Iterator[tuple[PictureBatch, NDArray[np.float64]]]:
        """Yield each batch with its probabilities (e, c)."""
        with torch.inference_mode():
            for batch in batches:
                logit_ec = self._network(torch.from_numpy(batch.image_byxc).to(self._device))
                yield batch, logit_ec.double().softmax(1).cpu().numpy()
