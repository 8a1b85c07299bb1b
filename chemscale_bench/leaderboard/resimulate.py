"""Whether a checkpoint moves its molecule as an entry tells: simulated again from the same frames, with the same seed.

On the same arithmetic the same trajectories come out. On another device they part after a picosecond or a few, since
rounding grows in them. What differs by more than replicas with other seeds would is not of this model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.entry import Entry, Run
from chemscale_bench.leaderboard.motion import Motion

if TYPE_CHECKING:
    from chemscale_bench.data.mixtures import FrameSet

SIGMAS = 4.0
"""Of the difference of two simulations with other seeds."""
HR_SPREAD = 0.06
"""Standard deviation of h(r) MAE over simulations, times the root of the picoseconds that all replicas hold. Twice the
largest of PaiNN on ethanol, over 6 to 24 groups of 48 replicas of 1 ps: it grows with their length."""
BREAK_TOLERANCE = 0.01
"""Share by which the energy that frees a hydrogen may differ: it is computed without a random number."""

MAY_LACK = ("hr_mae", "drift_mev_per_atom_ns", "drift_error_mev_per_atom_ns")
"""Metrics that are not there where too few replicas hold."""


class MovedOtherwise(UserError):
    """A checkpoint does not move its molecule as its entry tells, or can't be simulated."""


def chosen(entry: Entry) -> Run | None:
    """The run that is simulated again: of those with a checkpoint the cheapest.

    None if the entry tells of no motion.

    Raises:
        MovedOtherwise: if it does, but of no model whose checkpoint it has.
    """
    moved = [run for run in entry.runs if run.results[-1].motion]
    fit = [run for run in moved if run.checkpoint]
    if moved and not fit:
        raise MovedOtherwise(
            f"motion must be that of a run with a checkpoint, got none of {len(moved)} runs; `simulate` the best run, "
            "or submit with checkpoint=all"
        )
    return min(fit, key=cost) if fit else None


def cost(run: Run) -> float:
    """About how long it takes to simulate a run's model."""
    made = run.results[-1].motion
    return run.non_embedding_params * made.steps if made else math.inf


def check(run: Run, folder: Path, test: FrameSet) -> None:
    """Simulate a run's model again, and compare every number.

    Args:
        run: from `chosen`.
        folder: of its checkpoint.
        test: the test frames of its task.

    Raises:
        MovedOtherwise: if they are others.
    """
    from chemscale_bench.data.structures import Frames
    from chemscale_bench.evaluation.distances import Reference
    from chemscale_bench.evaluation.simulated import metrics
    from chemscale_bench.evaluation.simulating import Subject, moved
    from chemscale_bench.settings.simulate import SimulateSettings
    from chemscale_bench.training.devices import evaluation_device

    made = run.results[-1].motion
    assert made is not None
    if not isinstance(test, Frames):
        raise MovedOtherwise(f"motion must be of one molecule, the task of run {run.run} has several; leave it out")
    about = made.model_dump(include={"replicas", "picoseconds", "timestep_fs", "seed"})
    settings = SimulateSettings.model_validate(about | {"temperature": ",".join(map(repr, made.temperatures_k))})
    reference = Reference.of(test.numbers, test.positions)
    subject = Subject(run.run, run.run, math.nan, folder, test)
    found = metrics(moved(settings, subject, reference, evaluation_device("auto")), reference)
    for name, stated in made.metrics.items():
        if name not in found and name.endswith(MAY_LACK):  # too few are intact this time
            continue
        again, most = found.get(name, math.nan), tolerance(made, name)
        if not abs(again - stated) <= most:
            raise MovedOtherwise(
                f"{name} of {made.replicas} replicas of run {run.run} must be {stated:.5g} within {most:.2g}, its "
                f"checkpoint gives {again:.5g}"
            )


def tolerance(made: Motion, name: str) -> float:
    """By how much a metric may differ: so many standard deviations of the difference of two simulations.

    That of a share is binomial. Times whose mean is a share p of the longest have p (1 - p) of its square as their
    variance at most. Neither is less than what one more replica would change by breaking at once.
    Drifts follow Student's t, and their errors F.
    """
    if name == "check/bond_break_ev":
        return BREAK_TOLERANCE * (made.bond_break_ev or 0.0)
    place, _, what = name.partition("/")
    (condition,) = (each for each in made.conditions if each.place == place)
    if what.startswith("drift"):
        from scipy import stats  # it takes long to load

        error, freedom, tail = condition.drift_error_mev_per_atom_ns or 0.0, condition.intact - 1, stats.norm.sf(SIGMAS)
        if what == "drift_mev_per_atom_ns":
            return float(math.sqrt(2) * error * stats.t.isf(tail, freedom))
        return float(error * math.sqrt(stats.f.isf(tail, freedom, freedom)))
    if what == "hr_mae":
        deviation = HR_SPREAD / math.sqrt(made.replicas * condition.stability_ps)
    else:
        end = made.picoseconds if what == "stability_ps" else 1.0
        share = made.metrics[name] / end
        deviation = end * max(math.sqrt(max(0.0, share * (1 - share)) / made.replicas), 1 / made.replicas)
    return SIGMAS * math.sqrt(2) * deviation
