"""Training speed of ChemGPT against the reference, both in one run, and the overhead of loop and tracking.

Run: `python -m pytest benchmarks/speed/test_training.py -s`. The reference is what LitMatter does: Hugging Face's
GPT-Neo, eager, fp32, batches of 16 molecules padded to the longest, AdamW. Counted are real tokens, never padding.
Both sides alternate, and medians are compared. On a GPU ours runs in bf16; on a CPU in both, and in bf16 against the
reference in bf16, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.models.chemgpt import build_shape, parameter_groups
from chemscale_bench.models.gpt_neo import GPTNeoConfig
from chemscale_bench.models.sizes import Shape, shape_for
from chemscale_bench.speed.measurements import Row
from chemscale_bench.tracking.recorder import Recorder
from chemscale_bench.tracking.store import open_store
from chemscale_bench.training.contracts import Events, Report
from chemscale_bench.training.devices import ARITHMETIC
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.language import LanguageObjective
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.schedules import segments

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "molecules" / "pubchem_deposits.smi.xz"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = DEVICE.type == "cuda"
BF16_ON_GPU = [(size, "bf16", "fp32") for size in ("1e5", "1e6", "1e7", "1e8")]
ON_CPU = [("1e6", "fp32", "fp32"), ("1e7", "fp32", "fp32"), ("1e7", "bf16", "fp32"), ("1e7", "bf16", "bf16")]
ROUNDS = 5


@pytest.fixture(scope="module")
def store() -> TokenStore:
    return prepared()


def prepared() -> TokenStore:
    """Real molecules where there are some, else those inside RDKit."""
    return prepare(str(REAL) if REAL.exists() else "embedded", train_tokens=2_000_000, validation_molecules=100)


class Silent(Events):
    """Events that go nowhere; the recorder, if there is one, gets what a run would send it."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self.recorder = recorder

    def report(self, report: Report) -> None:
        if self.recorder:
            values = {"train/loss_nats_per_token": report.loss, "train/learning_rate": report.learning_rate}
            self.recorder.metrics(values | {"train/gradient_norm": report.gradient_norm}, report.position)


def ours(
    store: TokenStore, shape: Shape, tokens: int, events: Silent, batch: int | None = None, seed: int = 0,
    precision: str = "bf16" if ON_GPU else "fp32",
) -> Trainer:  # fmt: skip
    """The trainer of a run, as `chemgpt` sets it up."""
    vocabulary = store.vocabulary
    model = build_shape(shape, vocabulary.size, "mutransfer", seed)
    if ON_GPU and batch is None:
        for block in model.blocks:
            block.compile(dynamic=True)
    optimizer = torch.optim.AdamW(
        parameter_groups(model, 1e-3, 0.1, parametrization="mutransfer"), betas=(0.9, 0.95), fused=True
    )
    batch = batch or (131_072 if ON_GPU else 2_048)
    objective = LanguageObjective(store.train, vocabulary.start_id, vocabulary.size, seed, batch, DEVICE)
    objective.diverged_loss = float("inf")  # what is learned in so few steps does not matter here
    fabric = Fabric(accelerator=DEVICE.type, devices=1, precision=ARITHMETIC[precision])
    return Trainer(
        fabric, model, optimizer, objective, events, plan=segments([tokens], 0.2), warmup=tokens // 10, clip=1.0,
        report_every=max(1, tokens // 400), save_seconds=1e9, pass_limit=131_072 if ON_GPU else 4_096,
    )  # fmt: skip


def reference(store: TokenStore, shape: Shape, precision: str) -> Callable[[], int]:
    """One optimizer step of the reference; gives the real tokens that it predicted."""
    layers = [[["global", "local"], shape.layers // 2], *[[["global"], 1]] * (shape.layers % 2)]
    config = transformers.GPTNeoConfig(
        vocab_size=store.vocabulary.size, hidden_size=shape.width, num_layers=shape.layers, num_heads=shape.heads,
        attention_types=layers, attn_implementation="eager", bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    model = transformers.GPTNeoForCausalLM(config).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    molecules: Iterator[np.ndarray] = store.train.sequences()

    def step() -> int:
        batch = [next(molecules) for _ in range(16)]
        longest = max(map(len, batch)) + 1
        ids = torch.full((16, longest), 1)
        for row, molecule in enumerate(batch):
            ids[row, : len(molecule) + 1] = torch.tensor([2, *molecule.tolist()])
        ids = ids.to(DEVICE)
        mask = ids != 1
        labels = ids.masked_fill(~mask, -100)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
            out = model(input_ids=ids, attention_mask=mask.long(), labels=labels, use_cache=False)
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return sum(map(len, batch))

    return step


def clock() -> float:
    """Wall time once the device has finished."""
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


@pytest.mark.parametrize(("size", "precision", "theirs_in"), BF16_ON_GPU if ON_GPU else ON_CPU)
def test_real_tokens_per_second(
    size: str, precision: str, theirs_in: str, store: TokenStore, record_row: Callable[..., Row]
) -> None:
    """Goal: 2 times the reference on two CPU cores; on an H200 10 times, and 50 % MFU at 1e8."""
    shape = shape_for(int(float(size)))
    step = reference(store, shape, theirs_in)
    trainer = ours(store, shape, 10**9, Silent(), precision=precision)
    seconds_a_side = 1.0 if ON_GPU else 2.0

    def rate(work: Callable[[], int]) -> float:
        start, tokens = clock(), 0
        while clock() - start < seconds_a_side:
            tokens += work()
        return tokens / (clock() - start)

    def our_step() -> int:
        before = trainer.position
        for due in trainer.step(trainer.plan[0]):
            trainer.perform(due)
        return trainer.position - before

    for _ in range(4):
        our_step(), step()
    mine, theirs = zip(*[(rate(our_step), rate(step)) for _ in range(ROUNDS)], strict=True)
    lengths = store.train.lengths
    config = GPTNeoConfig(shape, store.vocabulary.size)
    flops = config.flops_per_token(float((lengths * (lengths + 1) / 2).sum() / lengths.sum()))
    both = "both " if precision == theirs_in != "fp32" else ""
    record_row(
        f"ChemGPT {size} {both}in {precision}, training", "real tokens/s", mine,
        f"Hugging Face GPT-Neo in {theirs_in}, padded 16", theirs, flops=flops, precision=precision,
    )  # fmt: skip


@pytest.mark.slow
def test_overhead_of_the_loop_and_of_tracking(
    store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_row: Callable[..., Row]
) -> None:
    """Goal: under 3 % of the time outside forward, backward and optimizer at 1e7 parameters, tracking under 1 %."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    run_id = open_store().create_run("0").info.run_id
    with Recorder(run_id) as recorder:
        trainer = ours(store, shape_for(10_000_000), 20_000_000 if ON_GPU else 60_000, Silent(recorder))
        spent = {"model": 0.0, "tracking": 0.0}

        def timed(name: str, owner: object, attribute: str) -> None:
            inner = getattr(owner, attribute)

            def outer(*arguments: Any, **named: Any) -> Any:
                start = clock()
                try:
                    return inner(*arguments, **named)
                finally:
                    spent[name] += clock() - start

            monkeypatch.setattr(owner, attribute, outer)

        timed("model", trainer.module, "forward")
        timed("model", trainer.fabric, "backward")
        timed("model", trainer.optimizer, "step")
        timed("tracking", trainer.events, "report")
        start = clock()
        trainer.run()
        total = clock() - start
        in_background = clock()
        recorder.deliver()
        in_background = clock() - in_background
    what = "ChemGPT 1e7, time"
    record_row(f"{what} outside forward, backward, optimizer", "%", 100 * (1 - spent["model"] / total))
    record_row(f"{what} spent on tracking", "%", 100 * (spent["tracking"] + in_background) / total)
