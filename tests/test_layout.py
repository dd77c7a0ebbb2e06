"""What is where: found by name alone, and no file too long to be read."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
from pathlib import Path

import pytest

from hepml_core.stages import STAGES, config_of, domains, find_stage

ROOT = Path(__file__).parents[1]
PACKAGES = ("hepml_core", "components", "pipelines")
LONGEST_FILE = 420
VAGUE = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc", "core", "lib"}

WITHOUT_OWN_TEST = {
    "components/*.py": "all components have one shape and one test file, tests/components/test_components.py",
    "hepml_core/*/config.py": "configs are tested by the stages that take them, and by tests/hepml_core/test_config.py",
    "hepml_core/storage/[bgs]*.py": "one suite holds every store to the same promises: test_object_stores.py",
    "hepml_core/training/[mos]*.py": "parts of the one loop, tested through it: test_fit.py",
    "hepml_core/*/inference.py": "what evaluate and predict share, tested through both",
    "hepml_core/toy_folders.py": "what all generators do, tested through each of them",
    "hepml_core/provenance.py": "tested through what the stages write",
}
"""Modules without a test file of the same name, and why."""


def files(*patterns: str) -> list[Path]:
    """List the project's files: what git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(Path(name) for name in set(listed) if (ROOT / name).is_file())


MODULES = [path for path in files(*(f"{package}/**.py" for package in PACKAGES)) if path.name != "__init__.py"]


def mirror_of(module: Path) -> Path:
    name = module.name.strip("_") if module.name == "__main__.py" else module.name
    return Path("tests", module.parent, f"test_{name.removesuffix('__.py').removesuffix('.py')}.py")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_a_test_file_in_its_place_or_a_reason(module: Path) -> None:
    excused = any(module.match(pattern) for pattern in WITHOUT_OWN_TEST)
    assert excused or (ROOT / mirror_of(module)).is_file(), f"{mirror_of(module)} is missing"


def test_no_reason_is_left_over() -> None:
    for pattern in WITHOUT_OWN_TEST:
        untested = [module for module in MODULES if module.match(pattern) and not (ROOT / mirror_of(module)).is_file()]
        assert untested, f"every module of {pattern} has a test file: take it off the list"


def test_every_test_file_of_the_mirror_tests_something_that_exists() -> None:
    of_packages = files(*(f"tests/{package}/**test_*.py" for package in PACKAGES))
    homes = {mirror_of(module) for module in MODULES}
    whole = {Path("tests/components/test_components.py"), Path("tests/hepml_core/event_images/test_faults.py")}
    assert set(of_packages) <= homes | whole


def test_nothing_has_a_vague_name() -> None:
    vague = [path for path in files() if VAGUE & {part.partition(".")[0].strip("_") for part in path.parts}]
    assert set(vague) <= {Path("components/_base.py")}


@pytest.mark.parametrize("domain", domains())
def test_a_domain_has_a_file_for_every_stage_and_its_physics(domain: str) -> None:
    names = {path.name for path in files(f"hepml_core/{domain}/*")}
    assert {f"{stage}.py" for stage, shape in STAGES.items() if shape.everywhere} | {
        "config.py",
        "model.py",
        "README.md",
        "__init__.py",
    } <= names


@pytest.mark.parametrize("domain", domains())
def test_a_domain_has_a_pipeline(domain: str) -> None:
    assert (ROOT / "pipelines" / f"{domain}.py").is_file()


@pytest.mark.parametrize(("stage", "domain"), [(stage, domain) for stage in STAGES for domain in domains(stage)])
def test_a_stage_takes_the_config_that_is_named_like_it(domain: str, stage: str) -> None:
    home = importlib.import_module(f"hepml_core.{domain}.config")
    assert config_of(find_stage(stage, domain)) is getattr(home, f"{stage.capitalize()}Config")


@pytest.mark.parametrize(("stage", "domain"), [(stage, domain) for stage in STAGES for domain in domains(stage)])
def test_a_stage_module_begins_with_the_stage(domain: str, stage: str) -> None:
    module = importlib.import_module(f"hepml_core.{domain}.{stage}")
    own = [thing for thing in vars(module).values() if getattr(thing, "__module__", "") == module.__name__]
    functions = [function for function in own if inspect.isfunction(function)]
    first = min(functions, key=lambda function: function.__code__.co_firstlineno)
    assert first.__name__ == stage


def test_component_files_are_the_stages() -> None:
    assert {path.stem for path in files("components/*.py")} == {*STAGES, "_base", "__init__"}


def test_no_file_is_too_long_to_be_read() -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in files("**.py") if path.parts[0] != "tests"}
    assert not {path: length for path, length in lengths.items() if length > LONGEST_FILE}


def test_names_of_tests_are_sentences() -> None:
    names = {
        name: path
        for path in files("tests/**test_*.py")
        for name in re.findall(r"^ *def (test_\w+)\(", (ROOT / path).read_text(), flags=re.MULTILINE)
    }
    assert not {name: path for name, path in names.items() if name.count("_") < 3}
