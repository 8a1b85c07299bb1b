"""Is the recipe strong? Our networks as we train them, beside the same ones as `transformers` makes and trains them.

Run: `python -m benchmarks.recipe [--data moses] [--params 1e5,3e5] [--tokens 3e5] [--models chemgpt,llama]`

The plain recipe is the network that `transformers` makes of our config.json, with its own initial weights; AdamW
(betas .9 and .95, decay .1), a warm-up over the first 3 % of the tokens, a cosine to a tenth of the peak, and the best
of five learning rates. Molecules, their order, tokens of each step, validation and seed are the same.
benchmarks/recipe.md keeps the result.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.models.packed import LanguageModel
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.training.contracts import Events, Report
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.language import LanguageObjective, validate
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.muon import optimizer_of
from chemscale_bench.training.schedules import segments

PLAIN_RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
WARMUP, END = 0.03, 0.1
CPU = torch.device("cpu")


class Silent(Events):
    """Nobody watches."""

    def report(self, report: Report) -> None:
        """Nothing."""

    def budget_reached(self, budget: int) -> None:
        """Nothing."""

    def save(self, state: dict[str, Any]) -> None:
        """Nothing."""

    def stop_requested(self) -> None:
        """Never."""


def objective_of(store: TokenStore) -> LanguageObjective:
    """Molecules in the order that all share."""
    return LanguageObjective(store.train, store.vocabulary.start_id, store.vocabulary.size, 0, None, CPU)


def loss_of(model: LanguageModel, store: TokenStore) -> float:
    """Validation loss in nats per token."""
    return validate(model, store.validation, store.vocabulary.start_id, CPU).metrics_of("val")[
        "val/loss_nats_per_token"
    ]


def ours(name: str, optimizer: Any, params: int, tokens: int, store: TokenStore) -> float:
    """The loss of our recipe, at the learning rate `auto`."""
    family, vocabulary = LANGUAGE_MODELS.family(name), store.vocabulary
    model = family.build(family.config_for(params, vocabulary.size), 0)
    rule = optimizer_of(optimizer, family.parameter_groups(model, "auto", 0.1, optimizer=optimizer))
    Trainer(
        Fabric(accelerator="cpu", devices=1), model, rule, objective_of(store), Silent(),
        plan=segments([tokens], 0.2), warmup=round(0.3 * tokens), clip=1.0, report_every=tokens, save_seconds=1e9,
        pass_limit=4096,
    ).run()  # fmt: skip
    return loss_of(model, store)


def plain(name: str, rate: float, params: int, tokens: int, store: TokenStore) -> float:
    """The loss of the plain recipe at a learning rate."""
    import transformers

    transformers.utils.logging.disable_progress_bar()

    family, vocabulary = LANGUAGE_MODELS.family(name), store.vocabulary
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        fresh = family.build(family.config_for(params, vocabulary.size), 0)
        family.save_pretrained(fresh, folder, vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
        torch.manual_seed(0)
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
    chosen = parser.parse_args()
    tokens = int(chosen.tokens)
    store = prepare(chosen.data, train_tokens=tokens, validation_molecules=2000)
    heads = [f"plain, {rate:g}" for rate in PLAIN_RATES] + ["ours, adamw", "ours, muon"]
    print(f"{tokens:,} tokens of {chosen.data}, nats per token\n\n| model | params | {' | '.join(heads)} |")
    print("|---" * (2 + len(heads)) + "|")
    for name in chosen.models.split(","):
        for params in map(float, chosen.params.split(",")):
            given = name, round(params), tokens, store
            losses = [
                plain(name, rate, *given[1:])
                for rate in tqdm(PLAIN_RATES, desc=f"{name} {params:.0e}", file=sys.stderr)
            ]
            losses += [ours(name, optimizer, *given[1:]) for optimizer in ("adamw", "muon")]
            print(f"| {name} | {params:.0e} | {' | '.join(f'{loss:.4f}' for loss in losses)} |", flush=True)


if __name__ == "__main__":
    main()
