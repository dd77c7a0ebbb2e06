"""Tell electrons from photons by the crystals of a calorimeter.

``python -m pipelines run ecal`` makes 2 x 15,000 toy showers, fits a network to their hits and ends with a report;
``python -m pipelines run ecal source=FOLDER`` does so with your own HDF5 files. Times and areas under the curve are in
hepml_core/ecal/README.md.
"""

from kfp import dsl
from kfp.dsl import Artifact

from components.convert import convert
from components.evaluate import evaluate
from components.generate import generate
from components.normalize import normalize
from components.organize import organize
from components.train import train
from pipelines.accelerators import on_accelerator


@dsl.pipeline(name="ecal")
def ecal(
    source: str,
    stop: int = 0,
    split: str = "hash",
    architecture: str = "hit_transformer",
    use_time: bool = True,
    epochs: int = 8,
    learning_rate: float = 1e-3,
    shards_root: str = "",
) -> Artifact:
    """Convert, organize, normalize, train and evaluate calorimeter images.

    Args:
        source: Address of a folder of HDF5 files, or of one file.
        stop: Row before which to end in each file; 0 takes all.
        split: hash, or rows for the ranges of rows of the original study.
        architecture: cnn3d, cnn3d_opt, bearnet or hit_transformer.
        use_time: Whether the network sees times.
        epochs: Passes over the training events.
        learning_rate: Highest learning rate.
        shards_root: Folder for the shards (gs://bucket/prefix), so that they do not travel through the pipeline.
    """
    domain = "ecal"
    # An address stays the same when the files there change, so what convert made of them is not reused.
    wanted = {"stop": stop, "shards_root": shards_root}
    converted = convert(domain=domain, source=source, settings=wanted).set_caching_options(enable_caching=False)
    parted = {"method": split, "shards_root": shards_root}
    dataset = organize(domain=domain, shards=converted.outputs["shards"], settings=parted).outputs["dataset"]
    statistics = normalize(domain=domain, dataset=dataset, settings={}).outputs["statistics"]
    fit = {"architecture": architecture, "use_time": use_time, "epochs": epochs, "learning_rate": learning_rate}
    model = on_accelerator(train(domain=domain, dataset=dataset, statistics=statistics, settings=fit)).outputs["model"]
    judged = on_accelerator(evaluate(domain=domain, dataset=dataset, model=model, settings={}))
    return judged.outputs["report"]


@dsl.pipeline(name="ecal-toy")
def ecal_toy(
    events_per_class: int = 15_000,
    architecture: str = "hit_transformer",
    use_time: bool = True,
    epochs: int = 8,
    learning_rate: float = 1e-3,
    shards_root: str = "",
) -> Artifact:
    """Generate toy showers and do with them what ``ecal`` does.

    Args:
        events_per_class: Photons, and as many electrons.
        architecture: See ecal, as for all that follow.
        use_time: Whether the network sees times.
        epochs: Passes over the training events.
        learning_rate: Highest learning rate.
        shards_root: Folder for the shards.
    """
    toy = generate(domain="ecal", settings={"events_per_class": events_per_class})
    return ecal(
        source=toy.outputs["Output"],
        architecture=architecture,
        use_time=use_time,
        epochs=epochs,
        learning_rate=learning_rate,
        shards_root=shards_root,
    ).output
