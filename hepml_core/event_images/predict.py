"""Predict: apply a model folder to new pictures."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Output
from hepml_core.errors import DataError
from hepml_core.event_images.batches import PictureBatch
from hepml_core.event_images.config import PredictConfig
from hepml_core.event_images.evaluate import PREDICTIONS, to_csv
from hepml_core.event_images.inference import Classifier
from hepml_core.event_images.listing import BadFile, list_pictures
from hepml_core.event_images.pictures import Encoded, Picture, check_whole, decode_into, prepare, read_header
from hepml_core.parallel import cores
from hepml_core.progress import progress
from hepml_core.storage import Folder

log = logging.getLogger(__name__)


def predict(source: Folder, model: Folder, predictions: Folder, config: PredictConfig) -> Mapping[str, float]:
    """Classify every picture below ``source``, in whatever folders; write ``predictions.csv``.

    Pictures are brought to the channels and size that the model was fitted to, as convert did.

    Raises:
        FolderError: ``model`` is no whole model folder, or ``predictions`` holds something else.
        DataError: There are no pictures, or one is bad and ``on_bad_input=fail``.
    """
    classifier = Classifier(model, config.device)
    listing = list_pictures(source)
    inputs = {"model": classifier.manifest.digest, "source": listing.digest}
    output = Output(predictions, "predictions", "event_images", config, inputs)
    if output.finished:
        log.info("%s is already there", predictions)
        return output.finished.metrics
    bad = list(listing.bad)
    keys: list[str] = []
    probabilities: list[NDArray[np.float64]] = []
    with progress("predict", listing.pictures, "images") as bar:
        for batch, probability_ec in classifier.classify(_read(source, listing.files[""], classifier, config, bad)):
            keys += batch.keys
            probabilities.append(probability_ec)
            bar.advance(len(batch.keys))
    if not keys:
        raise DataError(f"none of the pictures in {source} can be used; the first: {bad[0].file}: {bad[0].reason}")
    class_names = classifier.facts["class_names"]
    output.write(PREDICTIONS, to_csv(keys, np.concatenate(probabilities), class_names))
    metrics = {"events": len(keys), "skipped": len(bad)}
    skipped = [dataclasses.asdict(one) for one in sorted(bad, key=lambda one: one.file)]
    output.publish(metrics=metrics, facts={"class_names": class_names, "skipped": skipped})
    log.info("classified %d of %d pictures", len(keys), len(keys) + len(bad))
    return metrics


def _read(
    source: Folder, names: NDArray[np.bytes_], classifier: Classifier, config: PredictConfig, bad: list[BadFile]
) -> Iterator[PictureBatch]:
    """Yield the pictures in batches; note the bad ones, or stop at the first."""
    facts = classifier.facts
    _stop_at_bad(source, bad, config)

    def load(name: str) -> Picture | BadFile:
        try:
            return _decode(source.read(name), facts, config)
        except DataError as error:
            return BadFile(name, str(error))
        except FileNotFoundError:
            return BadFile(name, "the file was removed while predict was at work")

    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(names), config.batch_size):
            chosen = [name.decode() for name in names[start : start + config.batch_size]]
            loaded = list(zip(chosen, pool.map(load, chosen), strict=True))
            bad += [found for _, found in loaded if isinstance(found, BadFile)]
            _stop_at_bad(source, bad, config)
            good = [(name, picture) for name, picture in loaded if not isinstance(picture, BadFile)]
            if good:
                yield _to_batch(good)


def _stop_at_bad(source: Folder, bad: list[BadFile], config: PredictConfig) -> None:
    if bad and config.on_bad_input == "fail":
        raise DataError(f"{source}/{bad[0].file}: {bad[0].reason} (on_bad_input=skip leaves such files out)")


def _decode(content: bytes, facts: Mapping[str, int], config: PredictConfig) -> Picture:
    """Decode a file to the model's channels and size."""
    header = read_header(content, config.max_pixels)
    check_whole(content, header)
    encoded: Encoded = prepare(content, header, facts["channels"], facts["image_size"])
    if (encoded.height, encoded.width) != (facts["height"], facts["width"]):
        wanted = f"{facts['width']}x{facts['height']}"
        raise DataError(f"the picture has {encoded.width}x{encoded.height} pixels, the model was fitted to {wanted}")
    picture_yxc = np.empty((encoded.height, encoded.width, encoded.channels), f"uint{encoded.bits}")
    decode_into(encoded.content, picture_yxc)
    return picture_yxc


def _to_batch(good: list[tuple[str, Picture]]) -> PictureBatch:
    pictures = [picture for _, picture in good]
    if len({picture.dtype for picture in pictures}) > 1:
        # Both depths fill the same full scale.
        pictures = [p if p.dtype == np.uint16 else p.astype(np.uint16) * np.uint16(257) for p in pictures]
    nothing = np.full(len(good), -1)
    return PictureBatch(np.stack(pictures), nothing, nothing, [name for name, _ in good])
