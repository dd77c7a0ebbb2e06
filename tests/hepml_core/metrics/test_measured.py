"""A number with its error, as it is shown."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from hepml_core.metrics import (
    Measured,
)

BoolArray = np.ndarray[tuple[int], np.dtype[np.bool_]]


def test_an_area_is_shown_with_two_digits_of_its_error() -> None:
    assert str(Measured(0.91234, 0.90934, 0.91534)) == "0.9123 ± 0.0030"
    assert str(Measured(0.91234, 0.86, 0.97)) == "0.912 ± 0.055"
    assert str(Measured(1.0, 1.0, 1.0)) == "1.0000"


def test_a_small_number_is_shown_as_a_multiple_of_a_power_of_ten() -> None:
    assert str(Measured(3.75e-4, 3.72e-4, 3.78e-4)) == "(3.750 ± 0.030)·10⁻⁴"
    assert str(Measured(-3.75e-12, -3.78e-12, -3.72e-12)) == "(-3.750 ± 0.030)·10⁻¹²"
    assert str(Measured(0.0, -2e-7, 2e-7)) == "(0.0 ± 2.0)·10⁻⁷"


def test_metrics_need_no_matplotlib() -> None:
    code = "import sys, hepml_core.metrics; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
