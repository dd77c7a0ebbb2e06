"""The stages, found by name and run with plain settings."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from hepml_core.artifacts import STAGE_OF_KIND
from hepml_core.config import describe_config
from hepml_core.errors import HepmlError, SettingError, UnknownNameError
from hepml_core.stages import PACKAGES, STAGES, config_of, domains, find_stage, run_stage

SMALL = {"classes": "higgs,qcd", "events_per_class": 1.0, "image_size": "30"}

WITHOUT_A_PACKAGE = """
import sys
sys.modules[sys.argv[1]] = None
from hepml_core.errors import DependencyError
from hepml_core.stages import find_stage
try:
    find_stage(sys.argv[2], "event_images")
except DependencyError as error:
    print(error)
"""


@pytest.mark.parametrize(("stage", "domain"), [(stage, domain) for stage in STAGES for domain in domains(stage)])
def test_every_domain_has_every_stage_in_the_one_shape(stage: str, domain: str) -> None:
    function, shape = find_stage(stage, domain), STAGES[stage]
    assert (*inspect.signature(function).parameters,) == (*shape.reads, shape.writes, "config", *shape.may_read)
    assert config_of(function).__name__ == f"{stage.capitalize()}Config"
    assert describe_config(config_of(function))
    assert (function.__doc__ or "").strip()


def test_a_domain_is_a_package_with_a_module_for_every_stage() -> None:
    assert "event_images" in domains()
    assert not {"storage", "training"} & set(domains())


def test_what_a_stage_reads_another_one_writes() -> None:
    written = {stage.writes for stage in STAGES.values()}
    assert all(name in written for stage in STAGES.values() for name in stage.reads)
    for kind, maker in STAGE_OF_KIND.items():
        assert STAGES[maker].writes == kind


@pytest.mark.parametrize(
    ("stage", "domain", "settings", "folders", "sentence"),
    [
        ("convrt", "event_images", {}, {}, r"^unknown stage 'convrt'\. Did you mean 'convert'\?"),
        ("convert", "event_image", {}, {}, r"^unknown domain 'event_image'\. Did you mean 'event_images'\?"),
        ("convert", "storage", {}, {}, "^unknown domain 'storage'"),
        ("convert", "../convert", {}, {}, "^unknown domain"),
        ("__main__", "event_images", {}, {}, "^unknown stage"),
        (
            "convert",
            "event_images",
            {"image_sise": 3},
            {},
            "^unknown setting 'image_sise' of ConvertConfig.* 'image_size'",
        ),
        (
            "convert",
            "event_images",
            {},
            {"sources": "x"},
            r"^unknown folder 'sources' of convert\. Did you mean 'source'",
        ),
    ],
)
def test_a_name_that_does_not_exist_comes_with_the_nearest_one(
    stage: str, domain: str, settings: dict[str, object], folders: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UnknownNameError, match=sentence):
        run_stage(stage, domain, settings, **folders)


def test_missing_folders_are_named_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^convert event_images needs the folder --source and --shards$"):
        run_stage("convert", "event_images", {})
    with pytest.raises(SettingError, match=r"^convert event_images needs the folder --shards$"):
        run_stage("convert", "event_images", {}, source=str(tmp_path), shards="")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_value_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="image_size must be between 30 and 4096"):
        run_stage("generate", "event_images", {**SMALL, "image_size": 1}, source=str(tmp_path / "source"))
    assert not (tmp_path / "source").exists()


def test_a_folder_that_cannot_be_opened_is_refused() -> None:
    with pytest.raises(HepmlError, match="addresses are local paths, gs://bucket/folder or s3://bucket/folder"):
        run_stage("generate", "event_images", SMALL, source="http://host/folder")


def test_a_stage_runs_with_settings_of_every_origin_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = run_stage("generate", "event_images", SMALL, source=str(tmp_path / "source"))
    pictures = sorted(found.parent.name for found in (tmp_path / "source").rglob("*.png"))
    assert pictures == ["higgs", "qcd"]
    assert metrics
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition("=")[0] for line in printed] == [*metrics]


def test_the_folder_of_one_stage_is_refused_as_the_output_of_another(tmp_path: Path) -> None:
    run_stage("generate", "event_images", SMALL, source=str(tmp_path / "source"))
    folders = {"source": str(tmp_path / "source"), "shards": str(tmp_path / "shards")}
    run_stage("convert", "event_images", {}, **folders)
    with pytest.raises(HepmlError, match="already holds shards: choose another folder for the dataset"):
        run_stage("organize", "event_images", {}, shards=folders["shards"], dataset=folders["shards"])
    with pytest.raises(HepmlError, match=r"has no manifest\.json: .*; run organize first"):
        run_stage("normalize", "event_images", {}, dataset=str(tmp_path / "absent"), statistics=str(tmp_path / "s"))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("package", "stage", "extra"), [("torch", "train", "train"), ("matplotlib", "evaluate", "report")]
)
def test_a_missing_package_is_named_with_its_remedy(package: str, stage: str, extra: str) -> None:
    assert PACKAGES[package] == extra
    command = [sys.executable, "-c", WITHOUT_A_PACKAGE, package, stage]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert package in done.stdout
    assert f"pip install 'hepml[{extra}]'" in done.stdout


def test_preparing_data_needs_neither_torch_nor_figures() -> None:
    code = """
import sys
for package in sys.argv[1:]:
    sys.modules[package] = None
from hepml_core.stages import find_stage
for stage in ("generate", "convert", "organize", "normalize"):
    find_stage(stage, "event_images")
"""
    command = [sys.executable, "-c", code, *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
