"""A new model is one file and one line: two toys go the whole way, from training to a reproduced entry."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.models.registry import FORCE_FIELDS, LANGUAGE_MODELS
from chemscale_bench.runs.force import ForceRun
from chemscale_bench.runs.language import LanguageRun
from chemscale_bench.runs.start import train
from chemscale_bench.runs.tracked import TrackedRun
from chemscale_bench.settings import forcefield, language, study, tune
from chemscale_bench.settings.submit import SubmitSettings
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.verbs.submit import submit

LSTM = language.LanguageSettings(
    task="embedded-lm", model="toy", params=10_000, tokens=30_000, device="cpu", experiment="toys"
)
PAIRS = forcefield.ForceFieldSettings(
    task="embedded-ff", model="pairs", train_size=50, params=2000, steps=200, device="cpu", experiment="toys"
)
QUADRUPOLES = PAIRS.model_copy(update={"model": "nequip-l2", "params": 10_000, "depth": 2})


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(LANGUAGE_MODELS.modules, "toy", "toy_lstm")
    monkeypatch.setitem(FORCE_FIELDS.modules, "pairs", "toy_pairs")


@pytest.mark.parametrize(
    ("settings", "kind", "nothing_learnt"),
    [
        (LSTM, LanguageRun, np.log(102)),
        (PAIRS, ForceRun, "baseline/zero_force_mae_mev_per_angstrom"),
        (QUADRUPOLES, ForceRun, "baseline/zero_force_mae_mev_per_angstrom"),
    ],
)
def test_the_whole_way(
    settings: TrainingSettings, kind: type[TrackedRun], nothing_learnt: float | str, tracking_uri: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="0"):
        train(settings, kind)
    (run,) = mlflow.search_runs(experiment_names=["toys"], output_format="list")
    assert run.data.params["model"] == settings.model
    metrics = run.data.metrics
    assert metrics[kind.METRIC] < 0.8 * (metrics[nothing_learnt] if isinstance(nothing_learnt, str) else nothing_learnt)
    submit(SubmitSettings(run="toys", submitter="Ada", out=str(tmp_path / "entries")))
    (path,) = (tmp_path / "entries").rglob("ada-*.json")
    verdict = judge(path, Level.REPRODUCED)
    assert verdict.level == Level.REPRODUCED, verdict.why_not_next


@pytest.mark.parametrize(("settings", "kind"), [(LSTM, LanguageRun), (PAIRS, ForceRun)])
def test_what_cannot_be_stacked_is_refused(settings: TrainingSettings, kind: type[TrackedRun]) -> None:
    with pytest.raises(UserError, match=r"seeds=2 needs a model that can be stacked, got model=.*; choose"):
        train(settings.model_copy(update={"seeds": 2}), kind)


@pytest.mark.parametrize(
    ("registry", "name", "near"),
    [
        (LANGUAGE_MODELS, "chemgtp", "chemgpt"),
        (FORCE_FIELDS, "pain", "painn"),
        (FORCE_FIELDS, "nequip-l3", "nequip-l2"),
        (FORCE_FIELDS, "painn-l1", "painn"),
    ],
)
def test_an_unknown_name(registry: type, name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"model must be one of .*, got '{name}'; did you mean {near}"):
        registry.check(name)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("registry", "name", "verb"), [(LANGUAGE_MODELS, "mace-l2", "forcefield"), (FORCE_FIELDS, "lstm", "language")]
)
def test_a_model_of_the_other_kind(registry: type, name: str, verb: str) -> None:
    with pytest.raises(UserError, match=f"here, {name} is a .*, to the verb {verb}, tune or study"):
        registry.check(name)  # type: ignore[attr-defined]


def test_a_degree_in_the_name_is_that_of_the_config() -> None:
    for name, field in (("mace", "max_L"), ("allegro", "l_max"), ("nequip", "degree")):
        assert [getattr(FORCE_FIELDS.family(f"{name}-l{degree}").Config(), field) for degree in (0, 2)] == [0, 2]
        assert getattr(FORCE_FIELDS.family(name).Config(), field) == 1


def test_help_names_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for settings, registries in (
        (forcefield.ForceFieldSettings, [FORCE_FIELDS]),
        (language.LanguageSettings, [LANGUAGE_MODELS]),
        (tune.TuneSettings, [FORCE_FIELDS, LANGUAGE_MODELS]),
        (study.StudySettings, [FORCE_FIELDS, LANGUAGE_MODELS]),
    ):
        text = settings.model_fields["model"].description or ""
        assert all(name in text for registry in registries for name in registry.modules)
