"""The pipelines of jets: compiled as they are kept, and run here from nothing to archives and back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hepml_core.errors import UnknownNameError
from pipelines.__main__ import choose_pipeline, pipelines_of
from tests.pipelines.compiled import compiled


def test_every_stage_of_the_domain_is_a_task_of_some_pipeline() -> None:
    specs = [next(yaml.safe_load_all(text)) for text in compiled("jets").values()]
    stages = {name.removeprefix("exec-") for spec in specs for name in spec["deploymentSpec"]["executors"]}
    wanted = {"generate", "convert", "organize", "normalize", "train", "evaluate", "compress", "decompress"}
    assert wanted <= stages


def test_a_word_names_a_further_pipeline() -> None:
    assert list(pipelines_of("jets")) == ["jets", "jets_toy", "jets_archive"]
    pipeline, values = choose_pipeline("jets", ["archive", "source=a", "model_uri=b"])
    assert (pipeline.name, values) == ("jets-archive", {"source": "a", "model_uri": "b"})
    assert choose_pipeline("jets", ["source=a"])[0].name == "jets"
    assert choose_pipeline("jets", [])[0].name == "jets-toy"
    with pytest.raises(UnknownNameError, match="Did you mean 'archive'"):
        choose_pipeline("jets", ["archiv"])


@pytest.mark.slow
def test_the_pipelines_run_here_from_toy_events_to_archives_and_back(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "pipelines", "run", "jets", *words, "--root", str(tmp_path / "runs")]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    settings = ["events=1500", "format=xaod_root", "method=density", "epochs=1"]
    page = Path(run(*settings).rpartition("report: ")[2].strip())
    assert page.is_file()
    home = page.parents[2]
    model, source = next(home.glob("**/model/manifest.json")).parent, next(home.glob("**/generate.json")).parent
    restored = Path(run("archive", f"source={source}", f"model_uri={model}").rpartition("result: ")[2].strip())
    assert sorted(path.name for path in restored.glob("*.root")) == sorted(path.name for path in source.glob("*.root"))
