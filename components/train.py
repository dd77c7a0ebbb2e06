"""KFP component of the train stage."""

from typing import Any

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components._base import train_component


@train_component
def train(
    domain: str,
    dataset: Input[Dataset],
    statistics: Input[Artifact],
    settings: dict[str, Any],
    model: Output[Model],
    metrics: Output[Metrics],
) -> None:
    """Fit a domain's model and keep its best epoch.

    Args:
        domain: Name of the domain package in hepml_core.
        dataset: Folder with train and valid shards.
        statistics: Folder made by normalize.
        settings: Overrides of the domain's TrainConfig.
        model: Folder of weights, settings and statistics.
        metrics: Metrics of the best epoch.
    """
    from hepml_core.stages import run_stage

    folders = {"dataset": dataset.path, "statistics": statistics.path, "model": model.path}
    for name, value in run_stage("train", domain, settings, **folders).items():
        metrics.log_metric(name, value)
