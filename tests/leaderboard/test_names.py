"""Names on the board tell what a model was trained with."""

from __future__ import annotations

from pathlib import Path

import pytest

from chemscale_bench.leaderboard.entry import Entry
from chemscale_bench.leaderboard.names import tell_if_mixed, titled
from chemscale_bench.leaderboard.planted import plant


def test_of_an_optimizer_that_is_not_adamw_and_of_forces_beside_the_energy(tmp_path: Path) -> None:
    plant(tmp_path, "Ada", sizes=(30_000, 100_000), budgets=(30_000,), seeds=1)
    (path,) = tmp_path.rglob("ada-*.json")
    adamw = Entry.model_validate_json(path.read_text()).runs[0]
    muon, direct = (
        adamw.model_copy(update={"settings": adamw.settings | more})
        for more in ({"optimizer": "muon"}, {"forces": "predicted"})
    )
    cases = [[adamw, adamw], [muon], [adamw, muon, muon], [direct]]
    names = ["llama", "llama (muon)", "llama (adamw and muon)", "llama (forces predicted)"]
    assert [titled("llama", runs) for runs in cases] == names


def test_runs_of_several_optimizers_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    before, muon = {"model": "llama"}, {"model": "llama", "optimizer": "muon"}
    tell_if_mixed([before, before, {"model": "chemgpt", "optimizer": "adamw"}])
    assert not capsys.readouterr().err
    tell_if_mixed([before, before, muon])
    expected = "note: of the runs of llama 2 by adamw and 1 by muon: their losses need not lie on one curve\n"
    assert capsys.readouterr().err == expected
