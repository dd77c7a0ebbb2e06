"""KFP component of the normalize stage."""

from typing import Any

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components._base import prepare_component


@prepare_component
def normalize(
    domain: str,
    dataset: Input[Dataset],
    settings: dict[str, Any],
    statistics: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Measure the statistics of the training events.

    Args:
        domain: Name of the domain package in hepml_core.
        dataset: Folder made by organize.
        settings: Overrides of the domain's NormalizeConfig.
        statistics: Folder of the statistics.
        metrics: The main ones of them.
    """
    from hepml_core.stages import run_stage

    folders = {"dataset": dataset.path, "statistics": statistics.path}
    for name, value in run_stage("normalize", domain, settings, **folders).items():
        metrics.log_metric(name, value)
