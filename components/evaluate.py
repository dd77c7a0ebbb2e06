"""KFP component of the evaluate stage."""

from typing import Any

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components._base import train_component


@train_component
def evaluate(
    domain: str,
    dataset: Input[Dataset],
    model: Input[Model],
    settings: dict[str, Any],
    report: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Judge a model on the test events.

    Args:
        domain: Name of the domain package in hepml_core.
        dataset: Folder with test shards.
        model: Folder made by train.
        settings: Overrides of the domain's EvaluateConfig.
        report: Folder of index.html, figures, metrics and predictions.
        metrics: The headline numbers.
    """
    from hepml_core.stages import run_stage

    folders = {"dataset": dataset.path, "model": model.path, "report": report.path}
    for name, value in run_stage("evaluate", domain, settings, **folders).items():
        metrics.log_metric(name, value)
