"""Classify pictures of events by process.

``python -m pipelines run event_images`` makes 3 x 1000 toy pictures, fits the small network and ends with a report;
``python -m pipelines run event_images source=FOLDER`` does so with your own pictures, one folder a class. Times and areas
under the curve are in hepml_core/event_images/README.md.
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


@dsl.pipeline(name="event-images")
def event_images(
    source: str,
    image_size: int = 0,
    architecture: str = "small",
    epochs: int = 8,
    learning_rate: float = 1e-2,
    shards_root: str = "",
) -> Artifact:
    """Convert, organize, normalize, train and evaluate pictures of events.

    Args:
        source: Address of a folder with one folder of pictures a class.
        image_size: Height and width in pixels to resize to; 0 keeps the pictures' own.
        architecture: small, densenet121, densenet161, densenet169 or densenet201.
        epochs: Passes over the training pictures.
        learning_rate: Highest learning rate.
        shards_root: Folder for the shards (gs://bucket/prefix), so that they do not travel through the pipeline.
    """
    domain = "event_images"
    # An address stays the same when the files there change, so what convert made of them is not reused.
    settings = {"image_size": image_size, "shards_root": shards_root}
    converted = convert(domain=domain, source=source, settings=settings).set_caching_options(enable_caching=False)
    shards = converted.outputs["shards"]
    dataset = organize(domain=domain, shards=shards, settings={"shards_root": shards_root}).outputs["dataset"]
    statistics = normalize(domain=domain, dataset=dataset, settings={}).outputs["statistics"]
    fit = {"architecture": architecture, "epochs": epochs, "learning_rate": learning_rate}
    model = on_accelerator(train(domain=domain, dataset=dataset, statistics=statistics, settings=fit)).outputs["model"]
    judged = on_accelerator(evaluate(domain=domain, dataset=dataset, model=model, settings={}))
    return judged.outputs["report"]


@dsl.pipeline(name="event-images-toy")
def event_images_toy(
    events_per_class: int = 1000,
    image_size: int = 150,
    architecture: str = "small",
    epochs: int = 8,
    learning_rate: float = 1e-2,
    shards_root: str = "",
) -> Artifact:
    """Generate toy pictures and do with them what ``event_images`` does.

    Args:
        events_per_class: Pictures of each class.
        image_size: See event_images, as for all that follow.
        architecture: Network.
        epochs: Passes over the training pictures.
        learning_rate: Highest learning rate.
        shards_root: Folder for the shards.
    """
    toy = generate(domain="event_images", settings={"events_per_class": events_per_class})
    return event_images(
        source=toy.outputs["Output"],
        image_size=image_size,
        architecture=architecture,
        epochs=epochs,
        learning_rate=learning_rate,
        shards_root=shards_root,
    ).output
