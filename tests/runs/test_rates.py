"""Where a study searches hyperparameters, and what its search begins with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mlflow
import pytest
from commands import call

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.models.force_recipe import rate_factor
from chemscale_bench.models.parametrization import MUON_RATE
from chemscale_bench.models.registry import FORCE_FIELDS, LANGUAGE_MODELS
from chemscale_bench.runs.cells import Cells
from chemscale_bench.runs.kinds import with_optimizer
from chemscale_bench.runs.pace import Pace
from chemscale_bench.runs.queue import Queue, space_of
from chemscale_bench.runs.rates import auto_settings, where_to_tune
from chemscale_bench.runs.study import NOT_ABOUT
from chemscale_bench.runs.study_plan import StudyPlan
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.settings.tune import TuneSettings

GRID = {"params": "1e4,3e4,1e5,3e5", "tokens": "1e7"}


def plan_of(task: str, **settings: str) -> StudyPlan:
    chosen = StudySettings.read({"task": task, **settings}, "study")
    plan = StudyPlan(chosen, tasks.load(task))
    sizes = [10_000, 30_000, 100_000, 300_000]
    plan.sizes = tuple(sizes)
    plan.paces = {size: Pace(size, 0.0, 1e-9 * size, 6.0 * size, learning_rate=2e-3) for size in sizes}
    return plan


@pytest.mark.parametrize(
    ("settings", "seconds", "expected"),
    [
        # A typed grid is searched at its largest budget, and checked where four trainings cost a quarter of it.
        ({**GRID, "tune": "20"}, 0.0, (10_000, 10_000, 10_000_000)),
        ({**GRID, "tune": "20", "seeds": "4"}, 0.0, (10_000, 100_000, 10_000_000)),
        # One of hours where a quarter pays for the trials, and as much for the longest check; half for both.
        ({"tokens": "1e7", "hours": "1", "tune": "20"}, 20_000.0, (10_000, 30_000, 10_000_000)),
        ({"tokens": "1e7", "hours": "1", "tune": "20"}, 3_600.0, (10_000, 30_000, 3_000_000)),
        ({"tokens": "1e7", "hours": "1", "tune": "20"}, 700.0, (10_000, 10_000, 1_000_000)),
    ],
)  # fmt: skip
def test_a_search_is_as_long_as_the_study_where_that_can_be_paid(
    settings: dict[str, str], seconds: float, expected: tuple[int, int, int]
) -> None:
    assert where_to_tune(plan_of("moses-lm", **settings), seconds) == expected


def test_a_search_leaves_half_of_the_budget() -> None:
    with pytest.raises(UserError, match=r"^tune must leave half of the budget to the study, 20 trials of 1e"):
        where_to_tune(plan_of("moses-lm", tokens="1e7", hours="1", tune="20"), 20.0)


def test_the_first_trial_has_what_nobody_tunes_as_far_as_the_ranges_reach() -> None:
    expected = {"learning_rate": 2e-3, "warmup": 0.3, "decay": 0.2, "weight_decay": 0.1}
    assert auto_settings(plan_of("moses-lm", params="1e4,3e4,1e5", tune="5"), 30_000) == expected
    expected = {"learning_rate": 2e-3, "warmup": 0.01, "decay": 0.5, "weight_decay": 1e-6}
    assert auto_settings(plan_of("rmd17-ff", params="1e4,3e4,1e5", tune="5"), 30_000) == expected


@pytest.mark.parametrize("model", ["painn", "schnet", "nequip", "allegro-l2"])
def test_twice_the_rate_of_auto_lies_inside_what_is_searched(model: str) -> None:
    (rate,) = [each for each in space_of("force_field", model, "auto") if each.name == "learning_rate"]
    at_widths = [FORCE_FIELDS.family(model).PEAK_RATE[0] * rate_factor(model, width, 100) for width in (4, 50, 400)]
    assert 10 * rate.low < min(at_widths) <= max(at_widths) <= rate.high / 2


@pytest.mark.parametrize("model", LANGUAGE_MODELS.modules)
def test_twice_the_rate_of_muon_lies_inside_what_is_searched_with_it(model: str) -> None:
    (rate,) = [each for each in space_of("language_model", model, "muon") if each.name == "learning_rate"]
    auto = getattr(LANGUAGE_MODELS.family(model), "MUON_RATE", MUON_RATE)
    assert 10 * rate.low < auto <= rate.high / 2


@pytest.mark.parametrize(
    ("task", "given", "search", "study"),
    [
        ("embedded-lm", {"model": "chemgpt"}, "c24cdd2e", "fcc1f21b"),
        ("embedded-lm", {"model": "lstm"}, "08614400", "82fbd4ff"),
        ("embedded-ff", {"model": "painn"}, "9cc3b6a5", "24975da4"),
        ("embedded-lm", {"model": "llama", "optimizer": "adamw"}, "5ece8577", "33b73b3f"),
    ],
)
def test_searches_and_studies_from_before_there_was_the_optimizer_go_on(
    task: str, given: dict[str, Any], search: str, study: str, chemscale_home: Path
) -> None:
    declared = tasks.load(task)
    searching = with_optimizer(TuneSettings(task=task, **given), declared)
    assert Queue(searching, task, 1000).name == f"{task}-{search}"
    studying = with_optimizer(StudySettings(task=task, params=(10_000,), **given), declared)
    cells = Cells(studying.model_dump(mode="json", exclude=NOT_ABOUT), task, "", "")
    assert cells.name == f"{task}-{study}"


def test_muon_makes_a_search_of_its_own_and_is_what_auto_is_for_llama(chemscale_home: Path) -> None:
    def name(model: str, **settings: Any) -> str:
        chosen = TuneSettings(task="embedded-lm", model=model, **settings)
        return Queue(with_optimizer(chosen, tasks.load("embedded-lm")), "embedded-lm", 1000).name

    assert name("chemgpt") != name("chemgpt", optimizer="muon")
    assert name("llama") == name("llama", optimizer="muon") != name("llama", optimizer="adamw")


def test_a_search_from_before_train_size_was_auto_goes_on(chemscale_home: Path) -> None:
    before = Queue(TuneSettings(task="embedded-lm", train_size=950), "embedded-lm", 1000)
    assert Queue(TuneSettings(task="embedded-lm"), "embedded-lm", 1000).name == before.name


def test_a_search_begins_with_what_the_study_would_train_without_one(
    tracking_uri: str, prepared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    task = ["--task", "embedded-lm", "--tokens", "1e4", "--device", "cpu"]
    call("chemgpt", *task, "--params", "1e4")
    (alone,) = mlflow.search_runs(experiment_names=["chemscale"], output_format="list")
    said = call("study", *task, "--params", "1e4", "--tune", "3")
    trials = mlflow.search_runs(
        experiment_names=["chemscale-sweeps"], filter_string="tags.trial = '0'", output_format="list"
    )
    (first,) = [trial for trial in trials if trial.data.params["params"] == "10000"]
    for name in ("val/loss_nats_per_token", "cost/flops_total"):
        assert first.data.metrics[name] == pytest.approx(alone.data.metrics[name], rel=1e-6)
    found = re.search(r"searched at 1e\+04 params, 10,000 tokens: .* \((\S+)\)", said)
    assert found
    assert float(found[1]) <= round(alone.data.metrics["val/loss_nats_per_token"], 4)
