"""Who may import whom, and what must not be loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepml_core.stages import STAGES, domains

ROOT = Path(__file__).parents[1]
DOORS = {
    "google.cloud": {"hepml_core/storage/gcs.py"},
    "google.api_core": {"hepml_core/storage/gcs.py"},
    "google.auth": {"hepml_core/storage/gcs.py"},
    "boto3": {"hepml_core/storage/s3.py"},
    "botocore": {"hepml_core/storage/s3.py"},
    "matplotlib": {"hepml_core/plots/*.py"},
    "mplhep": {"hepml_core/plots/*.py"},
    "pyarrow": {"hepml_core/tables.py", "hepml_core/jets/csv_files.py", "hepml_core/jets/generate.py"},
    "pyarrow.parquet": {"hepml_core/tables.py"},
    "uproot": {"hepml_core/jets/root_*.py", "hepml_core/jets/write_root.py"},
    "h5py": {"hepml_core/ecal/hdf5_*.py"},
    "pcodec": {"hepml_core/jets/packing.py"},
    "zstandard": {"hepml_core/jets/packing.py"},
    "jinja2": {"hepml_core/report.py"},
    "safetensors": {"hepml_core/training/checkpoints.py"},
    "lightning_fabric": {"hepml_core/training/devices.py"},
    "kfp": {"components/*.py", "pipelines/*.py"},
    "kfp_server_api": {"pipelines/submission.py"},
    "torch": {
        "hepml_core/training/*.py",
        "hepml_core/*/model.py",
        "hepml_core/*/train.py",
        "hepml_core/*/evaluate.py",
        "hepml_core/*/inference.py",
        "hepml_core/jets/batches.py",
        "hepml_core/jets/density*.py",
        "hepml_core/ecal/batches.py",
        "hepml_core/ecal/convolution_block.py",
        "hepml_core/ecal/hit_transformer.py",
        "hepml_core/ecal/movie.py",
    },
}
"""Packages that are heavy or fragile, and the only modules that import them."""

HEAVY = ("torch", "lightning_fabric", "matplotlib", "jinja2", "kfp", "google.cloud", "boto3", "rich", "PIL")
WITHOUT_TORCH = ("generate", "convert", "organize", "normalize")


def imports_of(module: Path) -> Iterator[str]:
    """Name what a module imports when it runs; what only a type checker reads does not count."""
    tree = ast.parse(module.read_text())
    for branch in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
        if ast.unparse(branch.test) == "TYPE_CHECKING":
            branch.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


MODULES = [path for package in ("hepml_core", "components", "pipelines") for path in (ROOT / package).rglob("*.py")]
IMPORTS = {path.relative_to(ROOT): list(imports_of(path)) for path in MODULES}


def modules_loaded_by(code: str) -> set[str]:
    """Run code in a fresh process; return the modules that it leaves loaded."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


def test_the_contracts_of_import_linter_are_kept() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"lint-imports:\n{done.stdout}"


def test_every_domain_has_its_place_in_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["hepml_core"])
    assert " | ".join(domains()) in layers


@pytest.mark.parametrize("domain", domains())
def test_no_domain_imports_another(domain: str) -> None:
    others = tuple(f"hepml_core.{other}." for other in domains() if other != domain)
    own = [path for path in IMPORTS if path.is_relative_to(f"hepml_core/{domain}")]
    assert own
    assert not [name for path in own for name in IMPORTS[path] if f"{name}.".startswith(others or ("-",))]


@pytest.mark.parametrize("package", DOORS)
def test_a_heavy_package_has_one_door(package: str) -> None:
    users = {path for path, names in IMPORTS.items() if any(f"{name}.".startswith(f"{package}.") for name in names)}
    assert users, f"nothing imports {package}: take it off the list"
    assert {path for path in users if not any(path.match(door) for door in DOORS[package])} == set()


def test_components_import_the_library_only_while_they_run() -> None:
    for path in IMPORTS:
        if path.parts[0] == "components" and not path.name.startswith("_"):
            top = [node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.ImportFrom)]
            assert {str(node.module).partition(".")[0] for node in top} <= {"typing", "kfp", "components"}


def test_the_command_starts_without_any_heavy_package() -> None:
    loaded = modules_loaded_by("from hepml_core.__main__ import main; main(['--help'])")
    assert "hepml_core.stages" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("domain", domains())
def test_stages_that_only_prepare_load_no_torch(domain: str) -> None:
    names = "; ".join(f"find_stage({stage!r}, {domain!r})" for stage in WITHOUT_TORCH)
    loaded = modules_loaded_by(f"from hepml_core.stages import find_stage; {names}")
    assert {f"hepml_core.{domain}.{stage}" for stage in WITHOUT_TORCH} <= loaded
    assert not loaded & {"torch", "lightning_fabric", "matplotlib", "kfp", "google.cloud.storage", "boto3"}


@pytest.mark.parametrize("domain", domains())
def test_the_configs_of_a_domain_load_no_torch(domain: str) -> None:
    assert "torch" not in modules_loaded_by(f"import hepml_core.{domain}.config")


def test_the_stages_that_prepare_are_stages() -> None:
    assert set(WITHOUT_TORCH) <= set(STAGES)
