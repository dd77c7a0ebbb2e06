"""Codecs with what they need of a model folder, opened alike to compress and to decompress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepml_core.artifacts import Manifest
from hepml_core.jets.bounds import Bound
from hepml_core.jets.codecs import AutoencoderCodec, Codec, ColumnCodec
from hepml_core.jets.grids import Grid, check_grid
from hepml_core.storage import Folder
from hepml_core.training.config import Device

Factors = Mapping[str, float]
DTypes = Mapping[str, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class OpenCodec:
    """A codec that waits for a file's units and types.

    Attributes:
        name: Its name in archives.
        variables: Variables to store.
        bounds: Bound of each; empty for none.
        manifest: The model folder's manifest, if there is a model.
        of_file: Makes the codec for the factors and types of a file's variables.
    """

    name: str
    variables: tuple[str, ...]
    bounds: Mapping[str, Bound]
    manifest: Manifest | None
    of_file: Callable[[Factors, DTypes], Codec]


def open_columns(bounds: Mapping[str, Bound]) -> OpenCodec:
    """Return what codes variables without a model."""

    def of_file(factors: Factors, dtypes: DTypes) -> Codec:
        return ColumnCodec(grids_of(bounds, factors, dtypes))

    return OpenCodec("columns", tuple(bounds), bounds, None, of_file)


def open_autoencoder(model: Folder, bounds: Mapping[str, Bound], latent_step: float, device: Device) -> OpenCodec:
    """Return what codes latent variables and corrections; without bounds no corrections.

    Raises:
        FolderError: ``model`` is no whole model folder of an autoencoder.
    """
    from hepml_core.jets.inference import Reconstructor  # lazily: the codec without a model needs no torch

    reconstructor = Reconstructor(model, device)

    def of_file(factors: Factors, dtypes: DTypes) -> Codec:
        return AutoencoderCodec(reconstructor, grids_of(bounds, factors, dtypes), factors, latent_step)

    return OpenCodec("autoencoder", reconstructor.variables, bounds, reconstructor.manifest, of_file)


def open_density(model: Folder) -> OpenCodec:
    """Return what codes by a learned density, with the bounds for which it was made.

    Raises:
        FolderError: ``model`` is no whole model folder of a density.
    """
    from hepml_core.jets.density_fit import read_density

    density = read_density(model)

    def of_file(factors: Factors, dtypes: DTypes) -> Codec:  # noqa: ARG001
        return density.coder(factors)

    return OpenCodec("density", density.variables, density.bounds, density.manifest, of_file)


def grids_of(bounds: Mapping[str, Bound], factors: Factors, dtypes: DTypes) -> dict[str, Grid | None]:
    """Return the grid of each variable with a bound; None for values that are to be exact and are no whole numbers.

    Raises:
        SettingError: A grid cannot keep a bound.
    """
    grids: dict[str, Grid | None] = {}
    for name, bound in bounds.items():
        if not bound.size and dtypes[name].kind not in "iu":
            grids[name] = None
            continue
        check_grid(name, bound, dtypes[name])
        # Whole numbers are kept as the file counts them.
        grids[name] = Grid(name, bound, factors[name] if bound.size else 1.0)
    return grids
