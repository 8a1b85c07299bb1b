"""What a step of Muon takes: beside torch's own, and as a share of a training step of so many tokens.

Run: `python -m pytest benchmarks/speed/test_muon.py -s`. All are steps of the same Llama with the same gradients and
alternate; torch's is `torch.optim.Muon` for the hidden matrices and AdamW for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_training import ON_GPU, Silent, prepared

from chemscale_bench.data.store import TokenStore
from chemscale_bench.models import llama
from chemscale_bench.models.llama_network import Llama
from chemscale_bench.speed.measurements import Row
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.language import LanguageObjective
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.muon import optimizer_of
from chemscale_bench.training.schedules import segments

pytestmark = pytest.mark.skipif(ON_GPU, reason="not tried on a GPU")
ROUNDS, STEPS = 5, 10


@pytest.fixture(scope="module")
def store() -> TokenStore:
    return prepared()


def model_of(params: int, size: int) -> Llama:
    """With the same gradients for all."""
    model = llama.build(llama.config_for(params, size), 0)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


def ours(model: Llama, name: Any) -> Callable[[], object]:
    return optimizer_of(name, llama.parameter_groups(model, "auto", 0.1, optimizer=name)).step


def theirs(model: Llama) -> Callable[[], object]:
    groups = llama.parameter_groups(model, "auto", 0.1, optimizer="muon")
    muon = torch.optim.Muon([parameter for group in groups if "parts" in group for parameter in group["params"]])
    adamw = torch.optim.AdamW([group for group in groups if "parts" not in group], fused=True)
    return lambda: (muon.step(), adamw.step())


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - start) / STEPS


@pytest.mark.parametrize("params", [100_000, 1_000_000])
def test_step(params: int, store: TokenStore, record_row: Callable[..., Row]) -> None:
    size = store.vocabulary.size
    steps = ours(model_of(params, size), "muon"), theirs(model_of(params, size))
    rounds = [[seconds(step) for step in steps] for _ in range(ROUNDS + 1)][1:]
    mine, other = zip(*rounds, strict=True)
    record_row(f"step at {params:.0e}", "s", mine, "torch.optim.Muon", other)


@pytest.mark.parametrize("batch", [512, 4096])
@pytest.mark.parametrize("params", [100_000, 1_000_000])
def test_training(params: int, batch: int, store: TokenStore, record_row: Callable[..., Row]) -> None:
    tokens, vocabulary = 8 * batch, store.vocabulary

    def train(name: Any) -> float:
        model = model_of(params, vocabulary.size)
        model.zero_grad()
        objective = LanguageObjective(store.train, vocabulary.start_id, vocabulary.size, 0, batch, torch.device("cpu"))
        trainer = Trainer(
            Fabric(accelerator="cpu", devices=1), model,
            optimizer_of(name, llama.parameter_groups(model, "auto", 0.1, optimizer=name)), objective, Silent(),
            plan=segments([tokens], 0.2), warmup=tokens, clip=1.0, report_every=tokens, save_seconds=1e9,
            pass_limit=4_096,
        )  # fmt: skip
        trainer.run()
        return tokens / trainer.train_seconds

    rounds = [[train(name) for name in ("muon", "adamw")] for _ in range(ROUNDS + 1)][1:]
    mine, other = zip(*rounds, strict=True)
    record_row(f"training at {params:.0e}, {batch} tokens a step", "tokens/s", mine, "AdamW", other)
