"""Fixtures of more than one test file of the jets."""

from __future__ import annotations

import pytest

from tests.hepml_core.jets.coding import Models, train_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A density and an autoencoder that have seen a few hundred events, to be read only."""
    return train_models(tmp_path_factory.mktemp("models"))
