"""The pipeline of event_images as Kubeflow gets it: compiled, and the same bytes every time."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
REGENERATE = "python -m pipelines compile event_images --out tests/pipelines/golden"
NAMES = ("event_images", "event_images_toy")
DECIDING = ("HEPML_IMAGES", "HEPML_TAG", "HEPML_ACCELERATOR")


def compile_here(folder: Path, **environment: str) -> dict[str, str]:
    """Compile in a process of its own, as a person does; return the files' texts by name."""
    plain = {name: value for name, value in os.environ.items() if name not in DECIDING}
    command = [sys.executable, "-m", "pipelines", "compile", "event_images", "--out", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**plain, **environment}, check=True, capture_output=True)
    return {path.stem: path.read_text() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return compile_here(tmp_path_factory.mktemp("compiled"), PYTHONHASHSEED="1")


@pytest.fixture(scope="module")
def compiled_for_gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    wishes = {"HEPML_ACCELERATOR": "nvidia-gpu", "HEPML_IMAGES": "registry.example/hep", "HEPML_TAG": "v9"}
    return compile_here(tmp_path_factory.mktemp("gpu"), PYTHONHASHSEED="2", **wishes)


def tasks_of(text: str) -> dict[str, Any]:
    """Return the tasks of the pipeline and of those inside it."""
    spec, _ = yaml.safe_load_all(text)
    dags = [spec["root"]["dag"], *(part["dag"] for part in spec["components"].values() if "dag" in part)]
    return {name: task for dag in dags for name, task in dag["tasks"].items()}


def executors_of(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the containers, and what Kubernetes adds to them, by name of the stage."""
    spec, platform = yaml.safe_load_all(text)
    added = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    containers = spec["deploymentSpec"]["executors"]
    return (
        {name.removeprefix("exec-"): part["container"] for name, part in containers.items()},
        {name.removeprefix("exec-"): part for name, part in added.items()},
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_pipeline_is_the_golden_one(name: str, compiled: dict[str, str]) -> None:
    golden, fresh = ((without_kfp_version(text)).splitlines() for text in (golden_text(name), compiled[name]))
    difference = "\n".join(difflib.unified_diff(golden, fresh, "golden", "fresh", n=1, lineterm=""))
    assert not difference, f"the pipeline has changed; if that is meant, run: {REGENERATE}\n{difference}"


def golden_text(name: str) -> str:
    path = GOLDEN / f"{name}.yaml"
    assert path.is_file(), f"there is no golden pipeline; run: {REGENERATE}"
    return path.read_text()


def without_kfp_version(text: str) -> str:
    return re.sub(r"^sdkVersion: .*$", "", text, flags=re.MULTILINE)


def test_there_is_a_golden_file_for_each_pipeline_and_no_other(compiled: dict[str, str]) -> None:
    assert sorted(compiled) == sorted(path.stem for path in GOLDEN.glob("event_images*")) == sorted(NAMES)


def test_compiling_again_gives_the_same_bytes(compiled: dict[str, str], tmp_path: Path) -> None:
    assert compile_here(tmp_path, PYTHONHASHSEED="3") == compiled


@pytest.mark.parametrize("name", NAMES)
def test_training_and_evaluation_get_shared_memory(name: str, compiled: dict[str, str]) -> None:
    _, added = executors_of(compiled[name])
    assert set(added) == {"train", "evaluate"}
    for part in added.values():
        assert [(mount["mountPath"], mount["medium"]) for mount in part["emptyDirMounts"]] == [("/dev/shm", "Memory")]  # noqa: S108


@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_goes_to_training_and_evaluation_only(name: str, compiled_for_gpu: dict[str, str]) -> None:
    containers, _ = executors_of(compiled_for_gpu[name])
    asking = {stage for stage, container in containers.items() if "accelerator" in container.get("resources", {})}
    assert asking == {"train", "evaluate"}


@pytest.mark.parametrize("name", NAMES)
def test_images_come_from_the_registry_and_tag_of_the_environment(name: str, compiled_for_gpu: dict[str, str]) -> None:
    containers, _ = executors_of(compiled_for_gpu[name])
    assert {part["image"] for part in containers.values()} == {
        "registry.example/hep/prepare:v9",
        "registry.example/hep/train-gpu:v9",
    }


@pytest.mark.parametrize("name", NAMES)
def test_shards_are_written_where_the_parameter_says_so_that_only_manifests_travel(
    name: str, compiled: dict[str, str]
) -> None:
    tasks = tasks_of(compiled[name])
    for stage in ("convert", "organize"):
        parameters = tasks[stage]["inputs"]["parameters"]
        placeholder = "{{$.inputs.parameters['pipelinechannel--shards_root']}}"
        assert parameters["settings"]["runtimeValue"]["constant"]["shards_root"] == placeholder
        assert parameters["pipelinechannel--shards_root"] == {"componentInputParameter": "shards_root"}


def test_the_toy_pipeline_hands_every_parameter_on_to_the_pipeline_inside_it(compiled: dict[str, str]) -> None:
    handed_on = tasks_of(compiled["event_images_toy"])["event-images"]["inputs"]["parameters"]
    source = handed_on.pop("source")
    assert source == {"taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "generate"}}
    spec, _ = yaml.safe_load_all(compiled["event_images"])
    assert set(handed_on) == set(spec["root"]["inputDefinitions"]["parameters"]) - {"source"}
    assert all(given == {"componentInputParameter": name} for name, given in handed_on.items())


def test_source_files_are_an_address_and_never_an_artifact_that_is_copied(compiled: dict[str, str]) -> None:
    for name in NAMES:
        assert "artifacts" not in tasks_of(compiled[name])["convert"]["inputs"]


def test_the_two_pipelines_agree_on_how_to_train(compiled: dict[str, str]) -> None:
    own, toy = (next(yaml.safe_load_all(compiled[name]))["root"]["inputDefinitions"]["parameters"] for name in NAMES)
    assert set(own) - {"source"} == set(toy) - {"events_per_class"}
    for parameter in ("architecture", "epochs", "learning_rate", "shards_root"):
        assert own[parameter]["defaultValue"] == toy[parameter]["defaultValue"]
