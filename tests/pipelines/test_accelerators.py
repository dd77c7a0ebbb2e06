"""Where training runs is a profile's choice, made when a pipeline is compiled."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl

from components.normalize import normalize
from hepml_core.errors import UnknownNameError
from pipelines.accelerators import VARIABLE, on_accelerator


def compile_placed(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compile a pipeline of one placed task; return its container and what Kubernetes adds."""

    @dsl.pipeline(name="placed")  # type: ignore[untyped-decorator]  # kfp has no types
    def placed() -> None:
        """Place one task."""
        data = dsl.importer(artifact_uri="gs://b/d", artifact_class=dsl.Dataset)
        on_accelerator(normalize(domain="event_images", dataset=data.output, settings={}))

    compiler.Compiler().compile(placed, str(folder / "placed.yaml"))
    spec, platform = yaml.safe_load_all((folder / "placed.yaml").read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return spec["deploymentSpec"]["executors"]["exec-normalize"]["container"], executors["exec-normalize"]


@pytest.mark.parametrize("profile", ["none", "nvidia-gpu"])
def test_every_profile_gives_shared_memory_as_large_as_the_memory(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, profile)
    _, added = compile_placed(tmp_path)
    assert added["emptyDirMounts"] == [{"medium": "Memory", "mountPath": "/dev/shm", "volumeName": "shared-memory"}]  # noqa: S108


def test_without_a_profile_no_accelerator_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    container, _ = compile_placed(tmp_path)
    assert "resources" not in container


def test_the_nvidia_profile_asks_for_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "nvidia-gpu")
    container, _ = compile_placed(tmp_path)
    accelerator = container["resources"]["accelerator"]
    assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "1")


def test_an_unknown_profile_is_refused_with_the_nearest_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "nvidia_gpu")
    with pytest.raises(UnknownNameError, match="Did you mean 'nvidia-gpu'"):
        compile_placed(tmp_path)
