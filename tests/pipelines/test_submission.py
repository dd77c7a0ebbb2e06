"""Starting a run on a cluster: what arrives there, and what is said where it does not."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
import yaml
from kfp import compiler

from pipelines import submission
from pipelines.__main__ import main
from pipelines.event_images import event_images, event_images_toy
from tests.kfp_api import FakeApi, Refusal, fake_api


def submit_toy(api: FakeApi, *words: str) -> int:
    return main(["submit", "event_images", "--host", api.url, *words])


def test_the_posted_pipeline_is_the_compiled_one(tmp_path: Path) -> None:
    compiler.Compiler().compile(event_images, str(tmp_path / "compiled.yaml"))
    spec, platform = yaml.safe_load_all((tmp_path / "compiled.yaml").read_text())
    with fake_api() as api:
        assert submit_toy(api, "source=gs://bucket/pictures") == 0
    assert api.runs[0]["pipeline_spec"] == {"pipeline_spec": spec, "platform_spec": platform}


def test_parameters_and_the_pipeline_root_arrive_with_their_types() -> None:
    with fake_api() as api:
        words = ("source=gs://b/p", "epochs=2", "learning_rate=1e-4", "--pipeline-root", "gs://bucket/artifacts")
        assert submit_toy(api, *words) == 0
    assert api.runs[0]["runtime_config"] == {
        "pipeline_root": "gs://bucket/artifacts",
        "parameters": {"source": "gs://b/p", "epochs": 2, "learning_rate": 1e-4},
    }


def test_the_address_of_the_run_is_all_that_is_printed(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with fake_api() as api:
        submit_toy(api)
    printed = capfd.readouterr()
    assert printed.out == f"{api.url}/#/runs/details/run-1\n"
    assert printed.err == ""


def test_a_slash_at_the_end_of_the_host_does_no_harm() -> None:
    with fake_api() as api:
        address = submission.submit(event_images_toy, {}, api.url + "/", "hepml")
    assert address == f"{api.url}/#/runs/details/run-1"


def test_an_experiment_is_made_once_and_then_used_again() -> None:
    with fake_api() as api:
        for _ in range(2):
            assert submit_toy(api, "--experiment", "hunt") == 0
    assert api.experiments == ["hunt"]
    assert [run["experiment_id"] for run in api.runs] == ["id-of-hunt"] * 2


def test_a_host_that_is_not_there_is_told_in_one_sentence_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{unused.getsockname()[1]}"
        start = time.monotonic()
        assert main(["submit", "event_images", "--host", host]) == 2
    printed = capfd.readouterr()
    assert time.monotonic() - start < 10
    assert printed.err.startswith(f"pipelines: cannot reach Kubeflow Pipelines at {host}: ")
    assert "refused" in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")


def test_a_host_that_accepts_and_is_silent_is_given_up(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        assert main(["submit", "event_images", "--host", host]) == 2
    assert time.monotonic() - start < 10
    assert "timed out" in capfd.readouterr().err


@pytest.mark.parametrize("path", ["/healthz", "/experiments", "/runs"])
@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (Refusal(400, json.dumps({"error": "short", "message": "the name is taken", "code": 3})), "the name is taken"),
        (Refusal(403, json.dumps({"error": "no such right"})), "no such right"),
        (Refusal(404, "<html>not here</html>"), "404 Not Found"),
        (Refusal(503, ""), "503 Service Unavailable"),
        (Refusal(500, "[]"), "500 Internal Server Error"),
    ],
)
def test_a_refusal_is_told_in_the_servers_own_words(
    path: str, refusal: Refusal, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with fake_api() as api:
        api.refusals[path] = refusal
        start = time.monotonic()
        assert submit_toy(api) == 2
    printed = capfd.readouterr()
    assert time.monotonic() - start < 10
    assert printed.err == f"pipelines: Kubeflow Pipelines at {api.url} refuses: {reason}\n"
    assert printed.out == ""


def test_a_host_without_http_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "event_images", "--host", "localhost:8080"]) == 2
    assert "such as http://localhost:8080, got 'localhost:8080'" in capfd.readouterr().err


def test_a_setting_that_a_stage_would_refuse_never_reaches_the_cluster(capfd: pytest.CaptureFixture[str]) -> None:
    with fake_api() as api:
        assert submit_toy(api, "architecture=smal") == 2
    assert "Did you mean 'small'?" in capfd.readouterr().err
    assert api.asked == []
