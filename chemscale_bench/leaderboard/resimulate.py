"""Whether a checkpoint moves its molecule as an entry tells: simulated again from the same frames, with the same seed.

On the same arithmetic the same trajectories come out. On another device they part within about a picosecond, since
rounding grows in them. What differs by more than replicas with other seeds would is not of this model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.entry import Entry, Run

if TYPE_CHECKING:
    from chemscale_bench.data.mixtures import FrameSet

SIGMAS = 4.0
"""Of the difference of two simulations with other seeds."""

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
