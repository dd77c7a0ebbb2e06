"""Apply a model folder of an autoencoder to rows of jets.

Suffixes: n row, f variable, z latent variable.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepml_core.errors import FolderError
from hepml_core.jets.features import Features, FloatArray
from hepml_core.jets.model import Autoencoder, fold_normalization
from hepml_core.jets.normalize import read_scaler
from hepml_core.jets.train import build_of
from hepml_core.jets.variables import VARIABLES
from hepml_core.storage import Folder
from hepml_core.training.checkpoints import load_model
from hepml_core.training.config import Device
from hepml_core.training.devices import inference_device

ROWS_IN_CACHE = 2048
"""Rows that go through all layers before the next: their activations stay in the caches of the cores."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Rows that went through an autoencoder, and what it took.

    Attributes:
        output_nf: Reconstructed variables, in their units; whole numbers are whole.
        latent_nz: Latent variables.
        loss_n: Mean squared error of each row's scaled features, of which training took the mean.
        encode_seconds: Time from variables to latent variables.
        decode_seconds: Time back.
    """

    output_nf: FloatArray
    latent_nz: FloatArray
    loss_n: FloatArray
    encode_seconds: float
    decode_seconds: float


class Reconstructor:
    """A model folder, ready to encode and decode.

    Attributes:
        manifest: The folder's manifest.
        facts: Variables, widths and what else describes the network.
        variables: The columns of a row.
    """

    def __init__(self, model: Folder, device: Device) -> None:
        """Load a model.

        Raises:
            FolderError: The folder is no whole model folder of this domain, or not of an autoencoder.
            SettingError: A GPU was asked for and there is none.
        """

        def build(facts: Mapping[str, Any]) -> Autoencoder:
            if facts["method"] != "autoencoder":
                raise FolderError(f"{model} is a {facts['method']}, which reconstructs nothing: train an autoencoder")
            return build_of(facts)

        self._device = inference_device(device)
        self.manifest, network = load_model(model, "jets", build)
        self.facts: Mapping[str, Any] = self.manifest.facts
        self.variables: tuple[str, ...] = tuple(self.facts["variables"])
        self._features = Features(self.variables, read_scaler(model), self.facts["angles"])
        self.network = fold_normalization(network).to(self._device)
        for layer in self.network.modules():
            if isinstance(layer, torch.nn.LeakyReLU):
                # A fifth of the time is saved; what it writes over is a linear layer's output, which no one else sees.
                layer.inplace = True
        self._dtype = torch.float64 if self.facts["double"] else torch.float32

    def encode(self, value_nf: FloatArray) -> FloatArray:
        """Return the latent variables (n, z) of rows (n, f).

        Raises:
            DataError: A value is outside the domain of its transform.
        """
        return self._apply(self.network.encode, self._features.forward(value_nf), self.network.latent)

    def fits(self, value_nf: FloatArray) -> NDArray[np.bool_]:
        """Tell which rows (n, f) the model's transforms can take."""
        return self._features.scaler.fits(value_nf)

    def decode(self, latent_nz: FloatArray) -> FloatArray:
        """Return the rows (n, f) of latent variables (n, z); whole numbers are rounded, areas are ones that occur."""
        return self._unscaled(self._scaled(latent_nz))

    def _scaled(self, latent_nz: FloatArray) -> FloatArray:
        return self._apply(self.network.decode, latent_nz, self._features.width)

    def _unscaled(self, scaled_nf: FloatArray) -> FloatArray:
        output_nf = self._features.inverse(scaled_nf)
        for number, name in enumerate(self.variables):
            if name in VARIABLES and VARIABLES[name].integer:
                np.rint(output_nf[:, number], out=output_nf[:, number])
            elif name in self.facts["grids"]:
                output_nf[:, number] = _nearest(np.array(self.facts["grids"][name], np.float32), output_nf[:, number])
        return output_nf

    def reconstruct(self, value_nf: FloatArray, batch_size: int = 1 << 16) -> Reconstruction:
        """Encode and decode rows, ``batch_size`` at a time.

        Raises:
            DataError: A value is outside the domain of its transform.
        """
        output_nf = np.empty_like(value_nf)
        latent_nz = np.empty((len(value_nf), self.network.latent), np.float32)
        loss_n = np.empty(len(value_nf), np.float32)
        seconds = [0.0, 0.0]
        for some in _slices(len(value_nf), batch_size):
            start = time.perf_counter()
            given_nf = self._features.forward(value_nf[some])
            latent_nz[some] = self._apply(self.network.encode, given_nf, self.network.latent)
            middle = time.perf_counter()
            scaled_nf = self._scaled(latent_nz[some])
            output_nf[some] = self._unscaled(scaled_nf)
            seconds[0] += middle - start
            seconds[1] += time.perf_counter() - middle
            loss_n[some] = np.square(scaled_nf - given_nf).mean(axis=1)
        return Reconstruction(output_nf, latent_nz, loss_n, *seconds)

    def _apply(self, part: Any, input_nf: FloatArray, width: int) -> FloatArray:
        """Send rows through a part of the network, so few at once that they stay in the caches."""
        step = ROWS_IN_CACHE if self._device.type == "cpu" else len(input_nf)
        output_nf = np.empty((len(input_nf), width), np.float32)
        with torch.inference_mode():
            for some in _slices(len(input_nf), max(1, step)):
                given: Tensor = torch.from_numpy(input_nf[some]).to(self._device, self._dtype)
                output_nf[some] = part(given).float().cpu().numpy()
        return output_nf


def _slices(length: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, length, step))


def _nearest(grid_g: NDArray[np.float32], value_n: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the nearest of sorted values for each value."""
    middle_g = (grid_g[1:] + grid_g[:-1]) / 2
    nearest: NDArray[np.float32] = grid_g[np.searchsorted(middle_g, value_n)]
    return nearest
