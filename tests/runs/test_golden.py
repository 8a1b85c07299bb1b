"""Golden numbers: what twenty steps of every model reach, so that no change of a recipe goes unnoticed.

Initial weights, order of the molecules, batches, rates, schedules, losses and validation all have a hand in them. Who
changes one of these on purpose writes the new numbers here; results from before and after are not to be compared.
"""

from __future__ import annotations

import pytest

import chemscale_bench as cs
from chemscale_bench.tracking.store import open_store

NATS_PER_TOKEN = {"chemgpt": 2.295252, "llama": 2.047556, "lstm": 2.456831}
"""On SMILES; test_language_models has those on SELFIES, with either optimizer."""
MEV_PER_ANGSTROM = {
    ("painn", 4640): 384.39725, ("schnet", 5000): 535.14595, ("spookynet", 5000): 2243.01578,
    ("mace", 21_396): 665.23395, ("allegro", 4080): 703.25128, ("nequip", 5000): 476.66635,
}  # fmt: skip


@pytest.mark.usefixtures("tracking_uri")
@pytest.mark.parametrize("model", NATS_PER_TOKEN)
def test_language_models(model: str) -> None:
    run = cs.train(model, task="embedded-lm", vocabulary="smiles", params=1e4, tokens=10_240, device="cpu")
    assert run.reached == pytest.approx({10_240: NATS_PER_TOKEN[model]}, rel=1e-3)


@pytest.mark.usefixtures("tracking_uri")
@pytest.mark.parametrize(("model", "params"), MEV_PER_ANGSTROM)
def test_force_fields(model: str, params: int) -> None:
    run = cs.train(model, task="embedded-ff", params=params, steps=20, train_size=50, device="cpu")
    found = open_store().get_run(run.run_id).data.metrics["val/force_mae_mev_per_angstrom"]
    assert found == pytest.approx(MEV_PER_ANGSTROM[model, params], rel=1e-4)
