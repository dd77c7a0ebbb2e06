"""The command line: what it understands, and how it refuses."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hepml_core import __main__ as command_line
from hepml_core.__main__ import main
from hepml_core.config import describe_config
from hepml_core.errors import DataError
from hepml_core.stages import STAGES, config_of, domains, find_stage

Call = tuple[str, str, dict[str, Any], dict[str, str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Collect what would be run."""
    found: list[Call] = []

    def note(stage: str, domain: str, settings: dict[str, Any], **folders: str) -> dict[str, float]:
        found.append((stage, domain, settings, folders))
        return {}

    monkeypatch.setattr(command_line, "run_stage", note)
    return found


def hepml(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hepml_core", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_folders_and_settings_may_stand_in_any_order(calls: list[Call]) -> None:
    words = [["--source", "a=b"], ["--shards", "out"], ["image_size=64"], ["storage=raw"], ["shards_root=gs://b/x=y"]]
    orders = list(itertools.permutations(words))
    for order in orders:
        assert main(["convert", "event_images", *itertools.chain(*order)]) == 0
    settings = {"image_size": "64", "storage": "raw", "shards_root": "gs://b/x=y"}
    assert calls == [("convert", "event_images", settings, {"source": "a=b", "shards": "out"})] * len(orders)


def test_the_first_folder_may_stand_alone_and_out_names_the_last(calls: list[Call]) -> None:
    main(["compress", "jets", "FILE.root", "--model", "M", "--out", "F.hepml", "bounds=pt=1e-3 relative"])
    folders = {"source": "FILE.root", "model": "M", "archive": "F.hepml"}
    assert calls == [("compress", "jets", {"bounds": "pt=1e-3 relative"}, folders)]


def test_values_are_taken_as_they_stand(calls: list[Call]) -> None:
    main(
        ["organize", "event_images", "--shards=in", "categories=[a, b]", "seed=-1", "train_fraction=", "--dataset", "o"]
    )
    assert calls[0][2:] == (
        {"categories": "[a, b]", "seed": "-1", "train_fraction": ""},
        {"shards": "in", "dataset": "o"},
    )


def test_folders_that_are_not_given_are_left_to_the_stage_to_ask_for(calls: list[Call]) -> None:
    main(["convert", "event_images"])
    assert calls == [("convert", "event_images", {}, {})]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("convrt event_images", "unknown stage 'convrt'. Did you mean 'convert'?"),
        ("convrt", "unknown stage 'convrt'. Did you mean 'convert'?"),
        ("convrt --help", "unknown stage 'convrt'. Did you mean 'convert'?"),
        ("convert event_image", "unknown domain 'event_image'. Did you mean 'event_images'?"),
        ("convert", "hepml convert needs a domain: ecal, event_images, jets"),
        ("convert --help", "hepml convert needs a domain: ecal, event_images, jets"),
        ("compress", "hepml compress needs a domain: jets"),
        ("compress event_images", "event_images has no stage compress; jets has"),
        ("convert event_images a b", "settings are given as name=value, got 'b'"),
        ("convert event_images --source a b", "settings are given as name=value, got 'b'"),
        ("convert --source x", "unknown domain '--source'"),
        (
            "convert event_images --sourc x",
            "unknown option '--sourc' of hepml convert event_images. Did you mean '--source'?",
        ),
        (
            "convert event_images --shard=x",
            "unknown option '--shard' of hepml convert event_images. Did you mean '--shards'?",
        ),
        ("convert event_images image_size=1 -x", "unknown option '-x'"),
        ("convert event_images --source", "argument --source: expected one argument"),
        ("convert event_images image_size", "settings are given as name=value, got 'image_size'"),
        ("convert event_images image_sise=5 --source a --shards b", "unknown setting 'image_sise' of ConvertConfig"),
        ("convert event_images =5 --source a --shards b", "unknown setting '' of ConvertConfig"),
        ("convert event_images image_size=big --source a --shards b", "image_size must be a whole number, got 'big'"),
        ("convert event_images storage=row --source a --shards b", "Did you mean 'raw'?"),
        ("convert event_images", "convert event_images needs the folder --source and --shards"),
        ("convert event_images --shards b", "convert event_images needs the folder --source"),
        ("organize event_images --shards /absent --dataset b", "/absent has no manifest.json"),
        ("convert event_images --source http://a --shards b", "cannot open 'http://a'"),
    ],
)
def test_what_is_not_understood_ends_in_a_sentence_and_status_2(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("hepml: ")
    assert sentence in printed.err
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (DataError("part-0, record 3 at byte 17: cut"), 2, "hepml: part-0, record 3 at byte 17: cut\n"),
        (KeyboardInterrupt(), 130, "hepml: interrupted; the same command goes on from here\n"),
    ],
)
def test_what_stops_a_stage_is_said_without_a_traceback(
    error: BaseException,
    status: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(command_line, "run_stage", stop)
    assert main(["convert", "event_images"]) == status
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_without_words_it_says_what_there_is(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    shown = capsys.readouterr().out
    for name, stage in STAGES.items():
        assert f"  {name} " in shown
        reads = [*stage.reads, *(f"({folder})" for folder in stage.may_read)]
        assert f"{' + '.join(reads) or 'nothing'} -> {stage.writes}" in shown
        assert stage.meaning in shown
    assert all(domain in shown for domain in domains())


@pytest.mark.parametrize(("stage", "domain"), [(stage, domain) for stage in STAGES for domain in domains(stage)])
def test_the_help_of_a_stage_shows_its_folders_and_every_setting(
    stage: str, domain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([stage, domain, "--help"]) == 0
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    assert all(f"  --{folder} " in shown for folder in STAGES[stage].folders)
    for setting in describe_config(config_of(find_stage(stage, domain))):
        assert f"  {setting.name}={setting.default}  ({setting.type})" in shown
        assert setting.meaning in words
    assert max(map(len, shown.splitlines())) <= 120


def test_the_help_is_shown_wherever_it_is_asked_for(calls: list[Call], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "event_images", "image_size=5", "-h", "--source", "x"]) == 0
    assert "records_per_shard=1000" in capsys.readouterr().out
    assert calls == []


def test_the_program_itself_ends_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    done = hepml("convert", "event_images", "--source", tmp_path / "absent", "--shards", tmp_path / "shards")
    assert done.returncode == 2
    assert done.stderr.startswith("hepml: ")
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "absent") in done.stderr
    assert not (tmp_path / "shards").exists()


def test_the_program_itself_runs_a_stage_and_prints_only_metrics(tmp_path: Path) -> None:
    settings = ["classes=higgs,qcd", "events_per_class=1", "image_size=30"]
    done = hepml("generate", "event_images", *settings, "--source", tmp_path / "source")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "source").rglob("*.png"))) == 2
    assert all("=" in line for line in done.stdout.splitlines())
