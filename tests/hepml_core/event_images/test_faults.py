"""Stages that are killed, or run out of disk, and are then run again by the same command.

Run as a script, this file is a server that has imported the stages and forks a process for each run; before each change
of the file system (a new file, flush, rename, link, deletion) that process, with all its workers, can be killed.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.class_folders import bright_and_dark, contents, png
from tests.fatal_steps import count_changes

ROOT = Path(__file__).parents[3]
STAGES = ("generate", "convert", "organize", "normalize", "train", "evaluate", "predict")
FOLDERS = {
    "generate": ("toys",),
    "convert": ("source", "shards"),
    "organize": ("shards", "dataset"),
    "normalize": ("dataset", "statistics"),
    "train": ("dataset", "statistics", "model"),
    "evaluate": ("dataset", "model", "report"),
    "predict": ("source", "model", "predictions"),
}
SETTINGS = {
    "generate": ["classes=jpsi,qcd", "events_per_class=3", "image_size=30"],
    "convert": ["records_per_shard=14"],
    "organize": [
        "exact=true",
        "records_per_shard=16",
        "train_fraction=0.5",
        "valid_fraction=0.25",
        "test_fraction=0.25",
    ],
    "normalize": [],
    "train": ["epochs=2", "batch_size=5", "device=cpu"],
    "evaluate": ["replicas=3", "device=cpu", "confused_events=2"],
    "predict": ["device=cpu"],
}


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: int
    """Exit status, or minus the signal that killed it."""
    said: str
    steps: int
    """Changes of the file system that it made."""


def words_of(stage: str, root: Path, output: Path) -> list[str]:
    """Return the words of the command that runs a stage on the folders in ``root`` and writes to ``output``."""
    *reads, written = FOLDERS[stage]
    option = {"toys": "source"}.get(written, written)
    folders = [word for name in reads for word in (f"--{name}", str(root / name))]
    return [stage, "event_images", *folders, f"--{option}", str(output), *SETTINGS[stage]]


Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run a command in a process of its own, perhaps with an early end or a limit on the size of its files."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        requests, answers = server.stdin, server.stdout
        assert requests is not None
        assert answers is not None

        def run_once(words: list[str], *, fatal_step: int = 0, largest_file: int = 0) -> Outcome:
            print(json.dumps([words, fatal_step, largest_file]), file=requests, flush=True)
            return Outcome(**json.loads(answers.readline()))

        yield run_once


def serve() -> None:
    """Fork a process for each request on standard input; answer how it ended."""
    for stage in STAGES:
        importlib.import_module(f"hepml_core.event_images.{stage}")
    for line in sys.stdin:
        words, fatal_step, largest_file = json.loads(line)
        steps = multiprocessing.Value("i", 0)  # a new one, for who is killed keeps its lock
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            obey(words, steps, fatal_step, largest_file, writer)
        os.close(writer)
        with open(reader, "rb") as pipe:  # noqa: PTH123 - a number is no path
            said = pipe.read().decode()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"status": status, "said": said, "steps": steps.get_obj().value}), flush=True)  # noqa: T201


def obey(words: list[str], steps: Any, fatal_step: int, largest_file: int, log: int) -> NoReturn:
    """Run a command in this new process, which dies before its ``fatal_step``-th change of the file system."""
    from hepml_core import report
    from hepml_core.__main__ import main

    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    # Drawing takes seconds and touches no file.
    drawn = png(np.zeros((4, 4, 3), np.uint8))
    for name in ("to_png", "to_pdf"):
        setattr(report, name, lambda _: drawn)

    counted = count_changes(steps, fatal_step)
    tempfile.mkstemp = counted(tempfile.mkstemp)
    # Workers talk through memory that is a file to the system; this opens it, and they share it.
    memory = multiprocessing.RawValue("b", 0)
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    status = 1
    try:
        status = main(words)
    except BaseException:  # noqa: BLE001 - what a user would see
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    del memory
    os._exit(status)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """The folders of all stages, made without a fault."""
    root = tmp_path_factory.mktemp("made")
    bright_and_dark(root / "source", count=20)
    for stage in STAGES:
        outcome = run(words_of(stage, root, root / FOLDERS[stage][-1]))
        assert outcome.status == 0, outcome.said
    return root


def result_of(stage: str, folder: Path) -> dict[str, bytes]:
    """Return what must not depend on faults: all bytes, but for a fit, whose history tells the time."""
    found = contents(folder)
    return found if stage != "train" else {"model.safetensors": found["model.safetensors"]}


def some(steps: int, most: int) -> list[int]:
    """Return numbers from 1 to ``steps``, evenly spread."""
    return sorted(set(np.linspace(1, steps, min(steps, most)).round().astype(int).tolist()))


HEAVY = [pytest.param(stage, marks=pytest.mark.slow) for stage in ("train", "evaluate")]
LIGHT = ["generate", "convert", "organize", "normalize", "predict"]


def check_kills(stage: str, made: Path, run: Run, tmp_path: Path, most: int) -> None:
    """Kill a stage before some of its changes of the file system; the same command must end as if nothing had been."""
    expected = result_of(stage, made / FOLDERS[stage][-1])
    steps = run(words_of(stage, made, tmp_path / "unkilled")).steps
    assert steps > 3
    for step in some(steps, most):
        output = tmp_path / f"killed before {step}"
        words = words_of(stage, made, output)
        assert run(words, fatal_step=step).status == -signal.SIGKILL
        outcome = run(words)
        assert (step, outcome.status) == (step, 0), outcome.said
        assert (step, result_of(stage, output)) == (step, expected)


@pytest.mark.parametrize("stage", [*LIGHT, *HEAVY])
def test_a_stage_killed_at_any_step_ends_with_the_same_bytes_when_it_is_run_again(
    stage: str, made: Path, run: Run, tmp_path: Path
) -> None:
    check_kills(stage, made, run, tmp_path, most=5)


@pytest.mark.slow
@pytest.mark.parametrize("stage", LIGHT)
def test_no_step_is_one_too_many(stage: str, made: Path, run: Run, tmp_path: Path) -> None:
    check_kills(stage, made, run, tmp_path, most=1000)


def test_a_stage_killed_again_and_again_gets_there(made: Path, run: Run, tmp_path: Path) -> None:
    for stage in ("convert", "organize"):
        output = tmp_path / stage
        words = words_of(stage, made, output)
        kills = 0
        # Plan, manifest and the receipts' end take about 20 changes; the rest of each run is progress.
        while run(words, fatal_step=30).status == -signal.SIGKILL:
            kills += 1
            assert kills < 10
        assert kills
        assert result_of(stage, output) == result_of(stage, made / FOLDERS[stage][-1])


def test_shards_are_deleted_in_the_end_wherever_organize_is_killed(made: Path, run: Run, tmp_path: Path) -> None:
    words = [*words_of("organize", made, Path())[2:], "delete_shards=true"]
    shards = tmp_path / "reference"

    def prepare(name: str) -> list[str]:
        nonlocal shards
        shards = tmp_path / f"shards {name}"
        for file, content in contents(made / "shards").items():
            shards.mkdir(exist_ok=True)
            (shards / file).write_bytes(content)
        words[1], words[3] = str(shards), str(tmp_path / f"dataset {name}")
        return ["organize", "event_images", *words]

    steps = run(prepare("unkilled")).steps
    for step in range(steps - 12, steps + 1):
        command = prepare(str(step))
        assert run(command, fatal_step=step).status == -signal.SIGKILL
        outcome = run(command)
        assert outcome.status == 0, outcome.said
        assert [path.name for path in shards.iterdir()] == ["manifest.json"]
        assert set(contents(Path(words[3]))) == set(contents(made / "dataset"))


@pytest.mark.parametrize("stage", [*LIGHT, *HEAVY])
def test_a_full_disk_is_told_in_a_sentence_and_the_same_command_goes_on_later(
    stage: str, made: Path, run: Run, tmp_path: Path
) -> None:
    folder = made / FOLDERS[stage][-1]
    largest = max(len(content) for content in contents(folder).values())
    for limit in (50, largest // 2, largest - 1):
        output = tmp_path / str(limit)
        words = words_of(stage, made, output)
        outcome = run(words, largest_file=limit)
        assert outcome.status == 2, outcome.said
        (said,) = [line for line in outcome.said.splitlines() if line.startswith("hepml: ")]
        assert "File too large; raise the limit" in said
        assert str(output) in said
        assert "Traceback" not in outcome.said
        assert not (output / "manifest.json").exists()
        outcome = run(words)
        assert outcome.status == 0, outcome.said
        assert result_of(stage, output) == result_of(stage, folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """Mount a disk in memory of so many kB; the test is skipped where this is not allowed."""
    mounted: list[Path] = []

    def mount(kilobytes: int) -> Path:
        disk = tmp_path / f"disk of {kilobytes}"
        disk.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
        if subprocess.run(words, check=False, capture_output=True).returncode:
            pytest.skip("mounting a disk in memory is not allowed here")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["convert", "organize", "train", "predict"])
def test_a_disk_that_fills_up_anywhere_is_told_in_a_sentence(
    stage: str, made: Path, run: Run, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    folder = made / FOLDERS[stage][-1]
    needed = sum((len(content) + 4095) // 4096 * 4 for content in contents(folder).values())
    outcomes = []
    for kilobytes in sorted({*range(8, needed + 60, max(4, needed // 12))}):
        outcome = run(words_of(stage, made, small_disk(kilobytes) / "output"))
        outcomes.append(outcome.status)
        assert outcome.status in (0, 2), outcome.said
        if outcome.status:
            (said,) = [line for line in outcome.said.splitlines() if line.startswith("hepml: ")]
            assert "No space left on device; free some space" in said
        assert "Traceback" not in outcome.said
    assert outcomes[0] == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_program_killed_at_random_moments_ends_with_the_same_bytes(made: Path, tmp_path: Path) -> None:
    chance = np.random.default_rng(4)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for stage in STAGES:
        output = tmp_path / stage
        command = [sys.executable, "-m", "hepml_core", *words_of(stage, made, output)]
        for share in (*chance.uniform(0.2, 0.9, 2), None):
            with subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                if share is None:
                    said = process.communicate()[1]
                    assert process.returncode == 0, said.decode()
                else:
                    time.sleep(share * (3 if stage in STAGES[:4] else 8))
                    process.kill()
        expected = result_of(stage, made / FOLDERS[stage][-1])
        found = result_of(stage, output)
        if stage == "evaluate":  # the figures of ``made`` are not drawn
            expected, found = ({"predictions.csv": one["predictions.csv"]} for one in (expected, found))
        assert found == expected


if __name__ == "__main__":
    serve()
