"""What the features of trained models are worth, beside the same networks untrained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from chemscale_bench.data import listing, properties
from chemscale_bench.data.listing import Labelled
from chemscale_bench.data.opening import user_path
from chemscale_bench.data.packing import UNKNOWN_SYMBOL
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import probe_report, probes
from chemscale_bench.evaluation.featurizer import Featurizer
from chemscale_bench.places import PROJECT
from chemscale_bench.progress import progress_bar
from chemscale_bench.runs.checkpoint import losses_at
from chemscale_bench.runs.result import Result, Told
from chemscale_bench.runs.trained import Model, check_one_task, models_of, trained_models
from chemscale_bench.scaling.table import describe
from chemscale_bench.settings.probe import ProbeSettings
from chemscale_bench.tracking.adoption import launched_run
from chemscale_bench.tracking.charts import LOSS
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tracking.recorder import Recorder
from chemscale_bench.training.devices import evaluation_device

NAN = float("nan")
BEGINNING = ("model", "layers", "width", "heads", "seed", "parametrization", "init")
"""Parameters that decide, with the vocabulary, on the weights that a run began with."""


class Subject(NamedTuple):
    """A trained model to probe, or the same network untrained."""

    about: dict[str, Any]
    """The first columns of its row."""
    vectors: np.ndarray
    """(M, C), rows of NaN for molecules without features."""
    unknown: float
    """Share of the molecules with a symbol that the model never saw."""


class Property(NamedTuple):
    """A property, and all that is measured on, found fit for it."""

    name: str
    title: str
    smiles: list[str]
    values: np.ndarray
    splits: list[probes.Split]
    subjects: list[Subject]
    left_out: dict[str, int]


def probe(settings: ProbeSettings, prints: bool = True) -> Result:
    """Print a table of all features for each property, and over four runs and more how it follows the loss; log them.

    Raises:
        UserError: if there are no such runs or column, or the molecules are not fit for these splits.
    """
    # The run of `mlflow run` is there already and shares the fate of the probe; another is made for what can work.
    ready = None if launched_run() else prepare(settings)
    with housekeeping_run("probe") as run_id:
        recorder = Recorder(run_id)
        recorder.params(settings.model_dump())
        found, follow, numbers, told = [], [], dict[str, float](), Told(prints)
        for each in ready or prepare(settings):
            one = probe_report.Probed(each.name, each.title, probes.kind_of(each.values), measure(each))
            report = f"{each.title}\n{probe_report.text(one.table, one.kind)}"
            if each.left_out:
                report += f"\nof the rows and runs: {describe(each.left_out)}"
            follows = probe_report.correlations(one.table)
            if len(follows):
                report += f"\n\n{probe_report.correlations_text(follows, one.kind)}"
            best = one.table[one.table["kind"] == "trained"]["linear"]
            prefix = f"probe/{each.name}" if settings.tasks else "probe"
            measured = {
                f"{prefix}/molecules": float(len(each.values)),
                f"{prefix}/best_linear": float(best.min() if one.kind == "regression" else best.max()),
            }
            recorder.metrics(measured, 0)
            numbers |= measured
            told(f"{report}\n")
            found.append(one)
            follow.append(follows)
        told(f"{published()}\n")
        tables = {"probes": together(found, [one.table for one in found]), "correlations": together(found, follow)}
        for name, table in tables.items():
            if len(table):
                recorder.client.log_text(run_id, table.to_csv(index=False), f"{name}.csv")
        recorder.client.log_text(run_id, "\n".join(told.parts).rstrip(), "report.txt")
        figure = probe_report.figure(found)
        recorder.figure(figure, "figures/probes.html")
        recorder.deliver()
        told(f"logged to MLflow run {run_id}: probes.csv, figures/probes.html")
    return Result(tables["probes"], told, numbers, {"probes": figure}, run_id)


def together(found: Sequence[probe_report.Probed], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The tables of all properties below one another, those without rows left out."""
    parts = [table.assign(property=one.name) for one, table in zip(found, tables, strict=True) if len(table)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def prepare(settings: ProbeSettings) -> list[Property]:
    """Every property's molecules that all models can read, their values and splits, and all models' features of them.

    Raises:
        UserError: as `probe` does.
    """
    if settings.tasks:
        if settings.data or settings.target or settings.column:
            raise UserError(f"give tasks, or data and target, got tasks={settings.tasks} and the others; leave one out")
        names = [name.strip() for name in settings.tasks.split(",")]
        tables = {name: properties.read(name) for name in names}
        titles = {name: f"{name}, {properties.SETS[name].target}" for name in names}
    else:
        if not settings.target:
            raise UserError("target must be a column of data, got nothing; give target=NAME, or tasks=esol,freesolv")
        tables = {settings.target: listing.labelled(listing.find(settings.data), settings.target, settings.column)}
        titles = {settings.target: f"{settings.target} of {Path(settings.data).name}"}
    models, left_out = chosen_models(settings)
    return [_fitting(name, titles[name], table, settings, models, left_out) for name, table in tables.items()]


def _fitting(
    name: str,
    title: str,
    labelled: Labelled,
    settings: ProbeSettings,
    models: list[Model | None],
    left_out: dict[str, int],
) -> Property:
    subjects, refused = embedded(settings, models, labelled)
    kept = np.all([np.isfinite(subject.vectors).all(1) for subject in subjects], axis=0)
    left_out = left_out | {f"molecules {reason}": count for reason, count in refused.items()}
    if labelled.without_value:
        left_out["rows without a value"] = labelled.without_value
    smiles = [text for text, good in zip(labelled.smiles, kept, strict=True) if good]
    values = labelled.values[kept]
    try:
        made = probes.splits(probes.scaffolds(smiles), values, settings.splits)
    except UserError as error:
        raise UserError(f"{error} ({describe(left_out)})" if left_out else str(error)) from None
    fitting = [subject._replace(vectors=subject.vectors[kept]) for subject in subjects]
    return Property(name, f"{title}, {len(values):,} molecules", smiles, values, made, fitting, left_out)


def chosen_models(settings: ProbeSettings) -> tuple[list[Model | None], dict[str, int]]:
    """What to probe: finished language models of an experiment, a run or a study, None for a folder; what was left out.

    Raises:
        UserError: if there is none.
    """
    if user_path(settings.run).is_dir():
        if settings.budget == "all":
            raise UserError(f"budget=all needs runs, got the folder {settings.run}; leave budget out")
        return [None], {}
    runs, left_out = trained_models(settings.run, "language model")
    check_one_task(runs, settings.run)
    return [model for run in runs for model in models_of(run, settings.budget == "all")], left_out


def embedded(
    settings: ProbeSettings, models: list[Model | None], labelled: Labelled
) -> tuple[list[Subject], Counter[str]]:
    """Features of every run's network, each before the same network untrained, and the molecules that some lack.

    Runs of one network that began with the same weights share its untrained twin.
    """
    subjects: list[Subject] = []
    reasons: dict[int, str] = {}
    twins: dict[tuple[str, ...], str] = {}
    device = str(evaluation_device(settings.device))
    for model in progress_bar(models, desc="embedding", unit="model"):
        source = model.run.run_id if model else str(user_path(settings.run))
        params = model.run.params if model else {}
        twin = tuple(params.get(key, "") for key in BEGINNING)
        if model:
            twin += (model.run.tags.get("vocabulary.fingerprint", ""),)
        for untrained in (False, True) if twin not in twins else (False,):
            twins.setdefault(twin, source)
            kept = model.kept if model and not untrained else 0
            featurizer = Featurizer(source, settings.pooling, settings.layer, untrained, device, kept).fit()
            features = featurizer.featurize(labelled.smiles)
            reasons |= {place: reason for place, reason in enumerate(features.reasons) if reason}
            unknown = sum(reason == UNKNOWN_SYMBOL for reason in features.reasons) / max(1, len(features.reasons))
            network = featurizer.checkpoint_.network
            about = {
                "features": name_of(source, model, untrained),
                "kind": "untrained" if untrained else "trained", "run_id": model.run.run_id if model else "",
                "began_as": twins[twin] if model else "", "model": params.get("model", ""),
                "non_embedding_params": network.config.non_embedding_params, "tokens": model.tokens if model else 0,
                "loss_nats_per_token": loss_of(model) if model and not untrained else NAN,
            }  # fmt: skip
            subjects.append(Subject(about, features.vectors, unknown))
    return subjects, Counter(reasons.values())


def loss_of(model: Model) -> float:
    """The validation loss of a model, NaN where its run has none."""
    losses = losses_at(model.run.run_id, model.kept) if model.kept else model.run.metrics
    return losses.get(LOSS, NAN)


def name_of(source: str, model: Model | None, untrained: bool) -> str:
    """What a row is called."""
    name = model.size if model else Path(source).name
    if model and not untrained:
        name += f", {model.tokens:.2g} tokens"
    return f"{name}, untrained" if untrained else name


def published() -> str:
    """The published roughness of others' features, which is that of other properties."""
    table = json.loads((PROJECT / "leaderboard" / "published" / "rogi-xd.json").read_text())
    rows = ", ".join(f"{name} {value:.3f}" for name, value in table["rows"])
    return f"published ROGI-XD ({table['source']}, {table['note']}; other properties than here): {rows}"


def measure(found: Property) -> pd.DataFrame:
    """One row for each kind of features: networks, then fingerprints and descriptors."""
    rows = []
    work: list[Subject | str] = [*found.subjects, *probes.BASELINES]
    for each in progress_bar(work, desc="probing", unit="features"):
        if isinstance(each, str):
            vectors, unknown = probes.BASELINES[each](found.smiles), NAN
            about: dict[str, Any] = {"features": each, "kind": "baseline", "loss_nats_per_token": NAN}
        else:
            about, vectors, unknown = each
        about = about | {"molecules": len(vectors), "width": vectors.shape[1], "unknown_symbol_share": unknown}
        rows.append(probe_report.row(about, probes.worth(vectors, found.values, found.splits)))
    return pd.DataFrame(rows)
