"""Whether an entry's numbers follow from its curves, agree with one another, and could have been reached at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.entry import CURVES, Entry, Run
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.speed.peaks import BF16_PEAK_FLOPS, peak_flops

Curve = tuple[np.ndarray, np.ndarray]
"""Steps (n,), int64, ascending; values (n,)."""
Curves = dict[tuple[str, str], Curve]
"""By run and metric."""

EMPTY: Curve = (np.array([], np.int64), np.array([]))
CPU_CORE_PEAK_FLOPS = 7e12
"""More than any core does: 1,024 bf16 multiply-adds a cycle (AMX) at 3.4 GHz."""
MOST_FLOPS_PER_JOULE = 5e12
"""Twice the dense bf16 peak of a B200 at its 1 kW."""
TIME_TOLERANCE = 0.1
"""On seconds from the speeds of the curves: a resumed run did some of its work twice."""
LOWEST_SHARE = 0.8
"""Of the training loss: on the same kind of molecules, validation is not better by more."""
LOWEST_SHARE_OF_ERROR = 0.5
"""Of the smallest validation error, for the test error: both are of few frames."""


class Inconsistent(UserError):
    """Numbers of an entry contradict its curves, each other, or what its hardware can do."""


def check(entry: Entry, curves: pd.DataFrame) -> None:
    """Derive every number of an entry again.

    Raises:
        Inconsistent: naming the first contradiction.
    """
    check_task(entry)
    by_name = split(curves)
    for run in entry.runs:
        begun = run.settings.get("init")
        claim(not begun, run, "a run must begin with fresh weights, not with those of a checkpoint", begun)
        check_results(entry, run, by_name)
        check_cost(entry, run, *check_training(entry, run, by_name))
    check_same_split(entry)


def claim(holds: bool, run: Run, rule: str, got: object) -> None:
    """Raise `Inconsistent` with the rule and the value unless the claim holds."""
    if not holds:
        raise Inconsistent(f"{rule}, got {got} in run {run.run}; submit the run again")


def close(a: float, b: float, tolerance: float) -> bool:
    """Whether two numbers agree up to a share of the larger one."""
    return abs(a - b) <= tolerance * max(abs(a), abs(b))


def task_of(entry: Entry) -> tasks.Task:
    """The task of benchmarks/ that an entry is for, on the entry's data.

    Raises:
        UserError: if there is none.
    """
    base = entry.task.partition("@")[0]
    if entry.family == "language_model":
        return tasks.load_language(base).with_data(entry.data, entry.vocabulary or "")
    return tasks.load_force(base).on(entry.molecule or "", entry.data)


def check_task(entry: Entry) -> None:
    """The entry is for a task of ours, in its present version."""
    try:
        task = task_of(entry)
    except UserError as error:
        raise Inconsistent(str(error)) from None
    digest = task.digest_with(entry.data_digest, entry.split_digest)
    if (task.name, digest) != (entry.task, entry.task_digest):
        raise Inconsistent(
            f"task and task_digest must be {task.name} {digest} for these data, got {entry.task} {entry.task_digest}; "
            "run the present version of the task"
        )


def split(curves: pd.DataFrame) -> Curves:
    """Curves by run and metric."""
    run, metric = curves["run"].cat, curves["metric"].cat
    steps, values = curves["step"].to_numpy(), curves["value"].to_numpy()
    codes = np.stack([run.codes, metric.codes])
    ends = np.flatnonzero(np.any(codes[:, 1:] != codes[:, :-1], axis=0)) + 1
    found = {}
    for start, stop in pairwise([0, *ends.tolist(), len(curves)]):
        if stop > start:
            name = run.categories[codes[0, start]], metric.categories[codes[1, start]]
            found[name] = (steps[start:stop], values[start:stop])
    return found


def check_results(entry: Entry, run: Run, curves: Curves) -> None:
    """Every result is a point of a curve, and every point of a result's curve is a result."""
    for metric in sorted({name for result in run.results for name in result.metrics}):
        steps, values = curves.get((run.run, metric), EMPTY)
        points = dict(zip(steps.tolist(), values.tolist(), strict=True))
        if entry.family == "language_model":
            stated = {result.budget: result.metrics.get(metric) for result in run.results}
        else:
            stated = {step: run.results[0].metrics[metric] for step in points} or {0: run.results[0].metrics[metric]}
        claim(
            points == stated,
            run,
            f"{metric} must be what its curve says at every budget, {_some(points)}",
            _some(stated),
        )


def _some(points: dict[int, float | None]) -> str:
    return ", ".join(f"{value} at {step:,}" for step, value in list(points.items())[-3:]) or "nothing"


def check_training(entry: Entry, run: Run, curves: Curves) -> tuple[int, float]:
    """Tokens or frames, and seconds, of training, from its curves: a trunk, and a decay to every target."""
    own = [curves.get((run.run, name), EMPTY) for name in CURVES[entry.family][:4]]
    (trunk, _), (decay, decay_loss), (trunk_steps, trunk_speed), (decay_steps, decay_speed) = own
    for steps, speed, loss_steps in ((trunk_steps, trunk_speed, trunk), (decay_steps, decay_speed, decay)):
        same = np.array_equal(steps, loss_steps) and bool((speed > 0).all())
        claim(same, run, "speed must be positive and given wherever the training loss is", f"{len(steps)} points")
    claim(bool((trunk > 0).all() and (decay > 0).all()), run, "steps of training must count what was seen", "step 0")
    share = _setting(run, "decay")
    claim(0 < share <= 1, run, "settings must hold the share of the decay, between 0 and 1", share)
    seconds = float(np.sum(np.diff(trunk, prepend=0) / trunk_speed))
    units, start, explained = 0, 0, np.zeros(len(decay), bool)
    for target, check_end in targets(entry, run, curves):
        stop = target - round(share * target)
        start = int(trunk[np.searchsorted(trunk, stop)]) if stop and len(trunk) and trunk[-1] >= stop else 0
        claim(start >= stop, run, f"training must reach {stop:,} before the decay to {target:,}", start)
        inside = (decay > start) & (decay <= target)
        claim(target in decay[inside], run, f"training must end a decay at {target:,}", "none")
        explained |= inside
        units += target - start
        # Where decays overlap, the points of the other one only change the mean.
        amounts = np.diff(decay[inside], prepend=start)
        seconds += float(np.sum(amounts / decay_speed[inside]))
        check_end(float(np.mean(decay_loss[inside][len(amounts) // 2 :])))
    claim(bool(explained.all()), run, "every decay must end at a target", f"{int(decay[~explained][:1].sum()):,}")
    last = int(trunk[-1]) if len(trunk) else 0
    claim(last == start, run, f"training must end with the decay from {start:,}", f"{last:,}")
    return units + last, seconds


def _setting(run: Run, name: str) -> float:
    """A setting that is a number; NaN if it is none."""
    try:
        return float(run.settings.get(name, ""))
    except ValueError:
        return math.nan


def targets(entry: Entry, run: Run, curves: Curves) -> Iterator[tuple[int, Callable[[float], None]]]:
    """Where each decay ends, and how the training loss before it bears on the result."""
    if entry.family == "language_model":
        for result in run.results:
            loss = result.metrics[entry.primary_metric]

            def check_loss(training: float, loss: float = loss) -> None:
                rule = f"validation loss may not be {1 - LOWEST_SHARE:.0%} below the training loss of {training:.4g}"
                claim(loss > LOWEST_SHARE * training, run, rule, loss)

            yield result.budget, check_loss
        return
    claim(len(run.results) == 1, run, "a force field has one result, at its training frames", len(run.results))
    frames, steps, batch = (_setting(run, name) for name in ("train_frames", "gradient_steps", "batch_frames"))
    claim(frames == run.results[0].budget, run, "the budget must be the training frames", run.results[0].budget)
    claim(1 <= steps * batch < 1e15, run, "settings must hold gradient_steps and batch_frames", f"{steps} and {batch}")

    def check_error(_: float) -> None:
        seen = curves[run.run, entry.primary_metric][0]
        claim(
            seen.tolist() == [steps * batch],
            run,
            f"the test must come after {steps * batch:,.0f} frames",
            seen.tolist(),
        )
        validation = curves.get((run.run, "val/force_mae_mev_per_angstrom"), EMPTY)[1]
        claim(len(validation) > 0, run, "validation errors must be there", "none")
        tested, best = run.results[0].metrics[entry.primary_metric], float(validation.min())
        rule = f"the test error may not be far below the best validation error of {best:.4g}"
        claim(tested > LOWEST_SHARE_OF_ERROR * best, run, rule, tested)

    yield int(steps * batch), check_error


def check_cost(entry: Entry, run: Run, units: int, seconds: float) -> None:
    """Tokens, time, FLOPs, utilisation and energy agree, and no device is faster than it can be."""
    claim(
        run.units_trained == units, run, f"units_trained must be the {units:,} of the curves", f"{run.units_trained:,}"
    )
    rule = f"train_seconds must be the {seconds:.4g} of the curves' speeds"
    claim(close(run.train_seconds, seconds, TIME_TOLERANCE), run, rule, f"{run.train_seconds:.4g}")
    speed = units / run.train_seconds
    claim(close(run.units_per_s, speed, 1e-3), run, f"units_per_s must be {speed:.6g}", f"{run.units_per_s:.6g}")
    claim(
        (run.energy_kj is None) == (run.energy_source == "unavailable"), run,
        "energy must come from a counter, and a counter give energy", f"{run.energy_kj} kJ from {run.energy_source}",
    )  # fmt: skip
    if run.flops_total is None:
        claim(entry.family == "force_field" and run.mfu is None, run, "flops_total must be given", "none")
        return
    check_flops(entry, run, run.flops_total / units)
    peak = peak_flops(run.device)
    known = run.gpus > 0 and math.isfinite(peak)
    most = run.gpus * (peak if known else max(BF16_PEAK_FLOPS.values())) or run.cpus * CPU_CORE_PEAK_FLOPS
    rate = run.flops_total / run.train_seconds
    claim(rate <= most, run, f"{run.device[:60]} can do {most:.3g} FLOP/s at most", f"{rate:.3g} ({rate / most:.0%})")
    if run.mfu is not None:
        claim(known, run, "mfu needs a GPU of a known peak", run.device[:60])
        claim(close(run.mfu, rate / most, 0.01), run, f"mfu must be {rate / most:.4g}", f"{run.mfu:.4g}")
    if run.energy_kj is not None:
        least = run.flops_total / MOST_FLOPS_PER_JOULE / 1000
        claim(run.energy_kj >= least, run, f"these FLOPs take {least:.3g} kJ at least", f"{run.energy_kj:.3g}")


def check_flops(entry: Entry, run: Run, flops_per_unit: float) -> None:
    """FLOPs per token follow from the network and the length of molecules; otherwise from 6 params at least."""
    if entry.model not in LANGUAGE_MODELS:
        # Each weight of a force field acts at least once on a frame; products of matrices are all that is counted.
        least = (6 if entry.family == "language_model" else 1) * run.non_embedding_params
        claim(flops_per_unit >= least, run, f"FLOPs per unit must be {least:.4g} or more", f"{flops_per_unit:.4g}")
        return
    network = run.network
    if network is None:
        raise Inconsistent(f"{entry.model} must state its network, got none in run {run.run}; submit the run again")
    config = LANGUAGE_MODELS.family(entry.model).stated(network.model_dump())
    size = config.non_embedding_params
    claim(
        run.non_embedding_params == size, run, f"that network has {size:,} parameters", f"{run.non_embedding_params:,}"
    )
    without, one = config.flops_per_token(0), config.flops_per_token(1)
    if one == without:  # nothing attends
        rule = f"FLOPs per token must be {without:.6g}"
        claim(close(flops_per_unit, without, 1e-6), run, rule, f"{flops_per_unit:.6g}")
        return
    context = (flops_per_unit - without) / (one - without)
    length = tokens_per_molecule(run)
    rule = f"FLOPs per token must be those of attention over molecules of about {length:.0f} tokens"
    claim(0.4 * length <= context <= 10 * length, run, rule, f"{flops_per_unit:.4g}, attention over {context:.3g}")


def tokens_per_molecule(run: Run) -> float:
    """Mean length of a validation molecule, from two units of one loss."""
    metrics = run.results[-1].metrics
    return metrics.get("val/nats_per_molecule", math.nan) / metrics["val/loss_nats_per_token"]


def check_same_split(entry: Entry) -> None:
    """What only the split decides is the same in all runs: lengths of molecules, or the error of a zero force."""
    pairs: Iterable[tuple[str, str]] = (
        ("val/nats_per_molecule", "val/loss_nats_per_token"), ("val/bits_per_heavy_atom", "val/loss_nats_per_token"),
    )  # fmt: skip
    if entry.family == "force_field":
        pairs = (("baseline/zero_force_mae_mev_per_angstrom", ""),)  # the mean energy is that of the training frames
    for above, below in pairs:
        first: float | None = None
        for run in entry.runs:
            for metrics in (result.metrics for result in run.results):
                if above in metrics:
                    ratio = metrics[above] / (metrics[below] if below else 1)
                    first = first or ratio
                    rule = f"{above}{' over ' * bool(below)}{below} must be the same in all runs, {first:.6g}"
                    claim(close(ratio, first, 1e-5), run, rule, f"{ratio:.6g}")
