"""KFP component of the decompress stage."""

from typing import Any

from kfp.dsl import Artifact, Input, Metrics, Model, Output

from components._base import train_component


@train_component
def decompress(
    domain: str,
    archive: Input[Artifact],
    model: Input[Model],
    settings: dict[str, Any],
    restored: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Bring archives back to source files.

    Args:
        domain: Name of the domain package in hepml_core.
        archive: Folder made by compress.
        model: The model that compress used.
        settings: Overrides of the domain's DecompressConfig.
        restored: Folder of the files.
        metrics: Counts of events.
    """
    from hepml_core.stages import run_stage

    folders = {"archive": archive.path, "model": model.path, "restored": restored.path}
    for name, value in run_stage("decompress", domain, settings, **folders).items():
        metrics.log_metric(name, value)
