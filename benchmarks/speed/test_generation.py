"""Molecules drawn per second against `generate` of Hugging Face, from the same checkpoints, both in one run.

Run: `python -m pytest benchmarks/speed/test_generation.py -s`. The models have learned from 1e5 tokens first, so that
molecules are as long as real ones: an untrained model would write long ones, which costs their side more, since a batch
of theirs takes as long as its longest molecule. Theirs draws with a cache of keys and values, batches of 256, from all
tokens. Of either side counts the better of one thread and as many as the machine has cores; beside it, processor time
with one thread, which others on the machine disturb less. Both sides alternate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import joblib
import pytest
import torch
from lightning.fabric import Fabric
from transformers import AutoModelForCausalLM

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.evaluation.sampling import sample
from chemscale_bench.models.packed import LanguageModel
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.speed.measurements import Row
from chemscale_bench.training.contracts import Events
from chemscale_bench.training.language import LanguageObjective
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.schedules import segments

TOKENS, ROUNDS = 100_000, 3
OURS, THEIRS = 2_000, 256  # molecules of a round


@pytest.fixture(scope="module")
def store() -> TokenStore:
    return prepare("embedded", train_tokens=TOKENS, validation_molecules=100)


class Silent(Events):
    """Events that go nowhere."""


def trained(model: str, size: str, store: TokenStore) -> LanguageModel:
    family, vocabulary = LANGUAGE_MODELS.family(model), store.vocabulary
    network: LanguageModel = family.build(family.config_for(int(float(size)), vocabulary.size), 0)
    optimizer = torch.optim.AdamW(family.parameter_groups(network, "auto", 0.1), betas=(0.9, 0.95), fused=True)
    objective = LanguageObjective(
        store.train, vocabulary.start_id, vocabulary.size, 0, None, torch.device("cpu")
    )  # fmt: skip
    trainer = Trainer(
        Fabric(accelerator="cpu", devices=1), network, optimizer, objective, Silent(), plan=segments([TOKENS], 0.2),
        warmup=TOKENS // 5, clip=1.0, report_every=10**7, save_seconds=1e9, pass_limit=4_096,
    )  # fmt: skip
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # small steps gain nothing from more, and wait for one another where others work
    trainer.run()
    torch.set_num_threads(before)
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("size", ["1e5", "1e6"])
@pytest.mark.parametrize("model", ["chemgpt", "llama"])
def test_molecules_per_second(
    model: str, size: str, store: TokenStore, tmp_path: Path, record_row: Callable[..., Row]
) -> None:
    """Goal: 5 times theirs on two cores."""
    network, family, vocabulary = trained(model, size, store), LANGUAGE_MODELS.family(model), store.vocabulary
    family.save_pretrained(network, tmp_path, vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
    reference = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    starts = torch.full((THEIRS, 1), vocabulary.start_id)
    cores = joblib.cpu_count()

    def our_work(threads: int) -> int:
        sample(network, vocabulary, OURS, threads=threads)
        return OURS

    def their_work(threads: int) -> int:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            reference.generate(starts, attention_mask=torch.ones_like(starts))
        return THEIRS

    def rates(work: Callable[[int], int]) -> tuple[float, float]:
        """Molecules per second with the better number of threads, and per second of processor time with one."""
        found = {}
        for threads in {1, cores}:
            begin, begin_cpu = time.perf_counter(), time.process_time()
            count = work(threads)
            found[threads] = count / (time.perf_counter() - begin), count / (time.process_time() - begin_cpu)
        return max(wall for wall, _ in found.values()), found[1][1]

    before = torch.get_num_threads()
    sample(network, vocabulary, 300)
    mine, theirs = zip(*[(rates(our_work), rates(their_work)) for _ in range(ROUNDS)], strict=True)
    torch.set_num_threads(before)
    for place, kind in enumerate(("", ", processor time, one thread")):
        ours_here, theirs_here = ([rate[place] for rate in side] for side in (mine, theirs))
        what = f"{family.TITLE} {size} in fp32, generation{kind}"
        record_row(what, "molecules/s", ours_here, "Hugging Face generate, batch 256", theirs_here)
