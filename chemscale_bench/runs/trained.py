"""The trained models that people name: those of an experiment, of a study, or of one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.sources import runs_named
from chemscale_bench.models.registry import FORCE_FIELDS, LANGUAGE_MODELS
from chemscale_bench.runs.checkpoint import kept_budgets
from chemscale_bench.scaling.table import describe
from chemscale_bench.tracking.reader import LoggedRun

Kind = Literal["language model", "force field"]
KNOWN = {"language model": LANGUAGE_MODELS, "force field": FORCE_FIELDS}


class Model(NamedTuple):
    """A model of a run: its last one, or one that the run has kept of an earlier budget."""

    run: LoggedRun
    kept: int
    """Budget in tokens that its run has kept it of; 0 for the last model."""
    tokens: int
    """That it was trained on."""

    @property
    def size(self) -> str:
        """Family and parameters, for people."""
        return f"{self.run.params['model']} {int(self.run.params['non_embedding_params']):.2g}"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.size}, {self.tokens:.2g} tokens, run {self.run.run_id[:6]}"


def models_of(run: LoggedRun, every_budget: bool) -> list[Model]:
    """The last model of a run, after those of its earlier budgets if these are wanted."""
    last = int(run.params.get("budgets_tokens", "0").split()[-1])
    kept = kept_budgets(run.run_id) if every_budget else []
    return [*(Model(run, budget, budget) for budget in kept), Model(run, 0, last)]


def trained_models(name: str, kind: Kind) -> tuple[list[LoggedRun], dict[str, int]]:
    """The finished trainings of one kind in an experiment, or of a run and its children; how many others, by reason.

    Parents that only hold their children together, and runs of `generate` and the like, train nothing.

    Raises:
        UserError: if there is none.
    """
    chosen, left_out = [], Counter[str]()
    for run in runs_named(name, "run"):
        model = run.params.get("model", "")
        if model not in KNOWN[kind]:
            left_out[f"runs of no {kind}"] += 1
            for other, registry in KNOWN.items():
                if run.run_id == name and model in registry:
                    raise UserError(f"run must be of a {kind}, {name} is of the {other} {model}; give another")
        elif "non_embedding_params" not in run.params or "verb" in run.tags:
            left_out["runs that trained nothing"] += 1
        elif run.status != "FINISHED":
            left_out[f"runs {run.status}"] += 1
        else:
            chosen.append(run)
    if not chosen:
        raise UserError(
            f"run must name finished runs of {kind}s, got {name!r} with none ({describe(left_out)}); "
            "`mlflow ui` shows them"
        )
    return chosen, dict(left_out)


def check_one_task(runs: Iterable[LoggedRun], name: str) -> None:
    """Refuse runs of several tasks, whose losses can't be compared.

    Raises:
        UserError: if they are of more than one.
    """
    digests = {run.tags.get("task_digest", ""): run.params.get("task_name", "") for run in runs}
    if len(digests) > 1:
        raise UserError(
            f"run must name runs of one task, whose losses can be compared, {name!r} has those of "
            f"{', '.join(sorted(digests.values()))}; give a study, or one run"
        )
