"""How the default shapes, heads and learning rate were chosen: trains small models and prints the tables.

Run: `python -m benchmarks.shapes molecules.smi.xz`, or with one of `shapes`, `heads`, `rates`, `sizes`, `llama` behind
it; an hour on one core; `sizes` takes some hours more. benchmarks/shapes.md keeps the result.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.models import chemgpt
from chemscale_bench.models import llama as llama_family
from chemscale_bench.models.parametrization import LEARNING_RATE, Optimizer, Parametrization
from chemscale_bench.models.sizes import Shape, shape_for
from chemscale_bench.training.contracts import Events
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.language import LanguageObjective, validate
from chemscale_bench.training.loop import Diverged, Trainer
from chemscale_bench.training.muon import optimizer_of
from chemscale_bench.training.schedules import segments

SHAPES = [
    (2, 64, 4), (3, 52, 4), (5, 40, 4), (8, 32, 2), (24, 18, 2),
    (2, 208, 8), (5, 128, 8), (9, 96, 6), (24, 58, 2),
]  # fmt: skip
HEADS = [(3, 52, 2), (3, 52, 4), (5, 128, 4), (5, 128, 8), (5, 128, 16), (7, 192, 6), (7, 192, 12)]
LLAMA = [
    (2, 36, 6), (6, 20, 2), (4, 36, 6), (2, 64, 4), (3, 52, 2), (5, 40, 5), (5, 42, 3), (8, 32, 4),
    (5, 72, 6), (6, 64, 4), (8, 56, 4), (10, 48, 6),
]  # fmt: skip
SIZES = (100_000, 300_000, 1_000_000, 3_000_000)
LARGE = (10_000_000, 30_000_000, 100_000_000)
PARAMETRIZATIONS: tuple[Parametrization, ...] = ("mutransfer", "standard")


class Quiet(Events):
    """Events of a training that nobody watches."""


def loss(
    store: TokenStore, shape: Shape, tokens: int, parametrization: Parametrization = "mutransfer", factor: float = 1.0
) -> str:
    """Validation loss in nats per token after `tokens` at `factor` times the `auto` learning rate, as text."""
    model = chemgpt.build_shape(shape, store.vocabulary.size, parametrization, seed=0)
    rate = factor * LEARNING_RATE[parametrization]
    groups = chemgpt.parameter_groups(model, rate, 0.1, parametrization=parametrization)
    return trained(store, model, groups, tokens, 30_000, large=shape.non_embedding_params > 5e6)


def trained(
    store: TokenStore, model: Any, groups: list[dict[str, Any]], tokens: int, warmup: int, large: bool = False,
    optimizer: Optimizer = "adamw",
) -> str:  # fmt: skip
    """Validation loss in nats per token of a network after `tokens`, as text."""
    vocabulary = store.vocabulary
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed" if large else "32-true")
    objective = LanguageObjective(store.train, vocabulary.start_id, vocabulary.size, 0, None, fabric.device)
    trainer = Trainer(
        fabric, model, optimizer_of(optimizer, groups), objective, Quiet(),
        plan=segments([tokens], 0.2), warmup=warmup, clip=1.0, report_every=50_000, save_seconds=1e9, pass_limit=4_096,
    )  # fmt: skip
    try:
        trainer.run()
    except Diverged:
        return "diverged"
    return f"{validate(model, store.validation, vocabulary.start_id, 'cpu').metrics()['val/loss_nats_per_token']:.4f}"


def named(shape: Shape) -> str:
    """A shape as in the tables."""
    return f"{shape.layers} x {shape.width}, {shape.heads} heads | {shape.non_embedding_params:,}"


def table(*columns: str) -> None:
    """Print the head of a table."""
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)


def shapes(store: TokenStore) -> None:
    """Depth against width at equal parameters."""
    table("shape", "parameters", "nats/token at 300,000 tokens")
    for shape in (Shape(*numbers) for numbers in SHAPES):
        print(f"| {named(shape)} | {loss(store, shape, 300_000)} |", flush=True)


def heads(store: TokenStore) -> None:
    """Head size at equal depth and width."""
    table("shape", "parameters", "nats/token at 1,000,000 tokens")
    for shape in (Shape(*numbers) for numbers in HEADS):
        print(f"| {named(shape)} | {loss(store, shape, 1_000_000)} |", flush=True)


def rates(store: TokenStore) -> None:
    """The learning rate that is best, over sizes, under both parametrizations."""
    factors = (0.25, 0.5, 1.0, 2.0, 4.0)
    table("parametrization", "shape", "parameters", *(f"{factor:g} x 2^-10" for factor in factors))
    for parametrization in PARAMETRIZATIONS:
        for shape in map(shape_for, SIZES[::2]):
            row = (loss(store, shape, 1_000_000, parametrization, factor) for factor in factors)
            print(f"| {parametrization} | {named(shape)} | {' | '.join(row)} |", flush=True)


def sizes(store: TokenStore) -> None:
    """Loss against size, up to the one that people ask for."""
    table("shape", "parameters", "100,000 tokens", "300,000 tokens")
    for shape in map(shape_for, SIZES + LARGE):
        print(f"| {named(shape)} | {loss(store, shape, 100_000)} | {loss(store, shape, 300_000)} |", flush=True)


def llama(store: TokenStore) -> None:
    """Depth of small Llamas at a budget in use."""
    table("shape", "parameters", "nats/token at 1,000,000 tokens, adamw", "muon")
    for shape in (Shape(*numbers) for numbers in LLAMA):
        config, found = llama_family.config_of(shape, store.vocabulary.size, "mutransfer"), []
        optimizers: tuple[Optimizer, ...] = ("adamw", "muon")
        for optimizer in optimizers:
            model = llama_family.build(config, seed=0)
            groups = llama_family.parameter_groups(model, "auto", 0.1, optimizer=optimizer)
            found.append(trained(store, model, groups, 1_000_000, 300_000, optimizer=optimizer))
        size = f"{config.non_embedding_params:,}"
        print(f"| {shape.layers} x {shape.width}, {shape.heads} heads | {size} | {' | '.join(found)} |", flush=True)


STUDIES: dict[str, Callable[[TokenStore], None]] = {
    "shapes": shapes, "heads": heads, "rates": rates, "sizes": sizes, "llama": llama
}  # fmt: skip


def main(data: str, *chosen: str) -> None:
    """Print the tables of the chosen studies, all of them by default."""
    torch.set_num_threads(1)
    store = prepare(data, train_tokens=2_000_000, validation_molecules=4_000)
    for name in chosen or STUDIES:
        STUDIES[name](store)


if __name__ == "__main__":
    main(*sys.argv[1:])
