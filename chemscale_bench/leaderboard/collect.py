"""Studies from entries and from the user's experiments, in one form that the board ranks."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import ValidationError

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.entry import RESULTS, Entry, Family, Network, Run
from chemscale_bench.leaderboard.foretold import Foretold
from chemscale_bench.leaderboard.generated import Generations, read_generations
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.leaderboard.motion import Motion
from chemscale_bench.leaderboard.names import tell_if_mixed, titled
from chemscale_bench.leaderboard.probed import Probes, read_probes
from chemscale_bench.leaderboard.simulated import read_motions
from chemscale_bench.tracking.reader import LoggedRun, read_curves, runs_of_experiment

STANDS_ELSEWHERE = ("task_name", "model", "non_embedding_params", "seed", "layers", "width", "heads", "vocabulary_size")
NOT_SETTINGS = frozenset(
    {*STANDS_ELSEWHERE, "arithmetic", "task", "experiment", "register_as", "resume", "checkpoint_minutes"}
)
"""Parameters that stand elsewhere in an entry, or say nothing about what was trained."""
FILES = ("data", "test_data")
"""Parameters that may be paths: their folders are nobody's business."""


class Measured(NamedTuple):
    """A finished run and what it reached."""

    run: LoggedRun
    by_budget: dict[int, float]
    """The metric at each budget: by tokens seen, or at the number of training frames."""

    @property
    def about(self) -> tuple[str, ...]:
        """What tells runs apart: size, seed, task, model, version of the task and, for a force field, frames."""
        names = ("non_embedding_params", "seed", "task_name", "model", "train_frames")
        return (*(self.run.params.get(name, "") for name in names), self.run.tags.get("task_digest", ""))


def measure(runs: Iterable[LoggedRun], metric: str) -> tuple[list[Measured], dict[str, int]]:
    """The runs that can be compared, and how many were left out, by reason.

    Of the runs that agree in all that `Measured.about` says (they may differ in the learning rate, say) the one with
    the lowest loss at its last budget counts, with all its budgets; the others are left out.
    """
    left_out: Counter[str] = Counter()
    fit = []
    for run in trained(runs):
        if run.status != "FINISHED":
            left_out[run.status] += 1
        elif metric not in run.metrics:
            left_out[f"without {metric}"] += 1
        elif run.params.get("init"):
            left_out["started from a checkpoint"] += 1
        elif "non_embedding_params" not in run.params:
            left_out["without non_embedding_params"] += 1
        elif not is_count(run.params["non_embedding_params"]) or not is_count(run.params.get("train_frames", "1")):
            left_out[f"whose counts are no numbers ({run.run_id})"] += 1
        else:
            fit.append(run)
    curves = read_curves([run.run_id for run in fit], [metric])
    points = {run_id: part for run_id, part in curves.groupby("run", observed=True)[["step", "value"]]}
    best: dict[tuple[str, ...], Measured] = {}
    for run in fit:
        part = points[run.run_id]
        by_step = dict(zip(part["step"].tolist(), part["value"].tolist(), strict=True))
        frames = run.params.get("train_frames")
        if min(by_step) < 1 or not all(0 < value < math.inf for value in by_step.values()):
            left_out[f"whose {metric} is not positive, or has no step ({run.run_id})"] += 1
            continue
        found = Measured(run, {int(frames): by_step[max(by_step)]} if frames else by_step)
        if found.about in best:
            left_out["repeated (a better one kept)"] += 1
        if found.about not in best or _final(found) < _final(best[found.about]):
            best[found.about] = found
    tell_if_mixed([found.run.params for found in best.values()])
    return list(best.values()), dict(left_out)


def trained(runs: Iterable[LoggedRun]) -> Iterator[LoggedRun]:
    """Without parents that only hold others together, and without fits and the like of trained runs."""
    listed = list(runs)
    parents = {run.tags.get("mlflow.parentRunId") for run in listed}
    for run in listed:
        if "non_embedding_params" in run.params or not (run.run_id in parents or "verb" in run.tags):
            yield run


def is_count(text: str) -> bool:
    """Whether a parameter of a run is a positive number."""
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _final(measured: Measured) -> float:
    """The loss at the last budget; one that is not a number is worse than any other."""
    loss = measured.by_budget[max(measured.by_budget)]
    return math.inf if math.isnan(loss) else loss


def describe_task(run: LoggedRun, family: Family) -> dict[str, Any]:
    """The task that a run was of, and the data it was on, as the run logged them."""
    name, data = run.params["task_name"], run.params.get("data", "auto")
    if data == "auto":
        data = tasks.load(name.partition("@")[0]).data
    tags = run.tags
    about = {
        "task": name, "task_digest": tags.get("task_digest", ""), "data": Path(data).name,
        "model": run.params["model"], "data_digest": tags.get("data.digest", ""),
    }  # fmt: skip
    if family == "language_model":
        vocabulary = run.params.get("vocabulary", "")
        return about | {"vocabulary": vocabulary, "split_digest": tags.get("data.validation_digest", "")}
    return about | {"molecule": run.params.get("molecule", ""), "split_digest": tags.get("data.test_digest", "")}


def record(
    kept: Measured, family: Family, curves: pd.DataFrame, checkpoint: dict[str, Any] | None, drawn: Generations,
    probed: Probes, moved: Mapping[str, Motion],
) -> Run:  # fmt: skip
    """A run as the entry tells it, from what was logged, its own curves, and what was found of its models."""
    run, params, tags, metrics = kept.run, kept.run.params, kept.run.tags, kept.run.metrics

    def number(name: str) -> float | None:
        value = metrics.get(name, math.nan)
        return value if math.isfinite(value) else None

    seconds, speed = number("cost/train_seconds"), None
    for name in ("speed/mean_tokens_per_s", "speed/mean_structures_per_s"):
        speed = number(name) or speed
    if seconds is None or speed is None:
        raise UserError(f"a run must have its cost logged, {run.run_id} has no time or speed; run it again")
    results = []
    for budget in sorted(kept.by_budget):
        points = curves if "train_frames" in params else curves[curves["step"] == budget]
        values = dict(zip(points["metric"].astype(str), points["value"].tolist(), strict=True))
        told = {name: values[name] for name in RESULTS[family] if name in values}
        model = run.run_id, budget
        besides = {"generation": drawn.get(model), "probes": probed.get(model), "motion": moved.get(run.run_id)}
        results.append({"budget": budget, "metrics": told} | besides)
    network = None
    if "layers" in params and family == "language_model":
        network = Network(**{name: int(params[name]) for name in ("layers", "width", "heads", "vocabulary_size")})
    dirty = {"true": True, "false": False}.get(tags.get("code.dirty", ""))
    return Run.model_validate(
        {
            "run": run.run_id,
            "seed": int(params.get("seed", "0")),
            "non_embedding_params": int(params["non_embedding_params"]),
            "network": network,
            "results": tuple(results),
            "units_trained": round(speed * seconds),
            "train_seconds": seconds,
            "units_per_s": speed,
            "flops_total": number("cost/flops_total"),
            "mfu": number("speed/mfu"),
            "energy_kj": number("cost/energy_kj"),
            "energy_source": tags.get("energy.source") if number("cost/energy_kj") else "unavailable",
            "device": tags.get("machine.device", "unknown"),
            "gpus": round((number("cost/gpu_seconds") or 0) / seconds),
            "cpus": int(tags.get("machine.cpus", "1")),
            "arithmetic": params.get("arithmetic", "unknown"),
            "code_commit": tags.get("code.commit", "unknown"),
            "code_dirty": dirty,
            "software": {
                key.removeprefix("version."): value for key, value in tags.items() if key.startswith("version.")
            },
            "settings": {
                key: Path(value).name if key in FILES else value
                for key, value in params.items()
                if key not in NOT_SETTINGS
            },
            "checkpoint": checkpoint,
        }
    )


# -- studies -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """One row of a board: what one submitter, experiment or paper reached on one task with one model."""

    kind: Literal["entry", "experiment", "published"]
    name: str
    """Path of the entry, name of the experiment, or the paper."""
    family: Family
    task: str
    task_digest: str
    """Empty for a paper, which stands on every board of its task."""
    model: str
    submitter: str
    date: str = ""
    link: str = ""
    note: str = ""
    level: Level = Level.REFUSED
    why_not_next: str = ""
    runs: tuple[Run, ...] = ()
    published: dict[int, dict[str, float]] = field(default_factory=dict)
    """Of a paper: metrics by budget."""
    published_exponent: tuple[float, float] | None = None
    """Of a paper: exponent along parameters, and its error."""
    generated: dict[str, float] = field(default_factory=dict)
    """Of a paper that says nothing else: how many molecules its model drew, and their metrics."""
    foretold: Foretold | None = None
    """Of an entry: what was written down of its largest runs before they began."""


class Refusal(NamedTuple):
    """An entry that takes no part, and why."""

    name: str
    reason: str


def read_entries(root: Path, up_to: Level, established: Collection[str] = ()) -> tuple[list[Study], list[Refusal]]:
    """All entries below a folder, verified; what is refused comes with its reason.

    A run belongs to the entry that had it first: an established one (path below `root`), else the one of earlier date.

    Raises:
        UserError: if there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"source must be a folder of entries, got {str(root)!r}; leave it out")
    verdicts = [(path.relative_to(root).as_posix(), judge(path, up_to)) for path in sorted(root.glob("*/*/*.json"))]
    refused = [Refusal(name, verdict.why_not_next) for name, verdict in verdicts if verdict.loaded is None]
    for path in sorted(root.rglob("*.json")):
        parts = path.relative_to(root).parts
        if len(parts) != 3 and (len(parts), path.name) != (5, "config.json"):
            refused.append(Refusal("/".join(parts), "an entry must lie at TASK/MODEL/SUBMITTER-DATE.json; move it"))
    accepted = [(name, verdict, verdict.loaded.entry) for name, verdict in verdicts if verdict.loaded is not None]
    studies: list[Study] = []
    first: dict[str, str] = {}
    for name, verdict, entry in sorted(accepted, key=lambda item: (item[0] not in established, item[2].date)):
        owner = next((first[run.run] for run in entry.runs if run.run in first), "")
        if owner:
            refused.append(Refusal(name, f"a run may stand in one entry, got one of {owner} again; remove it"))
            continue
        first |= dict.fromkeys((run.run for run in entry.runs), name)
        studies.append(study_of(entry, name, verdict.level, verdict.why_not_next))
    return studies, refused


def study_of(entry: Entry, name: str, level: Level, why_not_next: str) -> Study:
    """An entry as a row of a board."""
    return Study(
        "entry", name, entry.family, entry.task, entry.task_digest, titled(entry.model, entry.runs), entry.submitter,
        entry.date.isoformat(), entry.link or "", entry.description, level, why_not_next, entry.runs,
        foretold=entry.foretold,
    )  # fmt: skip


def read_experiment(name: str) -> tuple[list[Study], dict[str, int]]:
    """The finished runs of an experiment, a study for every task and model, and how many were left out, by reason."""
    logged = runs_of_experiment(name)
    left_out: Counter[str] = Counter()
    groups: dict[tuple[Family, str, str, str], list[Run]] = defaultdict(list)
    language, force = ({run.run_id for run in logged if names[0] in run.metrics} for names in RESULTS.values())
    drawn, probed, moved = read_generations(language), read_probes(language), read_motions(force)
    for family, metrics in RESULTS.items():
        own = [run for run in logged if metrics[0] in run.metrics]
        kept, reasons = measure(own, metrics[0])
        left_out.update(reasons)
        curves = read_curves([measured.run.run_id for measured in kept], metrics)
        for measured, (_, part) in zip(kept, curves.groupby("run", observed=True), strict=True):
            params, tags = measured.run.params, measured.run.tags
            key = (family, params.get("task_name", ""), tags.get("task_digest", ""), params.get("model", ""))
            try:
                run = record(measured, family, part, None, drawn, probed, moved)
            except (UserError, ValidationError):
                left_out["without cost or settings"] += 1
            else:
                groups[key].append(run)
    studies = [
        Study("experiment", name, family, task, digest, titled(model, runs), name, runs=tuple(runs))
        for (family, task, digest, model), runs in groups.items()
    ]
    return studies, dict(left_out)
