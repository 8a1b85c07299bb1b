"""Training speed of Llama and CharRNN against what one would use instead, both in one run.

Run: `python -m pytest benchmarks/speed/test_language_models.py -s`. Llama's reference is Hugging Face's
`LlamaForCausalLM`, CharRNN's is what MOSES does: `nn.LSTM` on packed sequences. Both take batches of 16 molecules in
random order, padded to the longest, with AdamW in fp32. Counted are real tokens, never padding. Both sides alternate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.models.llama_network import LlamaConfig
from chemscale_bench.models.lstm import LAYERS, CharRNNConfig
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.speed.measurements import Row
from chemscale_bench.training.contracts import Events
from chemscale_bench.training.language import LanguageObjective
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.schedules import segments

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "molecules" / "pubchem_deposits.smi.xz"
ROUNDS, SECONDS = 5, 2.0
START, PAD = 2, 1


@pytest.fixture(scope="module")
def store() -> TokenStore:
    """Real molecules where there are some, else those inside RDKit."""
    return prepare(str(REAL) if REAL.exists() else "embedded", train_tokens=2_000_000, validation_molecules=100)


class Silent(Events):
    """Events that go nowhere."""


class HuggingFaceLlama(nn.Module):
    """Logits of padded ids (B, T)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        layers, width, heads = config.shape
        self.model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=config.vocabulary_size, hidden_size=width, num_hidden_layers=layers,
                num_attention_heads=heads, intermediate_size=config.hidden_channels, tie_word_embeddings=True,
            )
        )  # fmt: skip

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        logits: Tensor = self.model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
        return logits


class MosesRNN(nn.Module):
    """Logits of padded ids (B, T), as MOSES' CharRNN computes them."""

    def __init__(self, config: CharRNNConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary_size, config.width, padding_idx=PAD)
        self.lstm = nn.LSTM(config.width, config.width, LAYERS, batch_first=True)
        self.head = nn.Linear(config.width, config.vocabulary_size)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        logits: Tensor = self.head(states)
        return logits


def reference(store: TokenStore, model: nn.Module) -> Callable[[], int]:
    """One optimizer step of it; gives the real tokens that it predicted."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    molecules: Iterator[np.ndarray] = store.train.sequences()

    def step() -> int:
        batch = [torch.from_numpy(next(molecules).astype(np.int64)) for _ in range(16)]
        lengths = torch.tensor([len(each) for each in batch])
        targets = nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=PAD)
        ids = torch.cat([torch.full((len(batch), 1), START), targets[:, :-1]], 1)
        logits = model(ids, lengths)
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return int(lengths.sum())

    return step


REFERENCES: dict[str, tuple[str, type[nn.Module]]] = {
    "llama": ("Hugging Face Llama", HuggingFaceLlama),
    "lstm": ("torch's LSTM on packed sequences", MosesRNN),
}


@pytest.mark.parametrize("size", ["1e5", "1e6"])
@pytest.mark.parametrize("model", REFERENCES)
def test_real_tokens_per_second(model: str, size: str, store: TokenStore, record_row: Callable[..., Row]) -> None:
    """Goal: 1.5 times the reference at 1e6 on two CPU cores."""
    family, vocabulary = LANGUAGE_MODELS.family(model), store.vocabulary
    config = family.config_for(int(float(size)), vocabulary.size)
    network = family.build(config, 0)
    optimizer = torch.optim.AdamW(family.parameter_groups(network, "auto", 0.1), betas=(0.9, 0.95), fused=True)
    device = torch.device("cpu")
    objective = LanguageObjective(store.train, vocabulary.start_id, vocabulary.size, 0, 2_048, device)
    trainer = Trainer(
        Fabric(accelerator="cpu", devices=1), network, optimizer, objective, Silent(), plan=segments([10**9], 0.2),
        warmup=10**8, clip=1.0, report_every=10**7, save_seconds=1e9, pass_limit=4_096,
    )  # fmt: skip
    name, theirs_is = REFERENCES[model]
    step = reference(store, theirs_is(config))

    def our_step() -> int:
        before = trainer.position
        for due in trainer.step(trainer.plan[0]):
            trainer.perform(due)
        return trainer.position - before

    def rate(work: Callable[[], int]) -> float:
        start, tokens = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            tokens += work()
        return tokens / (time.perf_counter() - start)

    for _ in range(3):
        our_step(), step()
    mine, theirs = zip(*[(rate(our_step), rate(step)) for _ in range(ROUNDS)], strict=True)
    record_row(f"{family.TITLE} {size} in fp32, training", "real tokens/s", mine, f"{name}, padded 16", theirs)
