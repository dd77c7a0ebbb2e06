"""The originals' ways of doing what hepml does, written as they did it; each runs in a process of its own.

``python -m benchmarks.peers NAME FOLDER …`` prints ``seconds=…`` of the work without imports, and what else it measured.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def convert(pictures: str, shard_folder: str) -> None:
    """Decode each picture, write raw pixels with TensorFlow's writer, 1000 pictures a file."""
    import numpy as np
    import tensorflow as tf
    from PIL import Image

    start = time.perf_counter()
    files = sorted(Path(pictures).glob("*/*.png"))
    labels = {name: label for label, name in enumerate(sorted({file.parent.name for file in files}))}

    def ints(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    for first in range(0, len(files), 1000):
        with tf.io.TFRecordWriter(f"{shard_folder}/{first // 1000}.tfrecords") as writer:
            for file in files[first : first + 1000]:
                pixels = np.asarray(Image.open(file).convert("RGB"))
                image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[pixels.tobytes()]))
                height, width, depth = pixels.shape
                feature = {"height": ints(height), "width": ints(width), "depth": ints(depth), "image": image}
                feature["label"] = ints(labels[file.parent.name])
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
    print(f"seconds={time.perf_counter() - start}")
    print(f"bytes={sum(file.stat().st_size for file in Path(shard_folder).iterdir())}")


def normalize(pictures: str) -> None:
    """Pass twice over a DataLoader of decoded pictures, first for the means, then for the standard deviations."""
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    files = sorted(Path(pictures).glob("*/*.png"))

    class Pictures(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> torch.Tensor:
            pixels = torch.from_numpy(np.array(Image.open(files[index]).convert("RGB")))
            return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)

    start = time.perf_counter()
    loader = DataLoader(Pictures(), batch_size=1, shuffle=True)
    mean_c = torch.zeros(3, dtype=torch.float64)
    for image in loader:
        mean_c += image.double().mean((0, 2, 3))
    mean_c /= len(files)
    square_c = torch.zeros(3, dtype=torch.float64)
    for image in loader:
        square_c += (image.double() - mean_c[None, :, None, None]).square().mean((0, 2, 3))
    std_c = (square_c / len(files)).sqrt()
    print(f"seconds={time.perf_counter() - start}")
    for channel in range(3):
        print(f"mean_{channel}={mean_c[channel]:.12f}\nstd_{channel}={std_c[channel]:.12f}")


def read(shard_folder: str) -> None:
    """Read, parse, decode and batch with tf.data, as fast as it tunes itself; the second of two passes counts."""
    import tensorflow as tf

    shards = sorted(str(path) for path in Path(shard_folder).glob("train-*.tfrecord"))
    features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}

    def decode(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_single_example(record, features)
        return tf.io.decode_png(parsed["image"], channels=3), parsed["label"]

    records = tf.data.TFRecordDataset(shards, num_parallel_reads=2).shuffle(2000)
    batches = records.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False).batch(32).prefetch(4)
    for _ in range(2):
        start, count = time.perf_counter(), 0
        for image, _ in batches:
            count += len(image)
        seconds = time.perf_counter() - start
    print(f"seconds={seconds}\nimages={count}")


def copy(shard_folder: str, target: str) -> None:
    """Copy the shards with cp."""
    import subprocess

    start = time.perf_counter()
    subprocess.run(["cp", "-r", shard_folder, target], check=True)  # noqa: S607
    print(f"seconds={time.perf_counter() - start}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
