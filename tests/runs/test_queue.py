"""What a search is over: all that can be searched, or what its user names."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from commands import call

from benchmarks.record_curves import curves
from chemscale_bench.errors import UserError
from chemscale_bench.runs.queue import searched
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.settings.tune import TuneSettings
from chemscale_bench.tuning.study import open_storage


def names(family: str, batch: str, **given: object) -> list[str]:
    return [each.name for each in searched(TuneSettings(model="painn", **given), family, batch)]


def test_all_is_searched_or_what_is_named() -> None:
    everything = ["learning_rate", "batch_tokens", "warmup", "weight_decay", "decay"]
    assert names("language_model", "batch_tokens") == everything
    without = [name for name in everything if name != "batch_tokens"]
    assert names("language_model", "batch_tokens", batch_tokens=512) == without
    chosen = "learning_rate, batch_frames"
    assert names("force_field", "batch_frames", search=chosen) == ["learning_rate", "batch_frames"]
    assert names("force_field", "batch_frames", search="decay", batch_frames=5) == ["decay"]


@pytest.mark.parametrize(
    ("search", "given"),
    [("rate", {}), ("decay,decay", {}), ("", {}), ("learning_rate,batch_frames", {"batch_frames": 10})],
)
def test_names_that_cannot_be_searched_are_refused(search: str, given: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"each once, got '{search}'; name some of learning_rate,"):
        names("force_field", "batch_frames", search=search, **given)


def test_what_is_not_searched_is_as_in_a_training_and_known_to_those_who_read_curves(
    tracking_uri: str, chemscale_home: Path
) -> None:
    study = ["tune", "--task", "embedded-ff", "--molecule", "ethanol", "--model", "schnet", "--params", "1e4"]
    short = ["--train_size", "50", "--steps", "40", "--device", "cpu", "--trials", "2", "--pruner", "none"]
    call(*study, *short, "--search", "batch_frames,learning_rate", "--trials", "1", "--study", "mine")
    call(*study, *short, "--search", "learning_rate,batch_frames", "--study", "mine")  # goes on with it
    path = str(chemscale_home / "studies" / "mine.log")
    trials = optuna.load_study(storage=open_storage(path, Path()), study_name="mine").trials
    assert [set(trial.params) for trial in trials] == [{"learning_rate", "batch_frames"}] * 2
    default = ForceFieldSettings.model_fields["decay"].default
    recorded = curves(path, "mine")
    assert set(recorded["decay"]) == {default}
    assert {"learning_rate", "batch_frames", "warmup"} < set(recorded)
    last = recorded.groupby("trial").last()
    assert last["value"].tolist() == [trial.value for trial in trials]
