"""What `simulate` has found of how trained force fields move their molecule, as an entry carries it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chemscale_bench.leaderboard.consistent import claim
from chemscale_bench.leaderboard.entry import Entry, Run
from chemscale_bench.leaderboard.generated import finished, logged_rows
from chemscale_bench.leaderboard.motion import Condition, Motion
from chemscale_bench.scaling.table import describe
from chemscale_bench.shell import unquoted
from chemscale_bench.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

ROUNDING = 1e-6


def read_motions(run_ids: Collection[str]) -> dict[str, Motion]:
    """How the force fields of some runs move, in whatever experiment it was logged.

    Of several simulations of one model the one of the most steps counts; of as many, the newest. What an entry can't
    hold is left out, which a line on the standard error says.
    """
    from mlflow.exceptions import MlflowException

    found: dict[str, Motion] = {}
    left_out, known = Counter[str](), set(run_ids)
    for simulation in finished(open_store(), "simulate") if run_ids else ():
        try:
            rows = [row for row in logged_rows(simulation, "motion.csv") if row["run_id"] in known]
        except (MlflowException, OSError, ValueError):
            left_out["runs of simulate whose motion.csv is gone"] += 1
            continue
        if rows and unquoted(simulation.data.params).get("molecule"):
            left_out["force fields of several molecules"] += len({row["run_id"] for row in rows})
            continue
        for run_id in dict.fromkeys(row["run_id"] for row in rows):
            try:
                made = motion_of(simulation, [row for row in rows if row["run_id"] == run_id])
            except ValidationError as error:
                about = ".".join(map(str, error.errors()[0]["loc"])) or "number of steps"
                left_out[f"models whose {about} is missing or out of range"] += 1
                continue
            if run_id not in found or made.steps >= found[run_id].steps:
                found[run_id] = made
    if left_out:
        print(f"note: of simulated motion: {describe(left_out)}", file=sys.stderr)
    return found


def motion_of(simulation: MlflowRun, rows: list[Mapping[Any, Any]]) -> Motion:
    """How one model moves.

    Args:
        simulation: the run of `simulate`.
        rows: of motion.csv, those of the model.

    Raises:
        ValidationError: if an entry can't hold it.
    """
    from chemscale_bench.evaluation.simulated import place_of  # which loads torch

    params, metrics = unquoted(simulation.data.params), simulation.data.metrics
    place = "" if "source_run" in simulation.data.tags else place_of(rows[0]["model"])
    conditions = [
        {name: row[name] for name in Condition.model_fields if name in row and row[name] == row[name]} for row in rows
    ]
    return Motion.model_validate(
        {
            "replicas": int(params["replicas"]), "picoseconds": float(params["picoseconds"]),
            "timestep_fs": float(params["timestep_fs"]), "seed": int(params["seed"]),
            "bond_break_ev": metrics.get(f"{place}check/bond_break_ev"), "conditions": tuple(conditions),
        }
    )  # fmt: skip


def check(entry: Entry) -> None:
    """Check what can be told from the numbers alone.

    Raises:
        Inconsistent: naming the first contradiction.
    """
    for run in entry.runs:
        for result in run.results:
            if result.motion:
                check_conditions(run, result.motion)


def check_conditions(run: Run, motion: Motion) -> None:
    """Replicas hold no longer than they were simulated, the intact ones so long, and only these have a drift."""
    from chemscale_bench.evaluation.motion import steps_of  # which loads torch

    longest = steps_of(motion.picoseconds, motion.timestep_fs) * motion.timestep_fs / 1000
    for each in motion.conditions:
        at = f"of {each.ensemble} at {each.temperature_k:g} K"
        claim(each.intact <= motion.replicas, run, f"intact {at} must be {motion.replicas} at most", each.intact)
        least = each.intact / motion.replicas * longest
        rule = f"stability_ps {at} must be between {least:.6g}, which the intact ones make, and {longest:g}"
        possible = (1 - ROUNDING) * least <= each.stability_ps <= (1 + ROUNDING) * longest
        claim(possible, run, rule, f"{each.stability_ps:.6g}")
        drifts = {each.drift_mev_per_atom_ns is not None, each.drift_error_mev_per_atom_ns is not None}
        there = each.ensemble == "NVE" and each.intact > 1
        claim(drifts == {there}, run, f"a drift and its error must be there {at} if NVE leaves two intact", drifts)
        there = each.ensemble == "Langevin" and each.stability_ps > 0
        claim(there or each.hr_mae is None, run, f"hr_mae {at} may not be there", each.hr_mae)


def summary(entry: Entry) -> str:
    """What an entry tells of motion."""
    models = [result.motion for run in entry.runs for result in run.results]
    moved = [motion for motion in models if motion]
    if not moved:
        return "no motion; `simulate` on these runs before `submit` adds it"
    kelvins = sorted({kelvin for motion in moved for kelvin in motion.temperatures_k})
    return f"motion of {len(moved)} of its {len(models)} models at {', '.join(f'{kelvin:g}' for kelvin in kelvins)} K"
