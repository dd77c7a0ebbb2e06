"""The networks' time is taken where they work, and nowhere else."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.jets_network import bare, network_clock
from benchmarks.jets_samples import Sample
from hepml_core.jets.density import ExactNetwork
from hepml_core.jets.density_fit import read_density
from hepml_core.jets.inference import Reconstructor


def test_the_clock_runs_while_networks_do_and_leaves_them_as_they_were(fitted: Sample) -> None:
    plain = ExactNetwork.contexts
    reconstructor = Reconstructor(fitted.models["autoencoder"], "cpu")
    value_nf = np.stack(list(fitted.values.values()), axis=1)
    with network_clock() as clock:
        assert clock.seconds == 0
        encoded_nz = reconstructor.encode(value_nf)
        after_encode = clock.seconds
        read_density(fitted.models["density"]).coder().encode(fitted.values, fitted.count_e)
        assert clock.seconds > after_encode > 0
    assert ExactNetwork.contexts is plain
    np.testing.assert_array_equal(reconstructor.encode(value_nf), encoded_nz)


def test_twice_the_rows_take_twice_the_bare_products(monkeypatch: object) -> None:
    torch.set_num_threads(1)
    one, two = (bare((64, 256, 256), torch.float32, rows) for rows in (1 << 18, 1 << 19))
    assert 1.2 < two / one < 3.5
