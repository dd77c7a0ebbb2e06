"""KFP component of the organize stage."""

from typing import Any

from kfp.dsl import Dataset, Input, Metrics, Output

from components._base import prepare_component


@prepare_component
def organize(
    domain: str,
    shards: Input[Dataset],
    settings: dict[str, Any],
    dataset: Output[Dataset],
    metrics: Output[Metrics],
) -> None:
    """Split events into train, valid and test.

    Args:
        domain: Name of the domain package in hepml_core.
        shards: Folder made by convert.
        settings: Overrides of the domain's OrganizeConfig.
        dataset: Folder of the splits' manifest, and of their shards unless the settings name a shards_root.
        metrics: Counts of events.
    """
    from hepml_core.stages import run_stage

    for name, value in run_stage("organize", domain, settings, shards=shards.path, dataset=dataset.path).items():
        metrics.log_metric(name, value)
