"""KFP component of the convert stage."""

from typing import Any

from kfp.dsl import Dataset, Metrics, Output

from components._base import prepare_component


@prepare_component
def convert(
    domain: str,
    source: str,
    settings: dict[str, Any],
    shards: Output[Dataset],
    metrics: Output[Metrics],
) -> None:
    """Turn source files into shards of events.

    Args:
        domain: Name of the domain package in hepml_core.
        source: Address of the files; not an artifact, for the launcher would copy all of them into the pod.
        settings: Overrides of the domain's ConvertConfig.
        shards: Folder of the shards' manifest, and of the shards unless the settings name a shards_root.
        metrics: Counts of events.
    """
    from hepml_core.stages import run_stage

    for name, value in run_stage("convert", domain, settings, source=source, shards=shards.path).items():
        metrics.log_metric(name, value)
