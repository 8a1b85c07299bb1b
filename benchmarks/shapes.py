"""How the default shapes, parametrization and learning rate were chosen: trains small models and prints two tables.

Run: `python -m benchmarks.shapes molecules.smi.xz`; 20 minutes on one core. benchmarks/shapes.md keeps the result.
"""

from __future__ import annotations

import sys

import torch
from lightning.fabric import Fabric

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.models.parametrization import Parametrization, build, parameter_groups
from chemscale_bench.models.sizes import Shape, shape_for
from chemscale_bench.training.contracts import Events
from chemscale_bench.training.language import LanguageObjective, validate
from chemscale_bench.training.loop import Diverged, Trainer
from chemscale_bench.training.schedules import segments

SHAPES = [
    (2, 64, 4), (3, 52, 4), (5, 40, 4), (8, 32, 2), (24, 18, 2),
    (2, 208, 8), (5, 128, 4), (9, 96, 3), (24, 58, 2),
]  # fmt: skip
TOKENS = 300_000
RATES = [2.0**-power for power in (8, 9, 10, 11)]
PARAMETRIZATIONS: tuple[Parametrization, ...] = ("standard", "mutransfer")


class Quiet(Events):
    """Events of a training that nobody watches."""


def loss(store: TokenStore, shape: Shape, tokens: int, rate: float, parametrization: Parametrization) -> str:
    """Validation loss in nats per token after `tokens`, as text."""
    vocabulary = store.vocabulary
    model = build(shape, vocabulary.size, parametrization, seed=0)
    groups = parameter_groups(model, parametrization, rate, 0.1)
    fabric = Fabric(accelerator="cpu", devices=1)
    objective = LanguageObjective(store.train, vocabulary.start_id, vocabulary.size, 0, None, fabric.device)
    trainer = Trainer(
        fabric, model, torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True), objective, Quiet(),
        plan=segments([tokens], 0.2), warmup=90_000, clip=1.0, report_every=50_000, save_seconds=1e9, pass_limit=4_096,
    )  # fmt: skip
    try:
        trainer.run()
    except Diverged:
        return "diverged"
    return f"{validate(model, store.validation, vocabulary.start_id, 'cpu').metrics['val/loss_nats_per_token']:.4f}"


def main(data: str) -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    store = prepare(data, train_tokens=2_000_000, validation_molecules=4_000)
    print(f"| shape | parameters | nats/token at {TOKENS:,} tokens |\n|---|---|---|")
    for layers, width, heads in SHAPES:
        shape = Shape(layers, width, heads)
        result = loss(store, shape, TOKENS, 2.0**-10, "standard")
        print(f"| {layers} x {width}, {heads} heads | {shape.non_embedding_params:,} | {result} |", flush=True)
    print(f"\nnats/token at {TOKENS:,} tokens\n")
    print("| parametrization | parameters | " + " | ".join(f"2^-{power}" for power in (8, 9, 10, 11)) + " |")
    print("|---" * (2 + len(RATES)) + "|")
    for parametrization in PARAMETRIZATIONS:
        for params in (100_000, 1_000_000):
            row = [loss(store, shape_for(params), TOKENS, rate, parametrization) for rate in RATES]
            print(f"| {parametrization} | {params:,} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
