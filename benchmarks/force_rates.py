"""Which learning rate is best for a force field, by its size and the length of the training?

Run: `python -m benchmarks.force_rates --model schnet --params 3e3,1e5 --rates 0.01,0.02,0.04 --steps 3000 task=rmd17-ff
molecule=ethanol`; what stands last are parameters of `forcefield`. Every rate is a run of the experiment `force-rates`;
the table has the force error on its validation frames. benchmarks/force_fields.md keeps the result.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product

import mlflow
from tqdm import tqdm

import chemscale_bench as cs
from chemscale_bench.training.loop import Diverged

METRIC = "val/force_mae_mev_per_angstrom"


def trained(model: str, params: str, rate: str, steps: str, more: dict[str, str]) -> str:
    """Force MAE on the validation frames in meV/Angstrom at the end of a training, as text."""
    try:
        run = cs.train(
            model, params=params, learning_rate=rate, steps=steps, device="cpu", experiment="force-rates", **more
        )
    except Diverged:
        return "diverged"
    return f"{mlflow.get_run(run.run_id).data.metrics[METRIC]:.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="schnet,painn", help="with commas")
    parser.add_argument("--params", default="3e3,1e5", help="with commas")
    parser.add_argument("--rates", default="0.005,0.01,0.02,0.04", help="with commas")
    parser.add_argument("--steps", default="3000", help="with commas")
    parser.add_argument("more", nargs="*", help="parameters of `forcefield`, as NAME=VALUE")
    chosen = parser.parse_args()
    if wrong := [pair for pair in chosen.more if "=" not in pair]:
        parser.error(f"parameters of forcefield must be given as NAME=VALUE, got {wrong[0]!r}")
    more = dict(pair.split("=", 1) for pair in chosen.more)
    rates = chosen.rates.split(",")
    print(f"| model | parameters | steps | {' | '.join(rates)} |")
    print("|---" * (3 + len(rates)) + "|")
    rows = list(product(chosen.model.split(","), chosen.params.split(","), chosen.steps.split(",")))
    for model, params, steps in tqdm(rows, file=sys.stderr):
        found = (trained(model, params, rate, steps, more) for rate in rates)
        print(f"| {model} | {params} | {steps} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
