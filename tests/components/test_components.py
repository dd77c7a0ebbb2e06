"""Every component: a sentence over a stage, on the right image, that installs nothing."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import math
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler
from kfp.dsl import Artifact, Dataset, Metrics, Model

import components
from components import _base
from hepml_core import __version__, stages
from hepml_core.event_images.config import ConvertConfig
from hepml_core.stages import STAGES
from hepml_core.storage import Folder

DOMAIN = "event_images"
NAMES = sorted(found.name for found in pkgutil.iter_modules(components.__path__) if not found.name.startswith("_"))
PREPARING = {"generate", "convert", "organize", "normalize"}
MOST_STATEMENTS = 6


def component(name: str) -> Any:
    return getattr(importlib.import_module(f"components.{name}"), name)


def run_component(name: str, **given: Any) -> dict[str, float]:
    """Run a component's function here; return the metrics that it logs."""
    logged = Metrics(uri="")
    if "metrics" in inspect.signature(component(name).python_func).parameters:
        given["metrics"] = logged
    component(name).python_func(domain=DOMAIN, **given)
    return dict(logged.metadata)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("components")


@pytest.fixture(scope="module")
def source(folders: Path) -> str:
    source = Dataset(uri=str(folders / "source"))
    settings = {"events_per_class": 40.0, "image_size": "32", "pileup_mean": 0}
    address = component("generate").python_func(domain=DOMAIN, settings=settings, source=source)
    return str(address)


@pytest.fixture(scope="module")
def converted(folders: Path, source: str) -> tuple[Dataset, dict[str, float]]:
    shards = Dataset(uri=str(folders / "shards"))
    return shards, run_component("convert", source=source, settings={"image_size": 16.0}, shards=shards)


@pytest.fixture(scope="module")
def organized(folders: Path, converted: tuple[Dataset, dict[str, float]]) -> tuple[Dataset, dict[str, float]]:
    dataset = Dataset(uri=str(folders / "dataset"))
    return dataset, run_component("organize", shards=converted[0], settings={"exact": True}, dataset=dataset)


@pytest.fixture(scope="module")
def normalized(folders: Path, organized: tuple[Dataset, dict[str, float]]) -> tuple[Artifact, dict[str, float]]:
    statistics = Artifact(uri=str(folders / "statistics"))
    return statistics, run_component("normalize", dataset=organized[0], settings={}, statistics=statistics)


@pytest.fixture(scope="module")
def trained(
    folders: Path,
    organized: tuple[Dataset, dict[str, float]],
    normalized: tuple[Artifact, dict[str, float]],
) -> tuple[Model, dict[str, float]]:
    model = Model(uri=str(folders / "model"))
    settings = {"epochs": 1.0, "device": "cpu"}
    logged = run_component("train", dataset=organized[0], statistics=normalized[0], settings=settings, model=model)
    return model, logged


def test_generate_returns_the_address_of_its_pictures(source: str) -> None:
    assert {len(list(Path(source, name).glob("*.png"))) for name in ("higgs", "jpsi", "qcd")} == {40}


def test_convert_logs_how_many_events_it_kept(converted: tuple[Dataset, dict[str, float]]) -> None:
    shards, logged = converted
    assert logged["events"] == 120
    assert Path(shards.path, "manifest.json").is_file()


def test_with_a_shards_root_nothing_but_a_manifest_is_handed_on(folders: Path, source: str) -> None:
    shards, dataset = Dataset(uri=str(folders / "few")), Dataset(uri=str(folders / "kilobytes"))
    root = {"shards_root": str(folders / "far away")}
    run_component("convert", source=source, settings=root, shards=shards)
    run_component("organize", shards=shards, settings={**root, "exact": True}, dataset=dataset)
    for handed_on in (shards, dataset):
        files = [path for path in Path(handed_on.path).rglob("*") if path.is_file()]
        assert [path.name for path in files] == ["manifest.json"]
        assert files[0].stat().st_size < 64_000
    assert list((folders / "far away").rglob("*.tfrecord"))


def test_organize_logs_the_sizes_of_the_splits(organized: tuple[Dataset, dict[str, float]]) -> None:
    _, logged = organized
    assert logged["train_events"] + logged["valid_events"] + logged["test_events"] == 120
    assert logged["train_events"] == 84


def test_normalize_logs_mean_and_standard_deviation(normalized: tuple[Artifact, dict[str, float]]) -> None:
    _, logged = normalized
    assert 0 < logged["mean_0"] < 1
    assert 0 < logged["std_0"] < 1


def test_train_logs_the_metrics_of_the_best_epoch(trained: tuple[Model, dict[str, float]]) -> None:
    model, logged = trained
    assert logged["best_epoch"] == 1
    assert logged["valid_loss"] > 0
    assert list(Path(model.path).rglob("*.safetensors"))


def test_evaluate_logs_the_area_under_the_curve_and_writes_a_page(
    folders: Path, organized: tuple[Dataset, dict[str, float]], trained: tuple[Model, dict[str, float]]
) -> None:
    report = Artifact(uri=str(folders / "report"))
    settings = {"replicas": 2.0, "confused_events": 0.0, "device": "cpu"}
    logged = run_component("evaluate", dataset=organized[0], model=trained[0], settings=settings, report=report)
    assert 0 <= logged["auc"] <= 1
    assert Path(report.path, "index.html").is_file()


def test_predict_logs_how_many_pictures_it_judged(
    folders: Path, source: str, trained: tuple[Model, dict[str, float]]
) -> None:
    predictions = Artifact(uri=str(folders / "predictions"))
    new = str(Path(source, "jpsi"))
    logged = run_component("predict", source=new, model=trained[0], settings={"device": "cpu"}, predictions=predictions)
    assert 40 in logged.values()
    assert Path(predictions.path, "manifest.json").is_file()


def test_there_is_one_component_for_each_stage() -> None:
    assert set(NAMES) == set(STAGES)


@pytest.mark.parametrize("name", NAMES)
def test_a_component_names_the_folders_of_its_stage(name: str) -> None:
    parameters = set(inspect.signature(component(name).python_func).parameters) - {"domain", "settings", "metrics"}
    assert parameters == set(STAGES[name].folders)


@pytest.mark.parametrize("name", NAMES)
def test_a_component_compiles_to_a_command_that_installs_nothing(name: str, tmp_path: Path) -> None:
    compiler.Compiler().compile(component(name), str(tmp_path / "component.yaml"))
    text = (tmp_path / "component.yaml").read_text()
    assert "kfp.dsl.executor_main" in text
    assert "pip" not in text.replace("pipeline", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_component_runs_on_the_smallest_image_that_can(name: str) -> None:
    image = component(name).component_spec.implementation.container.image
    kind = "prepare" if name in PREPARING else "train-gpu"
    assert image == f"{_base.IMAGES}/{kind}:{_base.TAG}"


def test_images_carry_the_version_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEPML_IMAGES", raising=False)
    monkeypatch.delenv("HEPML_TAG", raising=False)
    assert base_image() == f"hepml/prepare:{__version__}"
    monkeypatch.setenv("HEPML_IMAGES", "registry.example:5000/hep")
    monkeypatch.setenv("HEPML_TAG", "night-7")
    assert base_image() == "registry.example:5000/hep/prepare:night-7"


def base_image() -> str:
    """Return the image that _base would choose in a process that starts now."""
    spec = importlib.util.find_spec("components._base")
    assert spec
    assert spec.loader
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return str(fresh.prepare_component.keywords["base_image"])


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_of_a_component_is_described(name: str) -> None:
    docstring = inspect.getdoc(component(name).python_func) or ""
    summary, _, arguments = docstring.partition("\n\nArgs:\n")
    assert summary.endswith(".")
    described = re.findall(r"^    (\w+): \S", arguments, flags=re.MULTILINE)
    assert described == list(inspect.signature(component(name).python_func).parameters)


@pytest.mark.parametrize("name", NAMES)
def test_the_body_of_a_component_is_a_sentence(name: str) -> None:
    module = ast.parse(Path(str(inspect.getsourcefile(component(name).python_func))).read_text())
    (function,) = (node for node in module.body if isinstance(node, ast.FunctionDef))
    body = function.body[1:]
    statements = [node for statement in body for node in ast.walk(statement) if isinstance(node, ast.stmt)]
    assert len(statements) <= MOST_STATEMENTS
    assert not any(isinstance(node, (ast.If, ast.Try, ast.While, ast.BinOp)) for node in ast.walk(function))


@pytest.mark.parametrize("name", [*NAMES, "_base"])
def test_only_base_defers_annotations_which_kfp_must_read(name: str) -> None:
    source = Path(components.__path__[0], f"{name}.py").read_text()
    assert ("from __future__ import annotations" in source) == (name == "_base")


def measure_too_few(source: Folder, shards: Folder, config: ConvertConfig) -> dict[str, float]:
    """Stand in for a stage whose error cannot be told from so few events."""
    return {"events": 2, "error": math.nan, "ratio": math.inf}


def test_a_metric_without_a_value_is_not_handed_to_kubeflow_which_would_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "find_stage", lambda *_: measure_too_few)
    shards = Dataset(uri=str(tmp_path / "shards"))
    assert run_component("convert", source=str(tmp_path), settings={}, shards=shards) == {"events": 2}
