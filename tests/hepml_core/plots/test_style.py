"""Figures leave no trace, and the same figure gives the same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from hepml_core import plots
from hepml_core.metrics import confusion_matrix


def draw() -> Figure:
    matrix = confusion_matrix([0] * 10 + [1] * 10, [0] * 9 + [1] + [1] * 10, 2)
    return plots.plot_confusion(matrix, ["higgs", "QCD"], label="simulation")


def test_figures_leave_no_trace_in_the_settings_and_in_pyplot() -> None:
    before = dict(mpl.rcParams)
    plots.to_pdf(draw())
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_a_users_own_settings_do_not_change_a_figure() -> None:
    plain = plots.to_png(draw())
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 20}):
        assert plots.to_png(draw()) == plain


DRAW = """
from hepml_core import plots
rows = [{"epoch": epoch, "phase": str(epoch), "valid_loss": 1 / epoch} for epoch in (1, 2)]
figure = plots.plot_history(rows, best_epoch=2, label="simulation")
content = plots.to_png(figure) + plots.to_pdf(figure)
"""


def test_another_process_gives_the_same_bytes() -> None:
    here: dict[str, Any] = {}
    exec(DRAW, here)  # noqa: S102
    environment = os.environ | {"PYTHONHASHSEED": "1", "SOURCE_DATE_EPOCH": "1"}
    command = [sys.executable, "-c", f"{DRAW}import sys; sys.stdout.buffer.write(content)"]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert hashlib.sha256(done.stdout).hexdigest() == hashlib.sha256(here["content"]).hexdigest()


def test_without_matplotlib_the_error_names_the_remedy() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import hepml_core.plots"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DependencyError" in done.stderr
    assert "pip install 'hepml[report]'" in done.stderr
