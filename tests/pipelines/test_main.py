"""What a person types after ``python -m pipelines``, and what comes back."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hepml_core.errors import SettingError, UnknownNameError
from pipelines.__main__ import VERBS, choose_pipeline, domains, main
from tests.pipelines.compiled import GOLDEN, compiled, executors_of, parameters_of, tasks_of, without_kfp_version

ON_GPU = (("HEPML_ACCELERATOR", "nvidia-gpu"), ("HEPML_IMAGES", "registry.example/hep"), ("HEPML_TAG", "v9"))
WHOLE = [(domain, f"{domain}{kind}") for domain in domains() for kind in ("", "_toy")]
"""The pipelines from source files, or from nothing, to a report."""


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command; return its status and what it wrote on standard error."""
    status = main(list(words))
    printed = capsys.readouterr()
    assert printed.out == ""
    return status, printed.err


def test_without_words_the_verbs_and_domains_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    overview = capsys.readouterr().out
    assert all(f"  {verb} " in overview for verb in VERBS)
    assert "event_images" in overview


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_shows_every_parameter_of_the_domains_pipelines(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([verb, "event_images", "--help"])
    text = capsys.readouterr().out
    assert "source=required" in text
    assert re.search(r"  learning_rate=[0-9.]+\n      Highest learning rate\.", text)
    assert re.search(r"  events_per_class=[0-9]+\n", text)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("rnu", "event_images"), "unknown verb 'rnu'. Did you mean 'run'?"),
        (("run", "event_image"), "unknown domain 'event_image'. Did you mean 'event_images'?"),
        (("run", "accelerators"), "unknown domain 'accelerators'."),
        (("run", "event_images", "epoch=3"), "'epoch' of the pipeline event-images-toy. Did you mean 'epochs'?"),
        (("run", "event_images", "source=x", "events_per_class=3"), "unknown parameter 'events_per_class'"),
        (("run", "event_images", "epochs=few"), "epochs must be a whole number, got 'few'"),
        (("run", "event_images", "epochs=1.5"), "epochs must be a whole number, got '1.5'"),
        (("run", "event_images", "epochs"), "parameters are given as name=value, got 'epochs'"),
        (("run", "event_images", "architecture=densnet121"), "Did you mean 'densenet121'?"),
        (("run", "event_images", "image_size=-3"), "image_size must be 0 or a number of pixels"),
        (("run", "event_images", "--rot", "x"), "unknown option '--rot' of python -m pipelines run. Did you mean '--root'?"),
        (("run", "event_images", "--root"), "run: argument --root: expected one argument"),
        (("run",), "run needs a domain: ecal, event_images"),
        (("submit", "event_images"), "submit: the following arguments are required: --host"),
        (("compile", "event_images", "epochs=3"), "compile: unrecognized arguments: epochs=3"),
    ],
)  # fmt: skip
def test_a_slip_is_answered_with_one_sentence_and_status_two(
    words: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, complaint = said(capsys, *words)
    assert status == 2
    assert complaint.startswith("pipelines: ")
    assert sentence in complaint
    assert complaint.count("\n") <= 2
    assert not list(tmp_path.iterdir())


def test_the_accelerator_profile_is_checked_where_a_person_sees_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "compile", "event_images"],
        cwd=Path(__file__).parents[2],
        env={"HEPML_ACCELERATOR": "nvidia", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "pipelines: unknown accelerator 'nvidia' in HEPML_ACCELERATOR. Did you mean 'nvidia-gpu'?\n"
        "  available: none, nvidia-gpu\n"
    )


def test_compile_tells_the_files_that_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a folder" / "of yaml"
    assert main(["compile", "event_images", "--out", str(out)]) == 0
    written = capsys.readouterr().out.splitlines()
    assert written == [str(out / "event_images.yaml"), str(out / "event_images_toy.yaml")]
    assert all(Path(path).is_file() for path in written)


def test_own_data_choose_the_pipeline_without_toys() -> None:
    assert choose_pipeline("event_images", ["source=x"])[0].name == "event-images"
    assert choose_pipeline("event_images", [])[0].name == "event-images-toy"


def test_parameters_get_the_types_that_the_pipeline_declares() -> None:
    _, values = choose_pipeline("event_images", ["source=a=b c", "epochs=3.0", "learning_rate=1e-4"])
    assert values == {"source": "a=b c", "epochs": 3, "learning_rate": 1e-4}
    assert isinstance(values["epochs"], int)


def test_a_word_without_a_name_is_refused() -> None:
    with pytest.raises(SettingError):
        choose_pipeline("event_images", ["anything"])
    with pytest.raises(UnknownNameError):
        choose_pipeline("event_images", ["=3"])


def test_modules_that_are_no_domain_are_not_offered() -> None:
    assert domains() == ["ecal", "event_images", "jets"]


def test_a_slip_is_answered_without_waiting_for_kubeflow() -> None:
    code = "import sys; from pipelines.__main__ import main; main(['rnu']); assert 'kfp' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, capture_output=True)


@pytest.mark.parametrize("domain", domains())
def test_the_compiled_pipelines_of_a_domain_are_the_golden_ones(domain: str) -> None:
    fresh = compiled(domain)
    assert sorted(fresh) == sorted(path.stem for path in GOLDEN.glob(f"{domain}*"))
    for name, text in fresh.items():
        golden = (GOLDEN / f"{name}.yaml").read_text()
        old, new = (without_kfp_version(one).splitlines() for one in (golden, text))
        difference = "\n".join(difflib.unified_diff(old, new, "golden", "fresh", n=1, lineterm=""))
        assert not difference, f"{name} has changed; if that is meant, run: make generate\n{difference}"


def test_compiling_again_gives_the_same_bytes() -> None:
    assert compiled("event_images", seed=3) == compiled("event_images")


@pytest.mark.parametrize(("domain", "name"), WHOLE)
def test_training_and_evaluation_get_shared_memory(domain: str, name: str) -> None:
    _, added = executors_of(compiled(domain)[name])
    assert set(added) == {"train", "evaluate"}
    for part in added.values():
        assert [(mount["mountPath"], mount["medium"]) for mount in part["emptyDirMounts"]] == [("/dev/shm", "Memory")]  # noqa: S108


@pytest.mark.parametrize(("domain", "name"), WHOLE)
def test_a_gpu_goes_to_training_and_evaluation_only(domain: str, name: str) -> None:
    containers, _ = executors_of(compiled(domain, 2, ON_GPU)[name])
    asking = {stage for stage, container in containers.items() if "accelerator" in container.get("resources", {})}
    assert asking == {"train", "evaluate"}


@pytest.mark.parametrize(("domain", "name"), WHOLE)
def test_images_come_from_the_registry_and_tag_of_the_environment(domain: str, name: str) -> None:
    containers, _ = executors_of(compiled(domain, 2, ON_GPU)[name])
    assert {part["image"] for part in containers.values()} == {
        "registry.example/hep/prepare:v9",
        "registry.example/hep/train-gpu:v9",
    }


@pytest.mark.parametrize(("domain", "name"), WHOLE)
def test_shards_are_written_where_the_parameter_says_so_that_only_manifests_travel(domain: str, name: str) -> None:
    tasks = tasks_of(compiled(domain)[name])
    for stage in ("convert", "organize"):
        parameters = tasks[stage]["inputs"]["parameters"]
        placeholder = "{{$.inputs.parameters['pipelinechannel--shards_root']}}"
        assert parameters["settings"]["runtimeValue"]["constant"]["shards_root"] == placeholder
        assert parameters["pipelinechannel--shards_root"] == {"componentInputParameter": "shards_root"}


@pytest.mark.parametrize("domain", domains())
def test_a_toy_pipeline_hands_on_its_parameters_to_the_pipeline_inside_it(domain: str) -> None:
    handed_on = tasks_of(compiled(domain)[f"{domain}_toy"])[domain.replace("_", "-")]["inputs"]["parameters"]
    source = handed_on.pop("source")
    assert source == {"taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "generate"}}
    own, toy = (parameters_of(compiled(domain)[name]) for name in (domain, f"{domain}_toy"))
    assert {name for name, given in handed_on.items() if given == {"componentInputParameter": name}} == set(own) & set(
        toy
    )


@pytest.mark.parametrize(("domain", "name"), WHOLE)
def test_source_files_are_an_address_and_never_an_artifact_that_is_copied(domain: str, name: str) -> None:
    assert "artifacts" not in tasks_of(compiled(domain)[name])["convert"]["inputs"]
