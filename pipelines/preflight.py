"""Look at a pipeline's settings before it starts: a stage an hour away is not the place to learn of a typing error."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict

from hepml_core.config import build_config

PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\['(?P<name>[^']+)'\]\}\}")


def check_settings(pipeline: Any, values: Mapping[str, Any]) -> None:
    """Build the config of every stage of a pipeline, as far as the parameters tell its settings.

    Raises:
        UnknownNameError: A setting or a choice does not exist; the message names the nearest one.
        SettingError: A stage's config refuses a value.
    """
    spec = pipeline.pipeline_spec
    defaults = {
        name: MessageToDict(parameter.default_value)
        for name, parameter in spec.root.input_definitions.parameters.items()
        if parameter.is_optional
    }
    _check_tasks(spec, spec.root.dag, {**defaults, **values})


def _check_tasks(spec: Any, dag: Any, parameters: Mapping[str, Any]) -> None:
    for task in dag.tasks.values():
        inputs = _known_inputs(task, parameters)
        component = spec.components[task.component_ref.name]
        if component.WhichOneof("implementation") == "dag":
            _check_tasks(spec, component.dag, inputs)
        elif "domain" in inputs and "settings" in inputs:
            executor = spec.deployment_spec["executors"][component.executor_label]
            stage = executor["container"]["args"][-1]
            config_module = importlib.import_module(f"hepml_core.{inputs['domain']}.config")
            build_config(getattr(config_module, f"{stage.capitalize()}Config"), _known_settings(inputs))


def _known_inputs(task: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a task that do not come from another task."""
    known = {}
    for name, given in task.inputs.parameters.items():
        if given.WhichOneof("kind") == "runtime_value":
            known[name] = MessageToDict(given.runtime_value.constant)
        elif given.component_input_parameter in parameters:
            known[name] = parameters[given.component_input_parameter]
    return known


def _known_settings(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Put parameters where the compiler left placeholders for them; leave out those that are not known yet."""
    known = {}
    for name, value in inputs["settings"].items():
        placeholder = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
        if not placeholder:
            known[name] = value
        elif placeholder["name"] in inputs:
            known[name] = inputs[placeholder["name"]]
    return known
