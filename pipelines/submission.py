"""Start a pipeline on a Kubeflow cluster."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import kfp
from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from hepml_core.errors import SettingError, StorageError

SECONDS_TO_ANSWER = 20.0


def submit(
    pipeline: Any, values: Mapping[str, Any], host: str, experiment: str, pipeline_root: str | None = None
) -> str:
    """Start a pipeline and return the address of its page.

    Args:
        pipeline: A compiled ``dsl.pipeline``.
        values: Its parameters.
        host: Address of the Kubeflow Pipelines API.
        experiment: Name of the experiment that the run joins; made if there is none.
        pipeline_root: Where artifacts go; the cluster's own choice if None.

    Raises:
        SettingError: The host is not an http address.
        StorageError: The host does not answer or refuses.
    """
    if not host.startswith(("http://", "https://")):
        raise SettingError(f"--host is an address such as http://localhost:8080, got {host!r}")
    try:
        # The client announces its version and tells addresses in the middle of its work; ours is told at the end.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.filterwarnings("ignore", message="This client only works with", category=FutureWarning)
            run = _Client(host=host).create_run_from_pipeline_func(
                pipeline, arguments=dict(values), experiment_name=experiment, pipeline_root=pipeline_root
            )
    except ApiException as error:
        raise StorageError(f"Kubeflow Pipelines at {host} refuses: {_reason(error)}") from error
    except (HTTPError, OSError) as error:
        cause = getattr(error, "reason", None) or error
        raise StorageError(f"cannot reach Kubeflow Pipelines at {host}: {cause}") from error
    return f"{host.rstrip('/')}/#/runs/details/{run.run_id}"


class _Client(kfp.Client):  # type: ignore[misc]  # kfp has no types
    """The client of Kubeflow Pipelines, which by itself waits for minutes for a host that is not there."""

    def _load_config(self, *given: Any) -> Any:
        config = super()._load_config(*given)
        config.retries = Retry(0)
        return config

    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:  # noqa: ARG002
        patience = (SECONDS_TO_ANSWER, SECONDS_TO_ANSWER)  # to connect, to answer; one number must be whole there
        return self._healthz_api.healthz_service_get_healthz(_request_timeout=patience)


def _reason(error: ApiException) -> str:
    """Return the server's own sentence, or the status."""
    try:
        said = json.loads(error.body)
        sentence = said.get("message") or said.get("error")
    except (TypeError, ValueError, AttributeError):
        sentence = None
    return str(sentence or f"{error.status} {error.reason}")
