"""Pictures of events, of every kind of number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hepml_core import plots
from hepml_core.errors import DataError


def test_pictures_of_every_kind_of_number_look_alike() -> None:
    grey_yx = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17
    kinds: Sequence[Any] = [
        grey_yx,
        grey_yx[:, :, None],
        np.repeat(grey_yx[:, :, None], 3, axis=2),
        np.repeat(grey_yx[:, :, None], 4, axis=2),
        grey_yx.astype(np.uint16)[:, :, None] * 257,
        (grey_yx / 255)[:, :, None],
    ]
    figure = plots.plot_pictures([plots.Picture(kind, ("true higgs", "QCD 0.93", "a/b.png")) for kind in kinds])
    drawn = [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]
    assert len(drawn) == 6
    for shown in drawn:
        np.testing.assert_allclose(shown, drawn[0])
    assert "true higgs\nQCD 0.93\na/b.png" in [axis.get_title(loc="left") for axis in figure.axes]


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(DataError, match="grey, RGB or RGBA"):
        plots.plot_pictures([plots.Picture(np.zeros((4, 4, 2)), ())])
    with pytest.raises(DataError, match="no pictures"):
        plots.plot_pictures([])
