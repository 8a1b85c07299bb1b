"""How many tokens should an optimizer step have, how fast should it go, and how long be the warm-up?

Run: `python -m benchmarks.batch_rule [--data moses] [--params 3e4] [--tokens 1e6,1e7] [--factors 1,2] [--warmups 1e5]`

A step has 1/1024 of the tokens seen (ours), a number that grows with their square root and is ours at 1e6, or always
512. Every rule is combined with every learning rate, a factor times the one that was found after a short warm-up, and
with every warm-up.
"""

from __future__ import annotations

import argparse
import math
import sys
from itertools import product

from tqdm import tqdm

from benchmarks.recipe import ours
from chemscale_bench.data.prepare import prepare
from chemscale_bench.models import lstm
from chemscale_bench.models.parametrization import LEARNING_RATE, MUON_RATE
from chemscale_bench.training.schedules import batch_tokens_at

RULES = {
    "1/1024 of the tokens seen": batch_tokens_at,
    "square root": lambda position: max(512, round(math.sqrt(position * 1e6) / 1024)),
    "512": lambda position: 512,
}
RATES = {
    "chemgpt": ("adamw", LEARNING_RATE["mutransfer"]),
    "llama": ("muon", MUON_RATE),
    "lstm": ("adamw", lstm.LEARNING_RATE),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--model", default="chemgpt", choices=RATES)
    parser.add_argument("--params", type=float, default=3e4)
    parser.add_argument("--tokens", default="3e5,1e6")
    parser.add_argument("--rules", default="1/1024 of the tokens seen", help=f"with commas, of {', '.join(RULES)}")
    parser.add_argument("--factors", default="0.5,1,2")
    parser.add_argument("--warmups", default="", help="tokens, with commas; by default .3 of the smallest budget")
    chosen = parser.parse_args()
    budgets = [int(float(budget)) for budget in chosen.tokens.split(",")]
    warmups = [int(float(tokens)) for tokens in filter(None, chosen.warmups.split(","))] or [round(0.3 * budgets[0])]
    store = prepare(chosen.data, train_tokens=budgets[-1], validation_molecules=2000)
    optimizer, rate = RATES[chosen.model]
    print(f"{chosen.model}, {chosen.params:.0e} parameters, {chosen.data}, nats per token after\n")
    print(f"| tokens a step | rate | warm-up | {' | '.join(f'{budget:,}' for budget in budgets)} |")
    print("|---" * (3 + len(budgets)) + "|")
    rows = list(product(chosen.rules.split(","), map(float, chosen.factors.split(",")), warmups))
    for rule, factor, warmup in tqdm(rows, file=sys.stderr):
        losses = ours(
            chosen.model, int(chosen.params), budgets, store,
            optimizer=optimizer, rate=factor * rate, batch=RULES[rule], warmup=warmup,
        )  # fmt: skip
        told = " | ".join(f"{losses[budget]:.4f}" for budget in budgets)
        print(f"| {rule} | {factor:g} x | {warmup:,} | {told} |", flush=True)


if __name__ == "__main__":
    main()
