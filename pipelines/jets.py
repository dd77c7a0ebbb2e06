"""Compress jets by autoencoders and learned densities.

``python -m pipelines run jets`` makes 60,000 toy events in the PhenoML format, fits a 4-400-400-200-3 autoencoder to their
objects and ends with a report; ``python -m pipelines run jets source=FOLDER`` does so with your own ROOT or CSV files.
Times and residuals are in hepml_core/jets/README.md.
"""

from kfp import dsl
from kfp.dsl import Artifact

from components.compress import compress
from components.convert import convert
from components.decompress import decompress
from components.evaluate import evaluate
from components.generate import generate
from components.normalize import normalize
from components.organize import organize
from components.train import train
from pipelines.accelerators import on_accelerator


@dsl.pipeline(name="jets")
def jets(
    source: str,
    variables: str = "",
    normalization: str = "custom",
    method: str = "autoencoder",
    nodes: str = "[4,400,400,200,3,200,400,400,4]",
    epochs: int = 8,
    settle_epochs: int = 4,
    learning_rate: float = 3e-3,
    cuts: str = "none",
    shards_root: str = "",
) -> Artifact:
    """Convert, organize, normalize, train and evaluate jets.

    Args:
        source: Address of a folder of ROOT or CSV files, or of one file.
        variables: Variables, or the name of a set such as atlas27; empty means the four-vectors of the files.
        normalization: standard, log, custom or quantile.
        method: autoencoder, or density.
        nodes: Widths of the autoencoder's layers; [] goes by the number of variables.
        epochs: Passes over the training rows.
        settle_epochs: Passes after those in which an autoencoder's normalizations stand still.
        learning_rate: Highest learning rate.
        cuts: Quality cuts: none, data, mc or four_vector.
        shards_root: Folder for the shards (gs://bucket/prefix), so that they do not travel through the pipeline.
    """
    domain = "jets"
    # An address stays the same when the files there change, so what convert made of them is not reused.
    wanted = {"variables": variables, "cuts": cuts, "shards_root": shards_root}
    converted = convert(domain=domain, source=source, settings=wanted).set_caching_options(enable_caching=False)
    shards = converted.outputs["shards"]
    dataset = organize(domain=domain, shards=shards, settings={"shards_root": shards_root}).outputs["dataset"]
    measured = normalize(domain=domain, dataset=dataset, settings={"method": normalization})
    fit = {
        "method": method,
        "nodes": nodes,
        "epochs": epochs,
        "settle_epochs": settle_epochs,
        "learning_rate": learning_rate,
    }
    task = train(domain=domain, dataset=dataset, statistics=measured.outputs["statistics"], settings=fit)
    model = on_accelerator(task).outputs["model"]
    judged = on_accelerator(evaluate(domain=domain, dataset=dataset, model=model, settings={}))
    return judged.outputs["report"]


@dsl.pipeline(name="jets-toy")
def jets_toy(
    events: int = 60_000,
    format: str = "phenoml_csv",  # noqa: A002 - the setting's name
    variables: str = "",
    normalization: str = "custom",
    method: str = "autoencoder",
    nodes: str = "[4,400,400,200,3,200,400,400,4]",
    epochs: int = 8,
    settle_epochs: int = 4,
    learning_rate: float = 3e-3,
    cuts: str = "none",
    shards_root: str = "",
) -> Artifact:
    """Generate toy events and do with them what ``jets`` does.

    Args:
        events: Events to make.
        format: phenoml_csv, darkmachines_csv, xaod_root or flat_root.
        variables: See jets, as for all that follow.
        normalization: Transforms of the variables.
        method: What to fit.
        nodes: Widths.
        epochs: Passes over the training rows.
        settle_epochs: Passes with normalizations that stand still.
        learning_rate: Highest learning rate.
        cuts: Quality cuts.
        shards_root: Folder for the shards.
    """
    toy = generate(domain="jets", settings={"events": events, "format": format})
    return jets(
        source=toy.outputs["Output"],
        variables=variables,
        normalization=normalization,
        method=method,
        nodes=nodes,
        epochs=epochs,
        settle_epochs=settle_epochs,
        learning_rate=learning_rate,
        cuts=cuts,
        shards_root=shards_root,
    ).output


@dsl.pipeline(name="jets-archive")
def jets_archive(source: str, model_uri: str, bounds: str = "") -> Artifact:
    """Compress ROOT files with a model at hand, and decompress them again as a check.

    Args:
        source: Address of a folder of ROOT files.
        model_uri: Address of a model folder that train made.
        bounds: Largest errors, such as pt=1e-3 relative; empty means those of the model.
    """
    model = dsl.importer(artifact_uri=model_uri, artifact_class=dsl.Model).output
    archive = compress(domain="jets", source=source, model=model, settings={"bounds": bounds}).outputs["archive"]
    return decompress(domain="jets", archive=archive, model=model, settings={}).outputs["restored"]
