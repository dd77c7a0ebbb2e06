"""Where a result comes from: versions, inputs, settings."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from hepml_core.config import Config, to_settings

PACKAGES = ("hepml", "numpy", "torch", "lightning-fabric", "imagecodecs", "matplotlib")


def describe_run(inputs: Mapping[str, str], **settings: Config | Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report says of its origin.

    Args:
        inputs: Digest of each folder that was read.
        settings: Settings of the stages that led here, by stage.
    """
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    groups = {
        f"settings of {stage}": dict(config) if isinstance(config, Mapping) else to_settings(config)
        for stage, config in settings.items()
    }
    return {**{f"{name} digest": digest for name, digest in inputs.items()}, "versions": versions, **groups}
