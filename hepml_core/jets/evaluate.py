"""Evaluate: judge a model on the test split, which nothing before has looked at.

Suffixes: n object, r row, f variable, z latent variable.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Manifest, Output, check_files, read_manifest
from hepml_core.errors import DataError, FolderError
from hepml_core.jets.config import EvaluateConfig
from hepml_core.jets.density_fit import bits_per_variable
from hepml_core.jets.figures import LABEL, add_figures, add_latent, add_latent_scan
from hepml_core.jets.inference import Reconstruction, Reconstructor
from hepml_core.jets.residuals import Compared, Values, kind_of, unfold_events
from hepml_core.jets.rows import read_rows, read_values
from hepml_core.jets.tables import FLOAT_BYTES, add_dataset, add_objects, add_residuals, add_sizes
from hepml_core.jets.variables import variable_of
from hepml_core.metrics import Spread, measure_spread
from hepml_core.plots import plot_bits, plot_history
from hepml_core.progress import progress
from hepml_core.provenance import describe_run
from hepml_core.report import Report
from hepml_core.storage import Folder, open_folder
from hepml_core.training.history import read_history

log = logging.getLogger(__name__)


def evaluate(dataset: Folder, model: Folder, report: Folder, config: EvaluateConfig) -> Mapping[str, float]:
    """Reconstruct the test split, or ask a density for its bits; write a report page with figures and ``metrics.json``.

    Raises:
        FolderError: An input is not whole, its variables are not the model's, or ``report`` holds something else.
        DataError: There is no test split, or a value is outside its transform's domain.
    """
    manifest, judged = read_manifest(dataset, "dataset", "jets"), read_manifest(model, "model", "jets")
    others = {address: read_manifest(open_folder(address), "model", "jets") for address in config.compare}
    inputs = {"dataset": manifest.digest, "model": judged.digest}
    inputs |= {f"model {address}": other.digest for address, other in others.items()}
    output = Output(report, "report", "jets", config, inputs)
    if output.finished:
        log.info("%s is already there", report)
        return output.finished.metrics
    _check_match(dataset, manifest, {str(model): judged, **others})
    check_files(model, judged)
    sample = _read_sample(dataset, manifest, config)
    page = Report("Compression of jets", f"{', '.join(sample.columns)}: {len(sample.input_rf)} test rows")
    if judged.facts["method"] == "density":
        metrics = _judge_density(page, sample, model)
    else:
        metrics = _judge_autoencoder(page, sample, model, config)
    _add_history(page, model, judged)
    add_dataset(page, manifest)
    page.write(output.files, metrics, describe_run(inputs, evaluate=config, train=judged.settings))
    output.keep_written()
    output.publish(metrics=metrics, facts={name: judged.facts[name] for name in ("method", "variables")})
    return metrics


@dataclass(frozen=True, slots=True)
class Sample:
    """The test split.

    Attributes:
        input_rf: Its rows.
        columns: Names of their columns.
        event_r: Identity of each row's event.
        kind_r: Code of each row's kind of object; empty where rows are events.
        whole_events: Whether a row is a whole event.
    """

    input_rf: Values
    columns: Sequence[str]
    event_r: NDArray[np.uint64]
    kind_r: NDArray[np.str_]
    whole_events: bool

    def compare(self, output_rf: Values) -> Compared:
        """Return the objects of the rows, before and after."""
        if self.whole_events:
            return unfold_events(self.columns, self.input_rf, output_rf, self.event_r)
        return Compared(tuple(self.columns), self.input_rf, output_rf, self.event_r, self.kind_r)


def _check_match(dataset: Folder, manifest: Manifest, models: Mapping[str, Manifest]) -> None:
    for address, model in models.items():
        if model.facts["variables"] != manifest.facts["variables"]:
            raise FolderError(
                f"{address} knows the variables {', '.join(model.facts['variables'])}, {dataset} has "
                f"{', '.join(manifest.facts['variables'])}: evaluate on a dataset of the model's variables"
            )
        if len(models) > 1 and model.facts["method"] != "autoencoder":
            raise FolderError(f"{address} is a {model.facts['method']}, which has no latent size: compare autoencoders")
        if model.inputs["dataset"] != manifest.digest:
            log.warning(
                "%s was fitted to another dataset: some of these test events may have been in its training", address
            )


def _read_sample(dataset: Folder, manifest: Manifest, config: EvaluateConfig) -> Sample:
    if not sum(entry.records for entry in manifest.shards("test")):
        raise DataError(f"{dataset} has no test split: organize with test_fraction above 0")
    check_files(dataset, manifest)
    input_rf = read_values(dataset, manifest, "test", max_rows=config.max_rows)
    whole_events = manifest.facts["rows"] == "events"
    wanted = ["event"] if whole_events else ["event", "object"]
    read = read_rows(dataset, manifest, "test", wanted, max_rows=config.max_rows)
    kind_r = read.get("object", np.full(len(input_rf), "", np.str_))
    return Sample(input_rf, manifest.facts["variables"], read["event"], kind_r, whole_events)


def _judge_autoencoder(page: Report, sample: Sample, model: Folder, config: EvaluateConfig) -> dict[str, float]:
    """Add everything that shows how well an autoencoder reconstructs; return the metrics."""
    reconstructor = Reconstructor(model, config.device)
    found = _reconstruct(reconstructor, sample.input_rf, config.batch_size)
    compared = sample.compare(found.output_nf)
    residual_nf = compared.residuals()
    spread_f = [measure_spread(residual_n) for residual_n in residual_nf.T]
    spreads = dict(zip(compared.variables, spread_f, strict=True))
    count, latent = len(sample.input_rf), found.latent_nz.shape[1]
    metrics = {f"sigma_{name}": spread.sigma.value for name, spread in spreads.items()}
    metrics |= {f"mean_{name}": spread.mean.value for name, spread in spreads.items()}
    metrics["encode_us_per_row"] = 1e6 * found.encode_seconds / count
    metrics["decode_us_per_row"] = 1e6 * found.decode_seconds / count
    metrics["test_rows"] = count
    metrics["test_loss"] = float(found.loss_n.mean(dtype=np.float64))
    loss = reconstructor.manifest.metrics.get("valid_loss")
    if loss is not None:
        metrics["valid_loss"] = loss
    _add_numbers(page, spreads, metrics, latent, len(sample.columns))
    add_residuals(page, compared, spreads)
    add_objects(page, compared, residual_nf, found.loss_n)
    add_sizes(page, len(sample.columns), latent)
    add_figures(page, compared, residual_nf, spread_f)
    add_latent(page, found.latent_nz)
    log.info("%s", ", ".join(f"sigma({name}) {spread.sigma}" for name, spread in spreads.items()))
    if config.compare:
        own = Scanned(str(model), latent, loss, spreads)
        _add_comparison(page, [own, *(_scan(sample, address, config) for address in config.compare)])
    return metrics


def _reconstruct(reconstructor: Reconstructor, input_rf: Values, batch_size: int) -> Reconstruction:
    parts = []
    with progress("evaluate", len(input_rf), "rows") as bar:
        for start in range(0, len(input_rf), batch_size):
            parts.append(reconstructor.reconstruct(input_rf[start : start + batch_size], batch_size))
            bar.advance(len(parts[-1].output_nf))
    return Reconstruction(
        np.concatenate([part.output_nf for part in parts]),
        np.concatenate([part.latent_nz for part in parts]),
        np.concatenate([part.loss_n for part in parts]),
        sum(part.encode_seconds for part in parts),
        sum(part.decode_seconds for part in parts),
    )


def _add_numbers(
    page: Report, spreads: Mapping[str, Spread], metrics: Mapping[str, float], latent: int, columns: int
) -> None:
    relative = [name for name in spreads if kind_of(name) == "relative"]
    page.add_numbers(
        {
            **{f"sigma({name}) / {name}": spreads[name].sigma for name in relative[:3]},
            **({} if relative else {f"sigma({name})": spreads[name].sigma for name in list(spreads)[:3]}),
            "test rows": int(metrics["test_rows"]),
            "latent variables": f"{latent} of {columns}",
            "ratio of numbers (dimensions only, not bytes)": f"{columns / latent:.2f}",
            "encoding": f"{metrics['encode_us_per_row']:.3g} µs per row",
            "decoding": f"{metrics['decode_us_per_row']:.3g} µs per row",
            "mean squared error of scaled variables (test)": metrics["test_loss"],
            "mean squared error of scaled variables (valid)": metrics.get("valid_loss"),
        }
    )


@dataclass(frozen=True, slots=True)
class Scanned:
    """One of several models that are compared."""

    address: str
    latent: int
    loss: float | None
    spreads: Mapping[str, Spread]


def _scan(sample: Sample, address: str, config: EvaluateConfig) -> Scanned:
    reconstructor = Reconstructor(open_folder(address), config.device)
    found = _reconstruct(reconstructor, sample.input_rf, config.batch_size)
    compared = sample.compare(found.output_nf)
    spreads = {
        name: measure_spread(residual_n)
        for name, residual_n in zip(compared.variables, compared.residuals().T, strict=True)
    }
    return Scanned(address, found.latent_nz.shape[1], reconstructor.manifest.metrics.get("valid_loss"), spreads)


def _add_comparison(page: Report, models: Sequence[Scanned]) -> None:
    names = list(models[0].spreads)
    page.add_table(
        "models",
        ["model", "latent variables", "valid loss", *(f"sigma {name}" for name in names)],
        [[one.address, one.latent, one.loss, *(one.spreads[name].sigma for name in names)] for one in models],
        "Standard deviations of the residuals of all models, on the same test rows.",
    )
    sigmas = [{name: spread.sigma for name, spread in one.spreads.items()} for one in models]
    add_latent_scan(page, [one.latent for one in models], sigmas)


def _judge_density(page: Report, sample: Sample, model: Folder) -> dict[str, float]:
    """Add the bits that each variable takes; return the metrics."""
    bits = bits_per_variable(model, sample.input_rf, sample.event_r)
    total = sum(bits.values())
    page.add_numbers({"bits per row": total, "bytes per row": total / 8, "test rows": len(sample.input_rf)})
    page.add_figure("bits", plot_bits(bits, label=LABEL), "Mean bits that the density takes for each variable.")
    page.add_table(
        "bits_per_variable",
        ["variable", "unit", "bits", "of float32"],
        [[name, variable_of(name).unit, bit, f"{100 * bit / (8 * FLOAT_BYTES):.1f} %"] for name, bit in bits.items()],
        "Mean bits for values within their bounds, and their part of the bits of a float32.",
    )
    log.info("%.3f bits per row of %d test rows", total, len(sample.input_rf))
    return {
        "bits_per_row": total,
        **{f"bits_{name}": bit for name, bit in bits.items()},
        "test_rows": len(sample.input_rf),
    }


def _add_history(page: Report, model: Folder, judged: Manifest) -> None:
    best = int(judged.metrics["best_epoch"])
    figure = plot_history(read_history(model), best_epoch=best)
    page.add_figure("training_history", figure, f"The weights of epoch {best} are used.")
