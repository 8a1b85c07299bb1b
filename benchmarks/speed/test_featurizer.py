"""Features of molecules against molfeat's own ChemGPT on the same checkpoint, both in one run, with equal vectors.

Run: `OMP_NUM_THREADS=2 python -m pytest benchmarks/speed/test_featurizer.py -s`. The reference is
`molfeat.trans.pretrained.PretrainedHFTransformer` with pooling="mean", given 16 molecules at a time, about its fastest
way, since it pads all that it is given to the longest. Counted are molecules, from SMILES to vectors, models loaded
before; the sides alternate. Our codec remembers fragments that it has seen: *cold* is a featurizer that has read none
of these molecules, *warm* one that has read them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.sources import open_source
from chemscale_bench.data.spelling import spell
from chemscale_bench.evaluation import Featurizer
from chemscale_bench.models import chemgpt
from chemscale_bench.models.sizes import Ladder
from chemscale_bench.speed.measurements import Row

pytest.importorskip("molfeat", reason="molfeat is not installed, it comes with the extra [molfeat]")
from molfeat.trans.pretrained import PretrainedHFTransformer
from molfeat.trans.pretrained.hf_transformers import HFModel

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "molecules" / "pubchem_deposits.smi.xz"
ROUNDS, BATCH, MOST_TOKENS = 5, 16, 128  # molfeat cuts off what is longer


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
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    hugging_face = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    theirs = PretrainedHFTransformer(
        kind=HFModel.from_pretrained(hugging_face, tokenizer), notation="selfies", pooling="mean",
        max_length=MOST_TOKENS,
    )  # fmt: skip

    def molfeat(smiles: list[str]) -> np.ndarray:
        return np.concatenate([theirs(smiles[start : start + BATCH]) for start in range(0, len(smiles), BATCH)])

    def featurizer() -> Featurizer:
        return Featurizer(tmp_path, pooling="molfeat").fit()

    found = next(open_source(data).in_random_order(4 * molecules, 0, lambda share: None)).molecules
    warm = featurizer()
    lengths = spell(found, warm.checkpoint_.vocabulary, warm.codec_).lengths
    smiles = [text for text, length in zip(found, lengths, strict=True) if 0 < length <= MOST_TOKENS - 2][:molecules]
    np.testing.assert_allclose(warm(smiles), molfeat(smiles), atol=1e-5, rtol=1e-5)

    def rate(work: Callable[[list[str]], object]) -> np.ndarray:
        """Molecules per second of wall and of processor time."""
        begin, begin_processor = time.perf_counter(), time.process_time()
        work(smiles)
        return len(smiles) / np.array([time.perf_counter() - begin, time.process_time() - begin_processor])

    rounds = np.array([(rate(featurizer()), rate(molfeat), rate(warm)) for _ in range(ROUNDS)])  # (round, who, clock)
    for clock, time_of in enumerate(("", ", processor time")):
        cold, reference, again = rounds[..., clock].T
        name = f"ChemGPT {params:.2g}, features, threads: {torch.get_num_threads()}{time_of}"
        record_row(f"{name}, cold", "molecules/s", cold, f"molfeat, {BATCH} at a time", reference)
        record_row(f"{name}, warm", "molecules/s", again, f"molfeat, {BATCH} at a time", reference)
