"""Normalize: mean and standard deviation of each colour channel over the training pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import reduce

import numpy as np

from hepml_core.artifacts import Output, check_files, read_manifest
from hepml_core.event_images.batches import PictureBatch, PictureSet
from hepml_core.event_images.config import NormalizeConfig
from hepml_core.moments import Moments
from hepml_core.progress import progress
from hepml_core.storage import Folder

log = logging.getLogger(__name__)

STATISTICS = "statistics.json"
BATCH_SIZE = 16
GROUP_RECORDS = 256


def normalize(dataset: Folder, statistics: Folder, config: NormalizeConfig) -> Mapping[str, float]:
    """Measure the mean and standard deviation of each channel, as fractions of full scale, in one pass on all cores.

    Every pixel counts the same. The sums of a batch are exact.

    Raises:
        FolderError: ``dataset`` is no whole dataset folder, or ``statistics`` holds something else.
        DataError: A picture is damaged.
    """
    manifest = read_manifest(dataset, "dataset", "event_images")
    output = Output(statistics, "statistics", "event_images", config, {"dataset": manifest.digest})
    if output.finished:
        log.info("%s is already there", statistics)
        return output.finished.metrics
    check_files(dataset, manifest)
    pictures = PictureSet(dataset, manifest, "train")
    record_n = np.arange(len(pictures))
    if 0 < config.max_samples < len(record_n):
        record_n = np.sort(np.argsort(pictures.records.index_n["key"], kind="stable")[: config.max_samples])
    groups = (record_n[start : start + GROUP_RECORDS] for start in range(0, len(record_n), GROUP_RECORDS))
    parts = []
    with progress("normalize", len(record_n), "images") as bar:
        for part in pictures.map(pixel_moments, groups, BATCH_SIZE):
            parts.append(part)
            bar.advance(BATCH_SIZE)
    moments = reduce(Moments.merge, parts)
    mean, std = moments.mean_c.tolist(), moments.std_c.tolist()
    if not all(std):
        log.warning("a colour channel is the same in every pixel (standard deviations %s): it is left unscaled", std)
    content = {"mean": mean, "std": std, "pixels": moments.count, "events": len(record_n)}
    output.write(STATISTICS, (json.dumps(content, indent=1) + "\n").encode())
    log.info("means %s, standard deviations %s of %d pictures", _short(mean), _short(std), len(record_n))
    metrics = {"events": len(record_n)}
    metrics |= {f"mean_{channel}": value for channel, value in enumerate(mean)}
    metrics |= {f"std_{channel}": value for channel, value in enumerate(std)}
    output.publish(metrics=metrics)
    return metrics


def pixel_moments(batch: PictureBatch) -> Moments:
    """Return the moments of all pixels of a batch, by channel, as fractions of full scale."""
    height, width, channels = batch.image_byxc.shape[1:]
    full = np.iinfo(batch.image_byxc.dtype).max
    sum_c, square_c = np.zeros(channels, np.uint64), np.zeros(channels, np.uint64)
    # Half the bytes where they cannot overflow: 255**2 * 2**16 is below 2**32.
    small = full == 255 and height < 2**16
    wide, square = (np.uint32, np.uint16) if small else (np.uint64, np.uint64)
    # One picture at a time stays in the cache; its rows are summed first, so that long rows run over neighbours.
    for image_yxc in batch.image_byxc:
        row_yk = image_yxc.reshape(height, width * channels)
        sum_c += row_yk.sum(0, dtype=wide).reshape(width, channels).sum(0, dtype=np.uint64)
        square_yk = np.multiply(row_yk, row_yk, dtype=square)
        square_c += square_yk.sum(0, dtype=wide).reshape(width, channels).sum(0, dtype=np.uint64)
    count = len(batch.image_byxc) * height * width
    return Moments.from_sums(count, sum_c.tolist(), square_c.tolist()).scaled(1 / full)


def _short(values: list[float]) -> str:
    return "[" + ", ".join(f"{value:.6f}" for value in values) + "]"
