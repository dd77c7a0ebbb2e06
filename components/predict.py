"""KFP component of the predict stage."""

from typing import Any

from kfp.dsl import Artifact, Input, Metrics, Model, Output

from components._base import train_component


@train_component
def predict(
    domain: str,
    source: str,
    model: Input[Model],
    settings: dict[str, Any],
    predictions: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Apply a model to new source files.

    Args:
        domain: Name of the domain package in hepml_core.
        source: Address of the files.
        model: Folder made by train.
        settings: Overrides of the domain's PredictConfig.
        predictions: Folder of the predictions.
        metrics: Counts of events.
    """
    from hepml_core.stages import run_stage

    folders = {"source": source, "model": model.path, "predictions": predictions.path}
    for name, value in run_stage("predict", domain, settings, **folders).items():
        metrics.log_metric(name, value)
