"""The pipelines of ecal; what holds for every domain's pipelines is in test_main."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.compiled import compiled, parameters_of


def test_the_two_pipelines_agree_on_how_to_train() -> None:
    own, toy = (parameters_of(compiled("ecal")[name]) for name in ("ecal", "ecal_toy"))
    assert set(own) - {"source", "stop", "split"} == set(toy) - {"events_per_class"}
    for parameter in ("architecture", "use_time", "epochs", "learning_rate", "shards_root"):
        assert own[parameter]["defaultValue"] == toy[parameter]["defaultValue"]


@pytest.mark.slow
def test_the_pipeline_runs_here_from_nothing_to_a_page_with_movies(tmp_path: Path) -> None:
    words = ["events_per_class=400", "epochs=1", "--root", str(tmp_path / "runs")]
    command = [sys.executable, "-m", "pipelines", "run", "ecal", *words]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    page = Path(done.stdout.rpartition("report: ")[2].strip())
    assert page.read_text().count("data:image/gif") >= 2
    assert 0 < json.loads((page.parent / "metrics.json").read_text())["auc"] < 1
