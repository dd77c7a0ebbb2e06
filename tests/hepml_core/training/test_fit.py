"""The fit: what it promises of phases, resuming, processes and failures.

Run as a script, this file is a small fit, which the tests start by torchrun or kill.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hepml_core.errors import FolderError, SettingError, TrainingError, UnknownNameError
from hepml_core.storage import open_folder
from hepml_core.training.checkpoints import read_tensors, save_weights
from hepml_core.training.config import FitConfig
from hepml_core.training.devices import Batch, seeded
from hepml_core.training.fit import FitResult, LossOf, Phase, fit
from hepml_core.training.history import read_history

FEATURES, EVENTS, BATCH = 4, 96, 16
QUICK = FitConfig(epochs=3, batch_size=BATCH, learning_rate=0.01, device="cpu")
HEAD_FIRST = (Phase("head", 2, trainable=("head",)), Phase("whole", 2, learning_rate=1e-3))


class Points:
    """Points in two classes, shuffled by the epoch's number."""

    def __init__(
        self, seed: int, events: int = EVENTS, batch: int = BATCH, interrupt_at: tuple[int, int] | None = None
    ) -> None:
        chance = np.random.default_rng(seed)
        self._label_e = chance.integers(0, 2, events)
        self._point_ef = chance.normal(size=(events, FEATURES)) + self._label_e[:, None]
        self._batch, self._interrupt_at = batch, interrupt_at

    def steps(self, world: int) -> int:
        return len(self._label_e) // (self._batch * world)

    def epoch(self, number: int, rank: int, world: int) -> Iterator[Batch]:
        order = np.random.default_rng(number).permutation(len(self._label_e))[rank::world]
        for step in range(self.steps(world)):
            if (number, step) == self._interrupt_at:
                raise KeyboardInterrupt
            chosen = order[step * self._batch : (step + 1) * self._batch]
            yield {
                "point": torch.from_numpy(self._point_ef[chosen]).float(),
                "label": torch.from_numpy(self._label_e[chosen]),
            }


class Net(nn.Module):
    """A body with normalization and dropout, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(8, 2)

    def forward(self, point_ef: Tensor) -> Tensor:
        logit_ec: Tensor = self.head(self.body(point_ef))
        return logit_ec


def cross_entropy(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    logit_ec = model(batch["point"])
    hit_e = logit_ec.argmax(1) == batch["label"]
    return {"loss": nn.functional.cross_entropy(logit_ec, batch["label"]), "accuracy": hit_e.float().mean()}


def new_net() -> Net:
    with seeded(7):
        return Net()


def run_fit(
    folder: Path,
    config: FitConfig = QUICK,
    *,
    model: nn.Module | None = None,
    loss_of: LossOf = cross_entropy,
    phases: tuple[Phase, ...] = (),
    train: Points | None = None,
    valid: Points | None = None,
    identity: str = "one",
) -> tuple[dict[str, Tensor], FitResult]:
    """Fit and return the final weights and the result."""
    model = model or new_net()
    result = fit(
        model,
        loss_of=loss_of,
        train=train or Points(1),
        valid=valid or Points(2),
        config=config,
        folder=open_folder(folder),
        identity=identity,
        phases=phases,
    )
    return model.state_dict(), result


def assert_same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    times = ("seconds", "wall_time", "events_per_second", "data_wait")
    return [{name: value for name, value in row.items() if name not in times} for row in rows]


def test_a_fit_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    model = new_net()
    _, result = run_fit(tmp_path, replace(QUICK, epochs=8), model=model)
    losses = [row["valid_loss"] for row in result.history]
    assert result.metrics["valid_loss"] == min(losses)
    assert result.best_epoch == losses.index(min(losses)) + 1
    assert result.metrics["valid_accuracy"] > 0.8
    assert losses[-1] < losses[0]
    assert result.writes
    assert not model.training


def test_the_metrics_of_the_result_are_those_of_the_weights_left_in_the_model(tmp_path: Path) -> None:
    model = new_net()
    _, result = run_fit(tmp_path, replace(QUICK, learning_rate=0.3, epochs=6), model=model)
    with torch.no_grad():
        losses = [float(cross_entropy(model, batch)["loss"]) for batch in Points(2).epoch(0, 0, 1)]
    assert np.mean(losses) == pytest.approx(result.metrics["valid_loss"], rel=1e-6)


def test_validation_is_weighted_by_events_or_by_the_weight_that_the_loss_gives(tmp_path: Path) -> None:
    class Uneven(Points):
        def epoch(self, *_: int) -> Iterator[Batch]:
            for size in (1, 3):
                yield {"point": torch.full((size, FEATURES), float(size)), "label": torch.zeros(size, dtype=torch.long)}

    def mean_point(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": 0 * model(batch["point"]).sum(), "size": batch["point"].mean()}

    def by_square(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return mean_point(model, batch) | {"weight": batch["point"].mean() ** 2}

    _, by_events = run_fit(tmp_path / "events", loss_of=mean_point, valid=Uneven(1))
    _, by_weight = run_fit(tmp_path / "weight", loss_of=by_square, valid=Uneven(1))
    assert by_events.metrics["valid_size"] == (1 * 1 + 3 * 3) / 4
    assert by_weight.metrics["valid_size"] == (1 * 1 + 9 * 3) / 10


def test_the_same_seed_gives_the_same_weights_and_another_one_others(tmp_path: Path) -> None:
    first, _ = run_fit(tmp_path / "first")
    again, _ = run_fit(tmp_path / "again")
    other, _ = run_fit(tmp_path / "other", replace(QUICK, seed=2))
    assert_same(first, again)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_a_fit_leaves_the_global_seeds_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    random.seed(5)
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    run_fit(tmp_path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert str(np.random.get_state()) == before[2]  # noqa: NPY002


RESUMABLE = {
    "one_cycle": replace(QUICK, epochs=5, optimizer="sgd", schedule="one_cycle", clip_norm=0.5),
    "plateau": replace(
        QUICK, epochs=9, learning_rate=0.3, schedule="plateau", plateau_patience=1, plateau_factor=0.5, patience=4
    ),
    "cosine": replace(QUICK, epochs=5, optimizer="adamw", weight_decay=0.1, schedule="cosine", precision="bf16"),
    "nadam": replace(QUICK, epochs=5, optimizer="nadam"),
}


@pytest.mark.parametrize(
    ("name", "interrupt_at"),
    [("one_cycle", (0, 2)), ("one_cycle", (3, 1)), ("plateau", (4, 0)), ("cosine", (2, 5)), ("nadam", (1, 0))],
)
def test_an_interrupted_fit_ends_with_the_same_weights(
    tmp_path: Path, name: str, interrupt_at: tuple[int, int]
) -> None:
    whole, result = run_fit(tmp_path / "whole", RESUMABLE[name])
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "parts", RESUMABLE[name], train=Points(1, interrupt_at=interrupt_at))
    resumed, resumed_result = run_fit(tmp_path / "parts", RESUMABLE[name])
    assert_same(whole, resumed)
    assert without_times(resumed_result.history) == without_times(result.history)
    assert_same(*(weights_of(tmp_path / part / "checkpoints/last.safetensors") for part in ("whole", "parts")))


@pytest.mark.parametrize("interrupt_at", [(1, 1), (2, 0), (3, 2)])
def test_a_fit_interrupted_in_any_phase_ends_with_the_same_weights(
    tmp_path: Path, interrupt_at: tuple[int, int]
) -> None:
    whole, _ = run_fit(tmp_path / "whole", phases=HEAD_FIRST)
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "parts", phases=HEAD_FIRST, train=Points(1, interrupt_at=interrupt_at))
    resumed, _ = run_fit(tmp_path / "parts", phases=HEAD_FIRST)
    assert_same(whole, resumed)


def test_a_fit_killed_by_the_system_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, _ = run_fit(tmp_path / "whole", SCRIPT_CONFIG)
    with subprocess.Popen([sys.executable, __file__, str(tmp_path / "parts"), "slowly"], env=environment()) as process:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "parts").glob("checkpoints/last*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 0 < len(read_history(open_folder(tmp_path / "parts"))) < SCRIPT_CONFIG.epochs
    resumed, _ = run_fit(tmp_path / "parts", SCRIPT_CONFIG)
    assert_same(whole, resumed)


def test_a_finished_fit_returns_at_once_with_its_best_weights(tmp_path: Path) -> None:
    weights, result = run_fit(tmp_path)
    again, again_result = run_fit(tmp_path, train=Points(1, interrupt_at=(0, 0)))
    assert_same(weights, again)
    assert again_result == result


def test_checkpoints_of_other_data_or_settings_are_refused(tmp_path: Path) -> None:
    run_fit(tmp_path)
    with pytest.raises(FolderError, match=r"another fit.*delete the folder"):
        run_fit(tmp_path, identity="two")


def test_fits_of_several_identities_share_a_root_of_checkpoints(tmp_path: Path) -> None:
    config = replace(QUICK, checkpoints_root=str(tmp_path / "root"))
    first, _ = run_fit(tmp_path / "first", config, identity="one")
    run_fit(tmp_path / "second", replace(config, learning_rate=0.02), identity="two")
    moved, _ = run_fit(tmp_path / "third", config, identity="one", train=Points(1, interrupt_at=(0, 0)))
    assert_same(first, moved)
    assert not (tmp_path / "first/checkpoints").exists()


def test_a_head_first_phase_leaves_the_body_bit_for_bit(tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in new_net().state_dict().items()}
    after, _ = run_fit(tmp_path, phases=(Phase("head", 2, trainable=("head",)),))
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("body."))
    assert not torch.equal(before["head.weight"], after["head.weight"])


def test_frozen_parts_have_no_dropout(tmp_path: Path) -> None:
    seen = []

    def look(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        seen.append(
            {name: module.training for name, module in model.named_modules() if "body." in name or "head" in name}
        )
        return cross_entropy(model, batch)

    run_fit(tmp_path, loss_of=look, phases=HEAD_FIRST)
    head_first, whole = seen[0], seen[-BATCH]
    assert [name.rpartition("module.")[2] for name, training in head_first.items() if training] == ["head"]
    assert len(whole) == 5


def test_the_whole_is_trained_after_the_head(tmp_path: Path) -> None:
    before = new_net().state_dict()["body.0.weight"].clone()
    after, result = run_fit(tmp_path, phases=HEAD_FIRST)
    assert not torch.equal(before, after["body.0.weight"])
    assert [row["phase"] for row in result.history] == ["head", "head", "whole", "whole"]
    assert [row["learning_rate"] for row in result.history] == [0.01, 0.01, 1e-3, 1e-3]


def test_what_may_not_learn_by_itself_never_learns_and_flags_come_back(tmp_path: Path) -> None:
    model = new_net()
    fixed = dict(model.named_parameters())["body.0.weight"].requires_grad_(False)
    before = fixed.clone()
    run_fit(tmp_path, model=model, phases=HEAD_FIRST)
    assert torch.equal(before, fixed)
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == ["body.0.weight"]


def test_a_phase_that_names_no_part_of_the_model_is_refused_with_the_parts(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown trainable part 'heat'.*Did you mean 'head'"):
        run_fit(tmp_path, phases=(Phase("head", 1, trainable=("heat",)),))


def test_a_phase_in_which_nothing_learns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="nothing learns in phase 'drop'"):
        run_fit(tmp_path, phases=(Phase("drop", 1, trainable=("body.3",)),))


def test_phases_of_no_epochs_are_left_out_and_a_fit_of_none_is_refused(tmp_path: Path) -> None:
    _, result = run_fit(tmp_path / "some", phases=(Phase("head", 0, trainable=("head",)), Phase("whole", 1)))
    assert [row["phase"] for row in result.history] == ["whole"]
    with pytest.raises(SettingError, match="epochs"):
        run_fit(tmp_path / "none", replace(QUICK, epochs=0))


def test_early_stopping_ends_the_phase_not_the_fit(tmp_path: Path) -> None:
    def standing(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": 0 * cross_entropy(model, batch)["loss"]}

    phases = (Phase("first", 20), Phase("second", 20))
    _, result = run_fit(tmp_path, replace(QUICK, patience=3), loss_of=standing, phases=phases)
    assert [row["phase"] for row in result.history] == ["first"] * 4 + ["second"] * 4
    assert result.best_epoch == 1


def test_a_plateau_lowers_the_learning_rate(tmp_path: Path) -> None:
    def standing(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": 0 * cross_entropy(model, batch)["loss"]}

    config = replace(QUICK, epochs=6, learning_rate=1.0, schedule="plateau", plateau_patience=2, min_learning_rate=0.05)
    _, result = run_fit(tmp_path, config, loss_of=standing)
    assert [row["learning_rate"] for row in result.history] == [1.0, 1.0, 1.0, 0.1, 0.1, 0.05]


def test_the_highest_of_a_metric_can_name_the_best_epoch(tmp_path: Path) -> None:
    config = replace(QUICK, epochs=6, monitor="valid_accuracy", direction="highest")
    _, result = run_fit(tmp_path, config)
    assert result.metrics["valid_accuracy"] == max(row["valid_accuracy"] for row in result.history)


def test_a_metric_to_monitor_that_does_not_exist_is_refused_at_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'valid_accuracy'"):
        run_fit(tmp_path, replace(QUICK, monitor="valid_acuracy"), train=Points(1, interrupt_at=(0, 4)))


def breaking(epoch: int, step: int, what: str) -> LossOf:
    """Return a loss that, or whose gradient, leaves the numbers at one training step."""
    calls = 0

    def loss_of(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        nonlocal calls
        losses = cross_entropy(model, batch)
        if torch.is_grad_enabled():
            calls += 1
            if calls == (epoch - 1) * Points(1).steps(1) + step:
                zero = 0 * losses["loss"]
                losses["loss"] = losses["loss"] / zero if what == "loss" else losses["loss"] + zero.abs().sqrt()
        return losses

    return loss_of


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_fit_that_leaves_the_numbers_says_where_and_keeps_the_last_good_epoch(tmp_path: Path, what: str) -> None:
    good, _ = run_fit(tmp_path / "good", replace(QUICK, epochs=1))
    with pytest.raises(TrainingError, match=f"the {what} is not finite in epoch 2, step 3.*\n.*lower learning_rate"):
        run_fit(tmp_path / "bad", loss_of=breaking(2, 3, what))
    kept, metadata = read_tensors((tmp_path / "bad/checkpoints/last.safetensors").read_bytes(), "")
    assert '"epoch": 1' in metadata["state"]
    assert_same(good, {name.removeprefix("model/"): one for name, one in kept.items() if name.startswith("model/")})


def test_a_validation_loss_that_is_not_finite_ends_the_fit(tmp_path: Path) -> None:
    def loss_of(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        loss = cross_entropy(model, batch)["loss"]
        return {"loss": loss if torch.is_grad_enabled() else loss / 0}

    with pytest.raises(TrainingError, match="valid_loss is not finite in epoch 1"):
        run_fit(tmp_path, loss_of=loss_of)


def test_a_short_epoch_of_batches_is_told(tmp_path: Path) -> None:
    class Short(Points):
        def steps(self, world: int) -> int:
            return super().steps(world) + 1

        def epoch(self, number: int, rank: int, world: int) -> Iterator[Batch]:
            yield from list(Points(1).epoch(number, rank, world))

    with pytest.raises(TrainingError, match="6 training batches where 7"):
        run_fit(tmp_path, train=Short(1))


def test_no_validation_events_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no validation events"):
        run_fit(tmp_path, valid=Points(2, events=0))


def test_clipping_bounds_the_step(tmp_path: Path) -> None:
    config = replace(QUICK, epochs=1, optimizer="sgd", momentum=0.0, learning_rate=1.0, clip_norm=1e-3)
    before = new_net().state_dict()
    after, _ = run_fit(tmp_path, config)
    moved = sum(float(((after[n] - before[n]) ** 2).sum()) for n, _ in new_net().named_parameters()) ** 0.5
    assert 0 < moved <= 1e-3 * Points(1).steps(1) * 1.001


def test_weights_decay_and_biases_do_not(tmp_path: Path) -> None:
    def nothing(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": 0 * cross_entropy(model, batch)["loss"]}

    config = replace(QUICK, epochs=1, optimizer="adamw", weight_decay=0.1, learning_rate=0.1, monitor="train_loss")
    before = {name: one.clone() for name, one in new_net().state_dict().items()}
    after, _ = run_fit(tmp_path, config, loss_of=nothing)
    assert torch.allclose(after["head.weight"], before["head.weight"] * 0.99 ** Points(1).steps(1))
    assert torch.equal(after["head.bias"], before["head.bias"])
    assert torch.equal(after["body.1.weight"], before["body.1.weight"])


def test_bfloat16_trains_and_inputs_keep_their_precision(tmp_path: Path) -> None:
    seen = []

    class Looking(Net):
        def forward(self, point_ef: Tensor) -> Tensor:
            seen.append(point_ef.dtype)
            return super().forward(point_ef)

    _, result = run_fit(tmp_path, replace(QUICK, epochs=6, precision="bf16"), model=Looking())
    assert set(seen) == {torch.float32}
    assert result.metrics["valid_accuracy"] > 0.7


def test_a_device_that_is_not_there_is_refused_with_the_remedy(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SettingError, match="device=auto"):
        run_fit(tmp_path, replace(QUICK, device="gpu"))
    with pytest.raises(SettingError, match="bf16"):
        run_fit(tmp_path, replace(QUICK, precision="16"))


def test_a_pod_of_several_that_was_not_started_by_torchrun_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PET_NNODES", "2")
    with pytest.raises(TrainingError, match="torchrun"):
        run_fit(tmp_path)


def test_every_epoch_is_told_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hepml_core"):
        run_fit(tmp_path)
    lines = [record.message for record in caplog.records if record.message.startswith("epoch ")]
    assert len(lines) == 3
    assert all(word in lines[0] for word in ("epoch 1/3 (train)", "valid_accuracy", "events/s"))


def test_history_has_a_row_per_epoch(tmp_path: Path) -> None:
    _, result = run_fit(tmp_path, phases=HEAD_FIRST)
    rows = read_history(open_folder(tmp_path))
    assert rows == result.history
    assert {"epoch", "phase", "learning_rate", "train_loss", "valid_accuracy", "seconds", "events_per_second"} <= set(
        rows[0]
    )


def test_no_pickle_and_only_one_best_lies_in_the_folder(tmp_path: Path) -> None:
    _, result = run_fit(tmp_path, replace(QUICK, epochs=6))
    names = sorted(file.name for file in (tmp_path / "checkpoints").iterdir())
    assert names == [f"best-{result.best_epoch:04d}.safetensors", "last.safetensors"]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two fits, each by two processes."""
    folder = tmp_path_factory.mktemp("two_processes")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, __file__, str(folder), "together"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def weights_of(file: Path) -> dict[str, Tensor]:
    return read_tensors(file.read_bytes(), file.name)[0]


def test_two_processes_end_with_the_same_weights(two_processes: Path) -> None:
    first, second = (weights_of(two_processes / f"whole/rank{rank}") for rank in range(2))
    assert_same(first, second)
    assert all(torch.isfinite(tensor).all() for tensor in first.values())
    assert not torch.equal(first["body.0.weight"], new_net().state_dict()["body.0.weight"])


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(two_processes: Path, tmp_path: Path) -> None:
    """Only the head learns: what normalization and dropout do depends on a process's own events."""
    alone, _ = run_fit(tmp_path, SCRIPT_CONFIG, phases=SCRIPT_PHASES[:1], train=Points(1, batch=2 * BATCH))
    together = weights_of(two_processes / "head/rank0")
    assert all(torch.allclose(together[name].float(), alone[name].float(), atol=1e-6) for name in alone)


def test_two_processes_validate_all_events_once(two_processes: Path) -> None:
    model = new_net()
    model.load_state_dict(weights_of(two_processes / "whole/rank0"))
    model.eval()
    with torch.no_grad():
        losses = [float(cross_entropy(model, batch)["loss"]) for batch in Points(2).epoch(0, 0, 1)]
    rows = read_history(open_folder(two_processes / "whole"))
    assert min(float(row["valid_loss"]) for row in rows) == pytest.approx(np.mean(losses), rel=1e-6)


SCRIPT_CONFIG = replace(QUICK, epochs=6, optimizer="sgd", schedule="one_cycle")
SCRIPT_PHASES = (Phase("head", 2, trainable=("head",)), Phase("whole", 2))


def environment() -> dict[str, str]:
    root = Path(__file__).parents[3]
    return {
        **os.environ,
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONWARNINGS": "error",
    }


def fit_slowly(folder: Path) -> None:
    def slow(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        time.sleep(0.05)
        return cross_entropy(model, batch)

    run_fit(folder, SCRIPT_CONFIG, loss_of=slow)


def fit_together(folder: Path) -> None:
    for name, phases in (("head", SCRIPT_PHASES[:1]), ("whole", SCRIPT_PHASES)):
        model = new_net()
        run_fit(folder / name, SCRIPT_CONFIG, model=model, phases=phases)
        (folder / name / f"rank{os.environ['RANK']}").write_bytes(save_weights(model))


if __name__ == "__main__":
    {"slowly": fit_slowly, "together": fit_together}[sys.argv[2]](Path(sys.argv[1]))
