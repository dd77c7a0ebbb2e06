"""The networks' time is taken where they work, and nowhere else."""

from __future__ import annotations

import numpy as np

from benchmarks.jets_network import network_clock
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
