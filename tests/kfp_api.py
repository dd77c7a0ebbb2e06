"""A small fake of the Kubeflow Pipelines API: enough to start a run and to see what arrived."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

API = "/apis/v2beta1"


@dataclass(frozen=True)
class Refusal:
    """What the fake answers in place of an answer."""

    status: int
    body: str


@dataclass
class FakeApi:
    """The fake and what it was asked.

    Attributes:
        url: Its address.
        experiments: Names of the experiments that there are.
        runs: Bodies of the runs that were posted.
        asked: Method and path of every request.
        refusals: Answers by path, say ``{"/runs": Refusal(400, "no")}``.
    """

    url: str = ""
    experiments: list[str] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refusals: dict[str, Refusal] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/healthz":
            return {"multi_user": False}
        if (method, path) == ("GET", "/experiments"):
            return {"experiments": [experiment_named(name) for name in self.experiments]}
        if (method, path) == ("POST", "/experiments"):
            self.experiments.append(body["display_name"])
            return experiment_named(body["display_name"])
        assert (method, path) == ("POST", "/runs"), f"unexpected {method} {path}"
        self.runs.append(body)
        return {"run_id": f"run-{len(self.runs)}", "experiment_id": body["experiment_id"]}


def experiment_named(name: str) -> dict[str, str]:
    return {"experiment_id": f"id-of-{name}", "display_name": name}


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    """Serve the fake on a free port of this machine."""
    api = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply("GET")

        def do_POST(self) -> None:
            self._reply("POST")

        def _reply(self, method: str) -> None:
            path = self.path.partition("?")[0].removeprefix(API)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            api.asked.append(f"{method} {path}")
            refusal = api.refusals.get(path)
            text = refusal.body if refusal else json.dumps(api.answer(method, path, body))
            self.send_response(refusal.status if refusal else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
