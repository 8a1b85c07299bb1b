"""The table of force errors: our runs with their budgets beside published ones; see `--help`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from chemscale_bench.tracking.reader import LoggedRun, runs_of_experiment

PUBLISHED = Path(__file__).parents[1] / "leaderboard" / "published"
FORCE, ENERGY = "test/force_mae_mev_per_angstrom", "test/energy_mae_mev"
SOURCES = {"rmd17-ff": "rmd17-950.json", "md17-ff": "md17-950.json"}


def published(task: str, molecule: str) -> Iterator[str]:
    """Rows of the models that have published numbers for 950 frames."""
    content = json.loads((PUBLISHED / SOURCES[task]).read_text())
    for result in content["results"]:
        if result["molecule"] == molecule:
            energy = result.get("energy_mae_mev", "")
            yield f"| {result['model']} | | *published* | | | {energy} | {result['force_mae_mev_per_angstrom']} |"


def row(run: LoggedRun) -> str:
    """One run of ours."""
    params, metrics = run.params, run.metrics
    steps = f"{int(params['gradient_steps']):,} x {params['batch_frames']}"
    minutes = metrics["cost/train_seconds"] / 60
    return (
        f"| {params['model']} | {int(params['non_embedding_params']):,} | {params['train_frames']} frames, {steps} | "
        f"{minutes:.1f} | {run.tags['machine.device']} | {metrics[ENERGY]:.1f} | {metrics[FORCE]:.1f} |"
    )


def table(experiment: str) -> Iterator[str]:
    """Markdown, one table per task and molecule."""
    runs = [run for run in runs_of_experiment(experiment) if run.status == "FINISHED" and FORCE in run.metrics]
    for name in sorted({run.params["task_name"] for run in runs}):
        task, _, molecule = name.partition("@")
        yield f"\n### {molecule}, {task}\n"
        yield "| model | parameters | budget (frames per step) | minutes | on | energy MAE, meV | force MAE, meV/Å |"
        yield "|---|---|---|---|---|---|---|"
        mine = [run for run in runs if run.params["task_name"] == name]
        yield from map(row, sorted(mine, key=lambda run: run.metrics[FORCE]))
        if task in SOURCES:
            yield from published(task, molecule)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", help="MLflow experiment of the runs")
    print("\n".join(table(parser.parse_args().experiment)))
