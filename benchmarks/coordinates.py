"""The coordinate check of ChemGPT: what ten optimizer steps change, over widths, depths and the paper's ladder.

Run: `python -m benchmarks.coordinates`; a minute on two cores, with the molecules that RDKit carries. A
parametrization under which every column stays flat lets one learning rate serve every size. benchmarks/shapes.md keeps
the result.
"""

from __future__ import annotations

import sys

import torch

from chemscale_bench.data.prepare import prepare
from chemscale_bench.evaluation.coordinates import Coordinates, coordinates
from chemscale_bench.models.chemgpt import build_shape, parameter_groups
from chemscale_bench.models.parametrization import LEARNING_RATE, Parametrization
from chemscale_bench.models.sizes import Shape, heads_for
from chemscale_bench.training.language import LanguageObjective

LADDERS = {
    "width": [Shape(4, width, heads_for(width)) for width in (64, 128, 256, 512, 1024)],
    "depth": [Shape(layers, 128, 4) for layers in (3, 6, 12, 24)],
    "the paper's ladder": [Shape(24, width, 16) for width in (64, 128, 256, 512)],
    "head size": [Shape(4, 256, heads) for heads in (32, 16, 8, 4, 2)],
}
STEPS, TOKENS = 10, 1024


def measure(shape: Shape, parametrization: Parametrization) -> Coordinates:
    """The coordinates of one shape at the `auto` learning rate."""
    store = prepare("embedded", train_tokens=STEPS * TOKENS, validation_molecules=100)
    vocabulary = store.vocabulary
    objective = LanguageObjective(
        store.train, vocabulary.start_id, vocabulary.size, seed=0, batch_tokens=TOKENS, device=torch.device("cpu")
    )
    batches, cursor = [], None
    for _ in range(STEPS + 1):
        items, cursor = objective.take(cursor, TOKENS)
        batches.append(objective.batch(items))
    model = build_shape(shape, vocabulary.size, parametrization, seed=0)
    groups = parameter_groups(model, LEARNING_RATE[parametrization], 0.1, parametrization=parametrization)
    return coordinates(model, torch.optim.AdamW(groups, betas=(0.9, 0.95)), batches[1:], probe=batches[0])


def main() -> None:
    """Print a table for each parametrization."""
    names: tuple[Parametrization, ...] = ("mutransfer", "standard")
    for parametrization in names:
        print(f"\n`{parametrization}`\n\n| over | shape | {' | '.join(Coordinates._fields)} |")
        print("|---" * (2 + len(Coordinates._fields)) + "|")
        for ladder, shapes in LADDERS.items():
            for shape in shapes:
                row = " | ".join(f"{value:.2f}" for value in measure(shape, parametrization))
                layers, width, heads = shape
                print(f"| {ladder} | {layers} x {width}, {heads} heads | {row} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
