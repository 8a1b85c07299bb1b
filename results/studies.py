"""The studies of the leaderboard that tell a law, and which of them are set beside one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd

from chemscale_bench.leaderboard.board import table_of
from chemscale_bench.leaderboard.collect import Study
from chemscale_bench.leaderboard.entry import RESULTS
from chemscale_bench.scaling import validate
from chemscale_bench.scaling.analysis import Analysis, analyse

HERE = Path(__file__).parent
ENTRIES = HERE.parent / "leaderboard" / "entries"
PUBLISHED = ENTRIES.parent / "published"
LEAST_SIZES = 3
SMILES, LEVEL = "@smiles", 0.9
FORCE_MAE = RESULTS["force_field"][0]
Item = TypeVar("Item")


class Scaled(NamedTuple):
    """A study and what it tells."""

    study: Study
    points: pd.DataFrame
    """One row per run and budget: params, budget, seed, loss, flops and others."""
    analysis: Analysis


def scaled(study: Study) -> Scaled:
    """Fit a study."""
    points = table_of(study, RESULTS[study.family][0])
    data = "tokens" if study.family == "language_model" else "frames"
    return Scaled(
        study, points, analyse(validate(points[["params", "budget", "seed", "loss"]].rename(columns={"budget": data})))
    )


def by_task(studies: Sequence[Study]) -> dict[str, list[Scaled]]:
    """The studies of enough sizes for a law, by task, those of most training first."""
    found = defaultdict(list)
    for study in studies:
        if len({run.non_embedding_params for run in study.runs}) >= LEAST_SIZES:
            found[study.task].append(scaled(study))
    return dict(sorted(found.items(), key=lambda item: -sum(one.points["flops"].sum() for one in item[1])))


def in_smiles(study: Study) -> bool:
    """Whether its molecules were written as SMILES."""
    return study.task.endswith(SMILES)


def named(study: Study) -> str:
    """Model and string."""
    return f"{study.model}, {'SMILES' if in_smiles(study) else 'SELFIES'}"


def largest(found: Sequence[Scaled]) -> list[Scaled]:
    """Of the studies of one model and string the one of most runs: others may have the same seeds."""
    ascending = sorted(found, key=lambda one: len(one.study.runs))
    chosen = {named(one.study): one for one in ascending}
    return [one for one in found if chosen[named(one.study)] is one]


def groups_of(items: Sequence[Item], kinds: Sequence[object]) -> Iterator[list[Item]]:
    """The items of each kind."""
    for kind in dict.fromkeys(kinds):
        yield [each for each, other in zip(items, kinds, strict=True) if other == kind]


def of_equal_steps(found: Sequence[Scaled]) -> list[Scaled]:
    """Of the studies of one molecule those with as many steps as most, one of each model, the one of most runs."""
    by_steps = groups_of(found, [steps_of(one.study) for one in found])
    chosen = [largest(group) for group in by_steps]
    return max(chosen, key=lambda group: (len(group), sum(len(one.study.runs) for one in group)))


def steps_of(study: Study) -> str:
    """Optimizer steps of each of a study's runs, or of the shortest and the longest."""
    steps = sorted({int(run.settings["gradient_steps"]) for run in study.runs})
    return " to ".join(f"{number:,}" for number in dict.fromkeys((steps[0], steps[-1])))


def wanted(params: float) -> float:
    """The size that was asked for, one digit, of one that was built and may be 5 % off."""
    return float(f"{params:.0e}")


def cells_of(name: str, points: pd.DataFrame, loss: str = "loss") -> pd.DataFrame:
    """The points of a study as `decisions` takes them, at the sizes that were asked for."""
    sizes = points["params"].map(wanted)
    return pd.DataFrame({"model": name, "params": sizes, "data": points["budget"], "loss": points[loss]})
