"""ecal: training steps of the original's 3-D network, against the same network in plain Keras on TensorFlow.

Keras gets dense movies that are ready in memory; ours starts from hits, and pads them and makes the movies in every step.
``python -m benchmarks.ecal_step NAME …`` runs one side and prints ``seconds=…`` of its steps.

Suffixes: b event of a batch, k frame, y row, x column, c channel.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.ecal_movie import MIN_ENERGY, T_MAX, T_MIN, T_STEP, toy_hits
from benchmarks.measure import Numbers, run_module
from hepml_core.parallel import cores

STEPS, ROUNDS = 3, 3
THREADS = int(os.environ.get("OMP_NUM_THREADS", cores()))
"""Of both sides. While other work has a part of the cores, trust one thread: torch's wait for each other busily."""
BATCH_SIZES = (100, 32)
SIDES = {
    "Keras": ("keras",),
    "ours, fp32, contiguous": ("ours", "32", "contiguous"),
    "ours, fp32, channels last": ("ours", "32", "last"),
    "ours, bf16, channels last": ("ours", "bf16", "last"),
    "torch layer by layer, fp32, channels last": ("layers", "32", "last"),
}


def ecal_step(work: Path) -> None:  # noqa: ARG001
    """Take steps of the original's 3-D network (forward, backward, Adam): ours from hits, against Keras from dense movies."""
    for batch in BATCH_SIZES:
        rounds = [{side: _run(words, batch) for side, words in SIDES.items()} for _ in range(ROUNDS)]
        print(f"   batches of {batch}, {THREADS} threads:")
        for side in SIDES:
            wall, cpu = (
                statistics.median(1e3 * one[side][clock] / STEPS for one in rounds)
                for clock in ("seconds", "cpu_seconds")
            )
            ratios = [
                statistics.median(one["Keras"][clock] / one[side][clock] for one in rounds)
                for clock in ("seconds", "cpu_seconds")
            ]
            said = f"{wall:.0f} ms a step ({cpu:.0f} ms of CPU), {ratios[0]:.2f} times Keras (by CPU {ratios[1]:.2f})"
            share = statistics.median(one[side].get("input_share", 0.0) for one in rounds)
            print(f"   {side}: {said}" + (f", input {share:.1%}" if share else ""), flush=True)


def _run(words: tuple[str, ...], batch: int) -> Numbers:
    return run_module("benchmarks.ecal_step", words[0], str(batch), *words[1:])


def ours(batch: str, precision: str, layout: str) -> None:
    """Take steps as train does, and time what the input takes of them."""
    import torch

    from hepml_core.ecal.batches import padded_batch
    from hepml_core.ecal.event_records import Events
    from hepml_core.ecal.model import MovieView, NetworkSettings, Normalization, build_model
    from hepml_core.ecal.train import classification_loss
    from hepml_core.training.devices import put_channels_last, tuned

    torch.set_num_threads(THREADS)
    settings = NetworkSettings(
        architecture="cnn3d",
        use_time=True,
        dropout=0.2,
        min_energy=MIN_ENERGY,
        t_min=T_MIN,
        t_max=T_MAX,
        t_step=T_STEP,
        cumulative=True,
        early="first",
    )
    scales = Normalization(energy="none", energy_scale=1.0, log_energy=2e-3, time="trigger", time_scale=1.0)
    network = build_model(settings, scales, (32, 32)).train()
    if layout == "last":
        put_channels_last(network)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    hits = toy_hits(int(batch))
    label_e = np.arange(len(hits)) % 2
    events = Events(hits, label_e, label_e, label_e, np.zeros(len(hits), np.float32))
    order_b, turned_b = np.random.default_rng(0).permutation(len(hits)), np.zeros(len(hits), np.bool_)
    input_seconds = 0.0

    def step() -> None:
        nonlocal input_seconds
        start = time.perf_counter()
        given = padded_batch(events, order_b, turned_b)
        input_seconds += time.perf_counter() - start
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = classification_loss(network, given)["loss"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    assert isinstance(network.view, MovieView)
    see = network.view.forward

    def timed_view(*given: object) -> object:
        nonlocal input_seconds
        start = time.perf_counter()
        seen = see(*given)  # type: ignore[arg-type]
        input_seconds += time.perf_counter() - start
        return seen

    network.view.forward = timed_view  # type: ignore[method-assign, assignment]
    with tuned(torch.device("cpu")):
        step()
        input_seconds = 0.0
        seconds = _timed(step)
    print(f"input_share={input_seconds / seconds}")


def layers(batch: str, precision: str, layout: str) -> None:
    """Take the same steps with the block's layers one after another."""
    from hepml_core.ecal.convolution_block import ConvolutionBlock

    ConvolutionBlock.forward = ConvolutionBlock.by_layers  # type: ignore[method-assign]
    ours(batch, precision, layout)


def keras(batch: str) -> None:
    """Take steps of the network in Keras, as the original built it."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    from keras import Input, Sequential, layers, optimizers

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    block = [layers.Dropout(0.2), layers.BatchNormalization(), layers.MaxPooling3D(2)]
    network = Sequential(
        [
            Input((20, 32, 32, 1)),
            layers.Conv3D(64, 3, padding="same", activation="relu"),
            *block,
            layers.Conv3D(32, 3, padding="same", activation="relu"),
            *(layer.__class__.from_config({**layer.get_config(), "name": None}) for layer in block),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(2, activation="softmax"),
        ]
    )
    assert network.count_params() == 715_074
    network.compile(optimizer=optimizers.Adam(1e-3), loss="binary_crossentropy")
    movie_bkyxc = _dense_movies(int(batch))
    label_bc = np.eye(2, dtype=np.float32)[np.arange(int(batch)) % 2]
    network.train_on_batch(movie_bkyxc, label_bc)
    _timed(lambda: network.train_on_batch(movie_bkyxc, label_bc))


def _dense_movies(batch: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    from benchmarks.ecal_movie import original_movie

    return original_movie(toy_hits(batch).to_images())[:, :-1, ..., None].astype(np.float32)


def _timed(step: Callable[[], object]) -> float:
    start, used = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        step()
    seconds = time.perf_counter() - start
    print(f"seconds={seconds}\ncpu_seconds={time.process_time() - used}")
    return seconds


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
