"""Features of molecules against what molfeat does with the same weights, both in one run, with equal vectors.

Run: `python -m pytest benchmarks/speed/test_featurizer.py -s`. The reference is molfeat's ChemGPT by its source
(`PretrainedHFTransformer`, pooling="mean"): SMILES to SELFIES by `selfies.encoder`, Hugging Face's GPT-Neo on batches
of 64 molecules in the order of the file, padded to the longest, hidden states of all layers, mean over what is no
padding. Counted are molecules, from SMILES to vectors; both sides alternate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import selfies
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.sources import open_source
from chemscale_bench.evaluation import Featurizer
from chemscale_bench.models import chemgpt
from chemscale_bench.models.sizes import Ladder
from chemscale_bench.speed.measurements import Row

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "molecules" / "pubchem_deposits.smi.xz"
ROUNDS, BATCH = 5, 64


@pytest.mark.parametrize(
    ("params", "ladder", "molecules"),
    [(100_000, "balanced", 1024), (1_000_000, "balanced", 512),
     pytest.param(4_749_568, "chemgpt", 256, marks=pytest.mark.slow)],
)  # fmt: skip
def test_molecules_per_second(
    params: int, ladder: Ladder, molecules: int, tmp_path: Path, record_row: Callable[..., Row]
) -> None:
    """Goal: three times molfeat's, vectors equal to 1e-5."""
    data = str(REAL) if REAL.exists() else "embedded"
    store = prepare(data, train_tokens=300_000, validation_molecules=100)
    network = chemgpt.build(chemgpt.config_for(params, store.vocabulary.size, ladder=ladder), 0, ladder=ladder)
    chemgpt.save_pretrained(network, tmp_path, 2, 3, 1)
    store.vocabulary.save_pretrained(tmp_path)
    featurizer = Featurizer(tmp_path, pooling="molfeat").fit()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)

    def molfeat(smiles: list[str]) -> np.ndarray:
        rows = []
        for start in range(0, len(smiles), BATCH):
            strings = [selfies.encoder(text) for text in smiles[start : start + BATCH]]
            inputs = tokenizer(strings, padding=True, truncation=True, max_length=128, return_tensors="pt")
            with torch.no_grad():
                states = model(**inputs, output_hidden_states=True).hidden_states[-1]
            mask = inputs["attention_mask"].unsqueeze(-1).float()
            rows.append(((states * mask).sum(1) / mask.sum(1)).numpy())
        return np.concatenate(rows)

    found = next(open_source(data).in_random_order(4 * molecules, 0, lambda share: None)).molecules
    spelled = featurizer.featurize(found)
    lengths = [len(tokenizer(selfies.encoder(text))["input_ids"]) if not reason else 0
               for text, reason in zip(found, spelled.reasons, strict=True)]  # fmt: skip
    smiles = [text for text, length in zip(found, lengths, strict=True) if 0 < length <= 128][:molecules]
    ours, theirs = featurizer(smiles), molfeat(smiles)
    close = np.isclose(ours, theirs, atol=1e-5, rtol=1e-5).all(1)
    # selfies.encoder writes another string where the file's SMILES is not RDKit's canonical one.
    assert close.mean() > 0.95, close.mean()

    def rate(work: Callable[[list[str]], object]) -> float:
        start = time.perf_counter()
        work(smiles)
        return len(smiles) / (time.perf_counter() - start)

    mine, reference = zip(*[(rate(featurizer), rate(molfeat)) for _ in range(ROUNDS)], strict=True)
    name = f"ChemGPT {params:.2g}, features"
    record_row(name, "molecules/s", mine, f"molfeat's way, padded {BATCH}", reference)
