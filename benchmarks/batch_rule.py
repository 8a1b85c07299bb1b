"""How many tokens should an optimizer step have, and how long be the warm-up? ChemGPT's losses by rule, rate, budget.

Run: `python -m benchmarks.batch_rule [--data moses] [--params 3e4] [--tokens 1e6,1e7,3e7] [--factors 1,2,4]`

A step has 1/1024 of the tokens seen (ours), a number that grows with their square root and is ours at 1e6, or always
512; each at half, once and twice the learning rate `auto`, which is a rate per step, or at `factors` of it. Then ours
with warm-ups of other shares of the smallest budget and of the largest one, unless `shares` says which, or none.
"""

from __future__ import annotations

import argparse
import math
import sys

from tqdm import tqdm

from benchmarks.recipe import ours
from chemscale_bench.data.prepare import prepare
from chemscale_bench.models.parametrization import LEARNING_RATE
from chemscale_bench.training.schedules import batch_tokens_at

RULES = {
    "1/1024 of the tokens seen": batch_tokens_at,
    "square root": lambda position: max(512, round(math.sqrt(position * 1e6) / 1024)),
    "512": lambda position: 512,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--params", type=float, default=3e4)
    parser.add_argument("--tokens", default="3e5,1e6")
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--factors", default="0.5,1,2")
    parser.add_argument("--shares", default="0.03,0.1,0.3,1")
    chosen = parser.parse_args()
    budgets = [int(float(budget)) for budget in chosen.tokens.split(",")]
    store = prepare(chosen.data, train_tokens=budgets[-1], validation_molecules=2000)
    auto = LEARNING_RATE["mutransfer"]
    rows = [
        (f"{rule}, {factor:g} x the rate", {"batch": RULES[rule], "rate": factor * auto})
        for rule in chosen.rules.split(",")
        for factor in map(float, chosen.factors.split(","))
    ]
    shares = [float(share) for share in filter(None, chosen.shares.split(","))]
    warmups = {round(share * budget) for share in shares for budget in (budgets[0], budgets[-1])}
    rows += [
        (f"warm-up of {tokens:,} tokens", {"warmup": tokens})
        for tokens in sorted(warmups)
        if tokens < 0.5 * budgets[-1]
    ]
    print(f"chemgpt, {chosen.params:.0e} parameters, {chosen.data}, nats per token after\n")
    print(f"| rule | {' | '.join(f'{budget:,}' for budget in budgets)} |")
    print("|---" * (1 + len(budgets)) + "|")
    for name, given in tqdm(rows, file=sys.stderr):
        losses = ours("chemgpt", int(chosen.params), budgets, store, **given)
        print(f"| {name} | {' | '.join(f'{losses[budget]:.4f}' for budget in budgets)} |", flush=True)


if __name__ == "__main__":
    main()
