"""Run a pipeline on this machine: the cluster's components, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from kfp import local

from hepml_core.progress import INTERVAL_VARIABLE
from pipelines.live import LiveView

PROGRESS_SECONDS = "0.2"


def run_here(pipeline: Any, values: Mapping[str, Any], root: Path) -> int:
    """Run a pipeline with Kubeflow's local runner and show how it goes; print the report's address.

    Args:
        pipeline: A compiled ``dsl.pipeline``.
        values: Its parameters.
        root: Folder for the results and the log.

    Returns:
        0, or 1 where a stage failed.
    """
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    log_path = root / "last.log"
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=False)
    spec = pipeline.pipeline_spec
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(log_path.open("w"))
        view = stack.enter_context(LiveView(tasks_of(spec, spec.root), log, sys.stderr))
        stack.enter_context(contextlib.redirect_stdout(view))
        stack.enter_context(_child_environment())
        stack.enter_context(warnings.catch_warnings())
        # The runner guesses from an image's name whether it can run without the image; ours can.
        warnings.filterwarnings("ignore", message="You may be attemping", category=RuntimeWarning)
        outputs = pipeline(**values).outputs
    failed = [row for row in view.rows.values() if row.state == "failed"]
    for row in failed:
        print(f"\n{row.task} failed: " + "\n  ".join(row.error), file=sys.stderr)
    print(f"\nlog: {log_path}", file=sys.stderr)
    if failed or not outputs:
        return 1
    (result,) = outputs.values()
    page = Path(result.path) / "index.html"
    print(f"report: {page}" if page.is_file() else f"result: {result.path}")
    return 0


def tasks_of(spec: Any, component: Any) -> list[str]:
    """List the tasks of a pipeline in an order in which they can run; those of nested pipelines in place."""
    tasks = component.dag.tasks
    order = TopologicalSorter({name: sorted(task.dependent_tasks) for name, task in tasks.items()}).static_order()
    names: list[str] = []
    for name in order:
        inner = spec.components[tasks[name].component_ref.name]
        names += tasks_of(spec, inner) if inner.WhichOneof("implementation") == "dag" else [name]
    return names


@contextlib.contextmanager
def _child_environment() -> Iterator[None]:
    """Have the stages speak often, for the live view."""
    before = os.environ.get(INTERVAL_VARIABLE)
    os.environ[INTERVAL_VARIABLE] = before or PROGRESS_SECONDS
    try:
        yield
    finally:
        if before is None:
            del os.environ[INTERVAL_VARIABLE]
