"""KFP component of the generate stage."""

from typing import Any

from kfp.dsl import Dataset, Output

from components._base import prepare_component


@prepare_component
def generate(
    domain: str,
    settings: dict[str, Any],
    source: Output[Dataset],
) -> str:
    """Make toy data in the format of a domain's real ones; return their address.

    Args:
        domain: Name of the domain package in hepml_core.
        settings: Overrides of the domain's GenerateConfig.
        source: Folder of the toy data.
    """
    from hepml_core.stages import run_stage

    run_stage("generate", domain, settings, source=source.path)
    return str(source.uri)
