"""KFP component of the compress stage."""

from typing import Any

from kfp.dsl import Artifact, Input, Metrics, Model, Output

from components._base import train_component


@train_component
def compress(
    domain: str,
    source: str,
    model: Input[Model],
    settings: dict[str, Any],
    archive: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Store source files in few bytes, within bounds.

    Args:
        domain: Name of the domain package in hepml_core.
        source: Address of the files.
        model: Folder made by train.
        settings: Overrides of the domain's CompressConfig.
        archive: Folder of an archive for each file.
        metrics: Bytes, bytes per jet and their ratio to the values' own.
    """
    from hepml_core.stages import run_stage

    folders = {"source": source, "model": model.path, "archive": archive.path}
    for name, value in run_stage("compress", domain, settings, **folders).items():
        metrics.log_metric(name, value)
