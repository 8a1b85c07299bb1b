"""Is the recipe strong? Our networks as we train them, beside the same ones as `transformers` makes and trains them.

Run: `python -m benchmarks.recipe [--data moses] [--params 1e5,3e5] [--tokens 3e5] [--models chemgpt,llama] [--seeds 3]`

The plain recipe is the network that `transformers` makes of our config.json, with its own initial weights; AdamW
(betas .9 and .95, decay .1), a warm-up over the first 3 % of the tokens, a cosine to a tenth of the peak, and the best
of five learning rates, which is the first seed's. Molecules, their order, tokens of each step and validation are the
same. benchmarks/recipe.md keeps the result.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.models.language_models import rated_groups
from chemscale_bench.models.packed import LanguageModel
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.training.contracts import Events, Report
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.language import LanguageObjective, validate
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.muon import optimizer_of
from chemscale_bench.training.schedules import batch_tokens_at, segments

PLAIN_RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
WARMUP, END = 0.03, 0.1
CPU = torch.device("cpu")


class Losses(Events):
    """Validates at every budget, and hears nothing else.

    Args:
        model: under training.
        store: whose validation molecules it is to foretell.
    """

    def __init__(self, model: LanguageModel, store: TokenStore) -> None:
        self.model, self.store = model, store
        self.reached: dict[int, float] = {}

    def report(self, report: Report) -> None:
        """Nothing."""

    def measure(self, budget: int) -> float:
        """The validation loss."""
        return loss_of(self.model, self.store)

    def budget_reached(self, budget: int, measured: float) -> None:
        """Keep it."""
        self.reached[budget] = measured

    def save(self, state: dict[str, Any]) -> None:
        """Nothing."""

    def stop_requested(self) -> None:
        """Never."""


def objective_of(store: TokenStore) -> LanguageObjective:
    """Molecules in the order that all share."""
    return LanguageObjective(store.train, store.vocabulary.start_id, store.vocabulary.size, 0, None, CPU)


def loss_of(model: LanguageModel, store: TokenStore) -> float:
    """Validation loss in nats per token."""
    return validate(model, store.validation, store.vocabulary.start_id, CPU).metrics()["val/loss_nats_per_token"]


def ours(
    name: str, params: int, budgets: list[int], store: TokenStore, *, optimizer: Any = "adamw", seed: int = 0,
    rate: float | Literal["auto"] = "auto", warmup: int | None = None, batch: Callable[[int], int] = batch_tokens_at,
) -> dict[int, float]:  # fmt: skip
    """The loss of our recipe at every budget.

    Args:
        name: of the model.
        params: its size.
        budgets: tokens, ascending.
        store: molecules.
        optimizer: adamw or muon.
        seed: of the initial weights.
        rate: peak learning rate.
        warmup: tokens; None for .3 of the smallest budget.
        batch: tokens of the step that starts behind so many.
    """
    family = LANGUAGE_MODELS.family(name)
    model = family.build(family.config_for(params, store.vocabulary.size), seed)
    warmup = round(0.3 * budgets[0]) if warmup is None else warmup
    rule = optimizer_of(optimizer, rated_groups(name, model, rate, 0.1, warmup, optimizer)[0])
    objective, losses = objective_of(store), Losses(model, store)
    objective.batch_amount = batch  # type: ignore[method-assign]
    Trainer(
        Fabric(accelerator="cpu", devices=1), model, rule, objective, losses, plan=segments(budgets, 0.2),
        warmup=warmup, clip=1.0, report_every=budgets[0],
        save_seconds=1e9, pass_limit=4096,
    ).run()  # fmt: skip
    return losses.reached


def plain(name: str, rate: float, params: int, tokens: int, store: TokenStore, seed: int) -> float:
    """The loss of the plain recipe at a learning rate."""
    import transformers

    transformers.utils.logging.disable_progress_bar()

    family, vocabulary = LANGUAGE_MODELS.family(name), store.vocabulary
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        fresh = family.build(family.config_for(params, vocabulary.size), 0)
        family.save_pretrained(fresh, folder, vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
        torch.manual_seed(seed)
        auto: Any = transformers.AutoModelForCausalLM  # without types
        model = auto.from_config(transformers.AutoConfig.from_pretrained(folder))
        optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        objective, cursor, position = objective_of(store), None, 0
        while position < tokens:
            amount = min(objective.batch_amount(position), tokens - position)
            items, cursor = objective.take(cursor, amount)
            done = position / tokens
            cosine = END + (1 - END) * (1 + math.cos(math.pi * max(0.0, done - WARMUP) / (1 - WARMUP))) / 2
            optimizer.param_groups[0]["lr"] = rate * min(cosine, (done + amount / tokens) / WARMUP)
            (summed(model, items, store) / amount).backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            position += amount
        model.save_pretrained(folder)
        return loss_of(family.load_pretrained(folder), store)


def summed(model: Any, items: np.ndarray, store: TokenStore) -> torch.Tensor:
    """The summed loss of molecules that are padded to the longest of them."""
    longest = int(items[:, 1].max())
    rows = np.full((len(items), longest + 1), store.vocabulary.pad_id)
    rows[:, 0] = store.vocabulary.start_id
    mask = np.arange(longest) < items[:, 1:]
    rows[:, 1:][mask] = np.concatenate([store.train.tokens[start : start + length] for start, length in items])
    ids = torch.from_numpy(rows)
    # What is padding lies behind what is not, so that nothing attends to it.
    logits = model(input_ids=ids[:, :-1]).logits
    return functional.cross_entropy(logits[torch.from_numpy(mask)], ids[:, 1:][torch.from_numpy(mask)], reduction="sum")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--params", default="1e5,3e5")
    parser.add_argument("--tokens", type=float, default=3e5)
    parser.add_argument("--models", default="chemgpt,llama")
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    tokens, more = int(chosen.tokens), range(1, chosen.seeds)
    store = prepare(chosen.data, train_tokens=tokens, validation_molecules=2000)
    heads = [f"plain, {rate:g}" for rate in PLAIN_RATES] + ["best plain", "ours, adamw", "ours, muon"]
    print(f"{tokens:,} tokens of {chosen.data}, nats per token\n\n| model | params | {' | '.join(heads)} |")
    print("|---" * (2 + len(heads)) + "|")
    for name in chosen.models.split(","):
        for params in map(int, map(float, chosen.params.split(","))):
            bar = tqdm(total=len(PLAIN_RATES) + 2 + 3 * len(more), desc=f"{name} {params:.0e}", file=sys.stderr)

            def counted(loss: float, bar: Any = bar) -> float:
                bar.update()
                return loss

            rates = {rate: counted(plain(name, rate, params, tokens, store, 0)) for rate in PLAIN_RATES}
            best = min(rates, key=rates.__getitem__)
            all_seeds = [[rates[best], *(counted(plain(name, best, params, tokens, store, seed)) for seed in more)]]
            for optimizer in ("adamw", "muon"):
                given = name, params, [tokens], store
                all_seeds.append(
                    [counted(ours(*given, optimizer=optimizer, seed=seed)[tokens]) for seed in range(chosen.seeds)]
                )
            bar.close()
            cells = [f"{loss:.4f}" for loss in rates.values()] + [
                f"{np.mean(losses):.4f}" + (f" +- {np.std(losses, ddof=1):.4f}" if len(losses) > 1 else "")
                for losses in all_seeds
            ]
            print(f"| {name} | {params:.0e} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
