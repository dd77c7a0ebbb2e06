from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hepml_core.errors import FolderError, SettingError
from hepml_core.jets.bounds import Bound
from hepml_core.jets.codecs import AutoencoderCodec, ColumnCodec
from hepml_core.jets.density_coder import DensityCoder
from hepml_core.jets.grids import Grid
from hepml_core.jets.open_codec import grids_of, open_autoencoder, open_columns, open_density
from tests.hepml_core.jets.coding import BOUNDS, FOUR, Models

FACTORS = {"pt": 1e-3, "eta": 1.0, "phi": 1.0, "m": 1e-3}
DTYPES = dict.fromkeys(FOUR, np.dtype(np.float32))


def test_a_grid_is_in_the_units_of_the_file_and_exact_values_have_none() -> None:
    bounds = {"pt": Bound(1e-3, True), "m": Bound(0, True), "N90Constituents": Bound(0, False)}
    dtypes = {"pt": np.dtype(float), "m": np.dtype(float), "N90Constituents": np.dtype(np.int32)}
    grids = grids_of(bounds, {"pt": 1e-3, "m": 1e-3, "N90Constituents": 1.0}, dtypes)
    assert grids == {
        "pt": Grid("pt", bounds["pt"], 1e-3),
        "m": None,
        "N90Constituents": Grid("N90Constituents", bounds["N90Constituents"]),
    }


def test_whole_numbers_in_mev_are_counted_as_the_file_counts_them() -> None:
    grids = grids_of({"pt": Bound(0, True)}, {"pt": 1e-3}, {"pt": np.dtype(np.int32)})
    assert grids["pt"] == Grid("pt", Bound(0, True), 1.0)


def test_a_bound_that_no_grid_keeps_is_refused() -> None:
    with pytest.raises(SettingError, match="finer than float32"):
        open_columns({"pt": Bound(1e-8, True)}).of_file(FACTORS, DTYPES)


def test_each_codec_is_opened_with_what_its_model_says(models: Models) -> None:
    columns, density = open_columns(BOUNDS), open_density(models.density)
    autoencoder = open_autoencoder(models.autoencoder, BOUNDS, 1e-3, "cpu")
    assert [one.name for one in (columns, density, autoencoder)] == ["columns", "density", "autoencoder"]
    assert columns.variables == density.variables == autoencoder.variables == FOUR
    assert columns.bounds == density.bounds == autoencoder.bounds == BOUNDS
    assert columns.manifest is None
    assert density.manifest is not None
    assert autoencoder.manifest is not None
    kinds = [type(one.of_file(FACTORS, DTYPES)) for one in (columns, density, autoencoder)]
    assert kinds == [ColumnCodec, DensityCoder, AutoencoderCodec]


def test_a_model_of_the_other_kind_is_refused(models: Models) -> None:
    with pytest.raises(FolderError, match="is an autoencoder, not a density"):
        open_density(models.autoencoder)
    with pytest.raises(FolderError, match="is a density, which reconstructs nothing"):
        open_autoencoder(models.density, BOUNDS, 1e-3, "cpu")


def test_the_codec_without_a_model_needs_no_torch() -> None:
    script = "import sys; sys.modules['torch'] = None; import hepml_core.jets.compress, hepml_core.jets.decompress"
    subprocess.run([sys.executable, "-c", script], check=True)
