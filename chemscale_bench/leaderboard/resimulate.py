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
from chemscale_bench.leaderboard.motion import Condition, Motion

if TYPE_CHECKING:
    from chemscale_bench.data.mixtures import FrameSet

SIGMAS = 4.0
"""Of the difference of two simulations with other seeds."""
HR_SPREAD = 0.06
"""Standard deviation of h(r) MAE over simulations, times the root of the picoseconds that all replicas hold. Twice the
largest of PaiNN on ethanol, over 6 to 24 groups of 48 replicas of 1 ps: it grows with their length."""
BREAK_TOLERANCE = 0.01
"""Share by which the energy that frees a hydrogen may differ: it is computed without a random number."""

FEWEST = 6
"""Replicas: of fewer, the tolerance is all of the time and all of the replicas, whatever the checkpoint does."""
FEWEST_INTACT = 4
"""Whose drift tells something: of three the tolerance of its error is a factor of 38, of two one of 20,000."""
MAY_LACK = ("hr_mae", "drift_mev_per_atom_ns", "drift_error_mev_per_atom_ns")
"""Metrics that are not there where too few replicas hold: this time, if no more than half of them held before."""


class MovedOtherwise(UserError):
    """A checkpoint does not move its molecule as its entry tells, or can't be simulated."""


def chosen(entry: Entry) -> Run | None:
    """The run that is simulated again: of those with a checkpoint the cheapest.

    None if the entry tells of no motion.

    Raises:
        MovedOtherwise: if it does, but of no model whose checkpoint it has, or by too few replicas.
    """
    moved = [run for run in entry.runs if run.results[-1].motion]
    fit = [run for run in moved if run.checkpoint]
    if moved and not fit:
        raise MovedOtherwise(
            f"motion must be that of a run with a checkpoint, got none of {len(moved)} runs; `simulate` the best run, "
            "or submit with checkpoint=all"
        )
    run = min(fit, key=cost, default=None)
    if run and (made := run.results[-1].motion) and made.replicas < FEWEST:
        raise MovedOtherwise(
            f"motion must be of {FEWEST} replicas or more, fewer contradict nothing, got {made.replicas} of run "
            f"{run.run}; `simulate` it with more"
        )
    return run


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
    from chemscale_bench.evaluation.distances import ReferenceFrames
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
    reference = ReferenceFrames.of(test.numbers, test.positions)
    subject = Subject(run.run, run.run, math.nan, folder, test)
    compare(run.run, made, metrics(moved(settings, subject, reference, evaluation_device("auto")), reference))


def compare(run: str, made: Motion, found: dict[str, float]) -> None:
    """Refuse what a simulation has found otherwise than a run's entry tells it."""
    for name, stated in made.metrics.items():
        where = f"{name} of {made.replicas} replicas of run {run} must be {stated:.5g}"
        if name in found:
            least, most = bounds(made, name, found)
            if not least <= found[name] <= most:
                raise MovedOtherwise(
                    f"{where}, by chance {least:.5g} to {most:.5g}; its checkpoint gives {found[name]:.5g}"
                )
        elif not name.endswith(MAY_LACK) or condition_of(made, name).intact > made.replicas / 2:
            raise MovedOtherwise(f"{where}, its checkpoint gives none")


def agreement(run: Run) -> str:
    """What a simulation that did not contradict says of the numbers of a run, and what none could contradict."""
    made = run.results[-1].motion
    assert made is not None
    open_ = []
    for name, stated in made.metrics.items():
        _, _, what = name.partition("/")
        if what.startswith("drift"):
            tells = condition_of(made, name).intact >= FEWEST_INTACT
        else:
            end = {"stability_ps": made.picoseconds, "intact_share": 1.0}.get(what, math.inf)
            tells = tolerance(made, name) < max(stated, end - stated)
        open_ += [] if tells else [name]
    few = f", but {made.replicas} replicas are too few to tell {', '.join(open_)}"
    return "all numbers agree" + few * bool(open_)


def condition_of(made: Motion, name: str) -> Condition:
    """That which a metric is of."""
    (condition,) = (each for each in made.conditions if each.place == name.partition("/")[0])
    return condition


def bounds(made: Motion, name: str, found: dict[str, float]) -> tuple[float, float]:
    """Between what a metric must be found again.

    Drifts follow Student's t by the error that is found, since a stated one could be anything, and errors F.
    """
    stated, (place, _, what) = made.metrics[name], name.partition("/")
    if not what.startswith("drift"):
        most = tolerance(made, name)
        return stated - most, stated + most
    from scipy import stats  # it takes long to load

    before, tail = condition_of(made, name).intact - 1, float(stats.norm.sf(SIGMAS))
    now = round(found.get(f"{place}/intact_share", 0.0) * made.replicas) - 1
    if what == "drift_mev_per_atom_ns":
        error = found.get(f"{place}/drift_error_mev_per_atom_ns", math.nan)
        most = math.sqrt(2) * error * float(stats.t.isf(tail, now))
        return stated - most, stated + most
    factor = math.sqrt(max(stats.f.isf(tail, before, now), stats.f.isf(tail, now, before)))
    return stated / factor, stated * factor


def tolerance(made: Motion, name: str) -> float:
    """By how much a metric may differ: so many standard deviations of the difference of two simulations.

    That of a share is binomial. Times whose mean is a share p of the longest have p (1 - p) of its square as their
    variance at most. Neither is less than what one more replica would change by breaking at once.
    """
    if name == "check/bond_break_ev":
        return BREAK_TOLERANCE * (made.bond_break_ev or 0.0)
    condition, what = condition_of(made, name), name.partition("/")[2]
    if what == "hr_mae":
        deviation = HR_SPREAD / math.sqrt(made.replicas * condition.stability_ps)
    else:
        end = made.picoseconds if what == "stability_ps" else 1.0
        share = made.metrics[name] / end
        deviation = end * max(math.sqrt(max(0.0, share * (1 - share)) / made.replicas), 1 / made.replicas)
    return SIGMAS * math.sqrt(2) * deviation
