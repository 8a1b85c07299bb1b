"""How force fields move their molecule, beside the error of their forces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import matplotlib as mpl

from chemscale_bench.leaderboard.collect import Study
from chemscale_bench.leaderboard.entry import Run
from chemscale_bench.leaderboard.motion import Condition, Motion
from results.drawing import COLOURS, MARKERS, panels, save
from results.studies import FORCE_MAE, steps_of

Moved = tuple[float, Study, Run, Motion]
"""Force error in meV/Angstrom, and whose."""


def motion_section(studies: Sequence[Study]) -> Iterator[str]:
    """Markdown: a figure and the table."""
    moved = moved_of(studies)
    figure, axes = panels(2, "force MAE, meV/Å", "ps until a bond is off, mean of replicas")
    models = sorted({study.model for _, study, _, _ in moved})
    colour = dict(zip(models, cycle((*COLOURS, "#F0E442", "#999999")), strict=False))
    marker = dict(zip(sorted({study.task for _, study, _, _ in moved}), cycle(MARKERS), strict=False))
    for axis, ensemble in zip(axes, ("Langevin", "NVE"), strict=True):
        axis.set(xscale="linear", yscale="linear", title=f"{ensemble}, hottest")
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_locator(mpl.ticker.AutoLocator())
        for error, study, _, motion in moved:
            until = _at(motion, ensemble)[-1].stability_ps
            axis.plot(error, until, marker[study.task], color=colour[study.model])
    axes[0].set_ylim(bottom=0)
    for model in models:
        axes[1].plot([], [], "s", color=colour[model], label=model)
    for task, shape in marker.items():
        axes[1].plot([], [], shape, color="black", fillstyle="none", label=task)
    axes[1].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    yield save(figure, "motion") + "\n"
    yield from motion_table(moved)


def moved_of(studies: Sequence[Study]) -> list[Moved]:
    """Every force field of the entries that was simulated, by task, the least force error first."""
    moved = [
        (result.metrics[FORCE_MAE], study, run, result.motion)
        for study in studies
        for run in study.runs
        for result in run.results
        if result.motion
    ]
    return sorted(moved, key=lambda one: (one[1].task, one[0]))


def motion_table(moved: Sequence[Moved]) -> Iterator[str]:
    """Markdown: a row for each."""
    names = ["force MAE, meV/Å", "Langevin", "NVE", "drift, meV/atom/ns", "h(r) MAE", "bond to H, eV", "entry"]
    yield f"| task | model | parameters | steps | seed | {' | '.join(names)} |"
    yield "|" + 12 * "---|"
    for error, study, run, motion in moved:
        thermostat, free = _at(motion, "Langevin"), _at(motion, "NVE")
        cells = [
            study.task,
            study.model,
            f"{run.non_embedding_params:,}",
            steps_of(study),
            f"{run.seed}",
            f"{error:.1f}",
        ]
        cells += [held(thermostat, motion), held(free, motion), _drift(free[0])]
        cells += [_number(thermostat[0].hr_mae, 3), _number(motion.bond_break_ev, 2)]
        yield f"| {' | '.join(cells)} | [{study.date}](../leaderboard/entries/{study.name}) |"


def _at(motion: Motion, ensemble: str) -> list[Condition]:
    """The conditions of an ensemble, the coldest first."""
    return sorted(
        (each for each in motion.conditions if each.ensemble == ensemble), key=lambda each: each.temperature_k
    )


def held(conditions: Sequence[Condition], motion: Motion) -> str:
    """How many replicas held their molecule together at each temperature, and how long all did in the mean."""
    return "; ".join(
        f"{each.temperature_k:,.0f} K: {each.intact} of {motion.replicas}, {each.stability_ps:.2f} ps"
        for each in conditions
    )


def _drift(condition: Condition) -> str:
    if condition.drift_mev_per_atom_ns is None or condition.drift_error_mev_per_atom_ns is None:
        return ""
    return f"{condition.drift_mev_per_atom_ns:+.0f} ± {condition.drift_error_mev_per_atom_ns:.0f}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
