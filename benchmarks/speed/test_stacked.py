"""Many small trainings as one stack against the same one after another, on one device.

Run: `python -m pytest benchmarks/speed/test_stacked.py -s`. Both sides are our own loop, with its CUDA graphs on a GPU;
what a stack gains beside them is that launches are shared, and on a CPU that each core has members of its own. The gain
falls as a step's tokens rise, since one member alone then keeps the device busy: the rows show that curve. A study's
trial with `batch_tokens=auto` takes 512 tokens a step until it has seen 524,288.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from test_training import DEVICE, ROUNDS, Silent, clock, ours, prepared

from chemscale_bench.data.store import TokenStore
from chemscale_bench.models.sizes import shape_for
from chemscale_bench.speed.measurements import Row
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.stacked import Stack

CASES = (
    [("1e5", 64, 1024), ("1e5", 64, 4096), ("1e6", 64, 1024), ("1e6", 64, 8192)]
    if DEVICE.type == "cuda"
    else [("1e5", 16, 64), ("1e5", 16, 256), ("1e5", 16, 512), ("1e5", 16, 1024), ("3e5", 16, 64), ("3e5", 16, 512)]
)
SECONDS_A_SIDE = 1.0


@pytest.fixture(scope="module")
def store() -> TokenStore:
    return prepared()


@pytest.mark.parametrize(("size", "members", "batch"), CASES)
def test_trained_tokens_per_second(
    size: str, members: int, batch: int, store: TokenStore, record_row: Callable[..., Row]
) -> None:
    """Goals: 3 times on two CPU cores with 16 members, 20 times on an H200 with 64."""

    def trainers(count: int) -> list[Trainer]:
        return [ours(store, shape_for(int(float(size))), 10**8, Silent(), batch=batch, seed=k) for k in range(count)]

    alone, together = trainers(1)[0], trainers(members)
    stack = Stack(members, together[0])
    own, each = alone.steps_due(), [trainer.steps_due() for trainer in together]

    def rate(step: Callable[[], None], tokens: int) -> float:
        start, done = clock(), 0
        while time.perf_counter() - start < SECONDS_A_SIDE:
            step()
            done += tokens
        return done / (clock() - start)

    def one() -> None:
        alone.perform(next(own))

    def all_of_them() -> None:
        stack.perform([next(steps) for steps in each])

    for _ in range(4):  # what is compiled, recorded and allocated
        one()
        all_of_them()
    pairs = [(rate(all_of_them, members * batch), rate(one, batch)) for _ in range(ROUNDS)]
    stacked, single = zip(*pairs, strict=True)
    record_row(f"{members} stacked trials, {size}, {batch} tokens a step", "tokens/s", stacked, "one by one", single)
