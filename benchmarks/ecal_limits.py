"""``python -m benchmarks.ecal_limits [EVENTS …]``: how well toy electrons and photons can be told apart at all.

No formula gives the best possible area under the ROC curve. Boosted trees on features made by hand give areas that it is not
below, for several numbers of training events; a curve A - b / N**c through them says where more events lead. Trees that see
what no crystal shows, the particles at the calorimeter's face, say what it is surely not above. Before that come the
statistics of the images. Without numbers: 2,000, 6,000, 20,000, 60,000 and 100,000 events, half of each class; five to ten
minutes on one core.

Suffixes: e event, f feature, y row (eta), x column (phi), c crystal (row * columns + column).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from hepml_core.ecal.config import GenerateConfig
from hepml_core.ecal.crystals import CENTRE, SIZE
from hepml_core.ecal.toys import make_events
from hepml_core.ecal.tracks import Particles, cross_tracker, start_particles

FloatArray = NDArray[np.float32]
Features = dict[str, FloatArray]

TRAINING_EVENTS = (2_000, 6_000, 20_000, 60_000, 100_000)
TEST_EVENTS = 20_000
"""Of each class."""
BLOCK = 1_000
ROWS, COLUMNS = 3, 7
"""Crystals on each side of the seed that features are made of."""
ARRIVALS = 6
"""Hardest particles of an event that the bound from above is told of."""
INPUTS = (("energy",), ("energy", "time"), ("particles",))
"""What trees see, column by column of the table."""


def main(words: list[str]) -> None:
    """Print statistics, then the areas for each number of training events, and where they lead."""
    numbers = [int(word) for word in words] or list(TRAINING_EVENTS)
    print_statistics(seed=2)
    train, test = draw(max(numbers) // 2, seed=1), draw(TEST_EVENTS, seed=2)
    print(f"{'events to train on':>20} {'energies':>10} {'and times':>10} {'particles':>10} {'seconds':>8}")
    areas = []
    for number in numbers:
        start = time.process_time()
        fewer = {name: part[:, : number // 2] for name, part in train.items()}
        areas.append([area(fewer, test, names) for names in INPUTS])
        print(f"{number:>20} {_columns(areas[-1])} {time.process_time() - start:>8.0f}", flush=True)
    if len(numbers) > 3:
        print(f"{'limit of the curve':>20} {_columns([limit(numbers, column) for column in zip(*areas, strict=True)])}")


def _columns(values: Sequence[float]) -> str:
    return " ".join(f"{value:>10.4f}" for value in values)


def area(train: Features, test: Features, names: Sequence[str]) -> float:
    """Fit trees to features (class, event, feature) and return the area under the ROC curve of other events."""
    x_train, x_test = (np.concatenate(np.concatenate([part[n] for n in names], axis=2)) for part in (train, test))
    y_train, y_test = (np.repeat([0, 1], len(x) // 2) for x in (x_train, x_test))
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=1000,
        min_samples_leaf=40,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=True,
        n_iter_no_change=25,
        validation_fraction=0.15,
        random_state=0,
    )
    trees.fit(x_train, y_train)
    return float(roc_auc_score(y_test, trees.predict_proba(x_test)[:, 1]))


def limit(numbers: Sequence[int], areas: Sequence[float]) -> float:
    """Return A of the curve A - b / N**c that is closest to the areas; c between 0.2 and 1."""
    best = (np.inf, 0.0)
    for power in np.linspace(0.2, 1.0, 81):
        design = np.stack([np.ones(len(numbers)), -(np.array(numbers, np.float64) ** -power)], 1)
        found, *_ = np.linalg.lstsq(design, np.array(areas), rcond=None)
        best = min(best, (float(((design @ found - areas) ** 2).sum()), float(found[0])))
    return best[1]


def draw(events: int, seed: int) -> Features:
    """Return features (class, event, feature) of so many events a class, by what they tell of."""
    config = GenerateConfig()
    parts: dict[str, list[list[FloatArray]]] = {"energy": [[], []], "time": [[], []], "particles": [[], []]}
    for label in (0, 1):
        for block in range(-(-events // BLOCK)):
            number, chance = min(BLOCK, events - block * BLOCK), [seed, label, block]
            image_eyxc = make_events(label, number, config, np.random.default_rng(chance)).hits.to_images()
            parts["energy"][label].append(energy_features(image_eyxc[..., 0]))
            parts["time"][label].append(time_features(image_eyxc))
            parts["particles"][label].append(particle_features(label, number, config, [*chance, 1]))
    return {name: np.stack([np.concatenate(part) for part in both]) for name, both in parts.items()}


def energy_features(energy_eyx: FloatArray) -> FloatArray:
    """Return logarithms of central energies, sums of rows and columns, moments along phi, shares of windows."""
    total_e = energy_eyx.sum((1, 2))
    inner_eyx = _window(energy_eyx, ROWS, COLUMNS)
    strip_ex = energy_eyx[:, CENTRE - 2 : CENTRE + 3].sum(1)  # five rows: less noise
    column_ex = strip_ex[:, CENTRE - COLUMNS : CENTRE + COLUMNS + 1]
    share_ex = strip_ex / strip_ex.sum(1)[:, None]
    step = np.arange(SIZE) - CENTRE
    mean_e = share_ex @ step
    away_ex = step - mean_e[:, None]
    skew_e = (away_ex**3 * share_ex).sum(1)
    # An electron's photons may lie on either side of it: the same with the longer tail always on one.
    oriented_ex = np.where(skew_e[:, None] < 0, column_ex[:, ::-1], column_ex)
    moments = [(np.abs(away_ex) ** power * share_ex).sum(1) for power in (1, 2, 3, 4)]
    windows = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 0), (1, 3), (2, 5))
    shares = [_window(energy_eyx, *window).sum((1, 2)) / total_e for window in windows]
    highest_ec = -np.sort(-inner_eyx.reshape(len(total_e), -1), axis=1)[:, :8] / total_e[:, None]
    scalars = [total_e, (energy_eyx > 0).sum((1, 2)), mean_e, skew_e, *moments, *shares]
    parts = [
        np.log(inner_eyx + 1e-3).reshape(len(total_e), -1),
        np.log(column_ex + 1e-3),
        np.log(oriented_ex + 1e-3),
        share_ex[:, CENTRE - 3 : CENTRE + 4],
        energy_eyx[:, CENTRE - 3 : CENTRE + 4].sum(2) / total_e[:, None],
        highest_ec,
        np.stack(scalars, 1),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def time_features(image_eyxc: FloatArray) -> FloatArray:
    """Return times of central hits and columns against the event's mean time, and that."""
    weight_eyx, time_eyx = image_eyxc[..., 0] ** 2, image_eyxc[..., 1]
    mean_e = (weight_eyx * time_eyx).sum((1, 2)) / weight_eyx.sum((1, 2))
    late_eyx = np.where(weight_eyx > 0, time_eyx - mean_e[:, None, None], 0)
    weight_ex = _window(weight_eyx, SIZE // 2 - 1, COLUMNS).sum(1)
    column_ex = _window(late_eyx * weight_eyx, SIZE // 2 - 1, COLUMNS).sum(1) / np.maximum(weight_ex, 1e-9)
    inner_ec = _window(late_eyx, 1, COLUMNS).reshape(len(mean_e), -1)
    return np.concatenate([inner_ec, column_ex, mean_e[:, None]], axis=1).astype(np.float32)


def _window(image_eyx: FloatArray, rows: int, columns: int) -> FloatArray:
    """Return the crystals up to so many rows and columns from the seed."""
    return image_eyx[:, CENTRE - rows : CENTRE + rows + 1, CENTRE - columns : CENTRE + columns + 1]


def particle_features(label: int, events: int, config: GenerateConfig, chance: list[int]) -> FloatArray:
    """Return what arrives at the calorimeter: shares of energy, distances in phi of the hardest, and eta."""
    rng = np.random.default_rng(chance)
    eta_e = rng.uniform(-config.eta_max, config.eta_max, events)
    charge_e = np.where(rng.random(events) < config.positron_fraction, 1, -1) * label
    start = start_particles(config.pt_gev * np.cosh(eta_e), charge_e)
    arrived = cross_tracker(start, eta_e, config.field_tesla, config.material_scale, rng)
    return np.concatenate([hardest(arrived, events), eta_e[:, None]], axis=1).astype(np.float32)


def hardest(arrived: Particles, events: int) -> NDArray[np.float64]:
    """Return energy shares of each event's hardest particles, and their distances in phi from the first; NaN for none."""
    arrived = arrived.of(np.lexsort((-arrived.energy_p, arrived.event_p)))
    first_e = np.searchsorted(arrived.event_p, np.arange(events))
    rank_p = np.arange(len(arrived)) - first_e[arrived.event_p]
    share_p = arrived.energy_p / np.bincount(arrived.event_p, arrived.energy_p, events)[arrived.event_p]
    away_p = arrived.phi_p - arrived.phi_p[first_e][arrived.event_p]
    feature_enf = np.full((events, ARRIVALS, 2), np.nan)
    kept_p = rank_p < ARRIVALS
    feature_enf[arrived.event_p[kept_p], rank_p[kept_p]] = np.stack([share_p, away_p], 1)[kept_p]
    return feature_enf.reshape(events, -1)


def print_statistics(seed: int) -> None:
    """Print what is known of the real sample, of toys: of all pixels, then of each class's mean image."""
    images = []
    sums = np.zeros((2, 2))  # quantity, power
    hits = 0
    for label in (0, 1):
        energy_c = np.zeros(SIZE**2)
        for block in range(TEST_EVENTS // BLOCK):
            found = make_events(label, BLOCK, GenerateConfig(), np.random.default_rng([seed, label, block])).hits
            energy_c += np.bincount(found.crystal_h, found.energy_h, SIZE**2)
            values = (found.energy_h.astype(np.float64), found.time_h.astype(np.float64))
            sums += [[value_h.sum(), (value_h**2).sum()] for value_h in values]
            hits += len(found.crystal_h)
        images.append(energy_c.reshape(SIZE, SIZE))
    means = sums / (2 * TEST_EVENTS * SIZE**2)
    for name, (mean, square) in zip(("energy", "time"), means, strict=True):
        print(
            f"{name}: pixel mean {mean:.6f}, std {(square - mean**2) ** 0.5:.5f}, {hits / 2 / TEST_EVENTS:.1f} hits an event"
        )
    per_event = sums[0] / (2 * TEST_EVENTS)
    print(f"energy of an event: sum {per_event[0]:.4f}, sum of squares {per_event[1]:.4f}")
    for name, image_yx in zip(("photon", "electron"), images, strict=True):
        print(f"mean {name}: {', '.join(f'{key} {value:.3f}' for key, value in image_shape(image_yx).items())}")


def image_shape(image_yx: NDArray[np.float64]) -> dict[str, float]:
    """Return shares and widths of a mean image in 256 levels up to its maximum, as the real one was published."""
    level_yx = np.minimum(np.floor(image_yx / image_yx.max() * 256), 255)
    level_yx /= level_yx.sum()
    row_y, column_x, step = level_yx.sum(1), level_yx.sum(0), np.arange(SIZE)
    rms_phi, rms_eta = (float(np.sqrt(part @ (step - part @ step) ** 2)) for part in (column_x, row_y))
    three = float(level_yx[CENTRE - 1 : CENTRE + 2, CENTRE - 1 : CENTRE + 2].sum())
    return {"seed": float(level_yx[CENTRE, CENTRE]), "3x3": three, "rms phi": rms_phi, "rms eta": rms_eta}


if __name__ == "__main__":
    main(sys.argv[1:])
