"""Plans of studies from what was measured: costs, budgets, what is refused."""

import re

import pytest

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.runs.cells import Ended, Training, Tuned
from chemscale_bench.runs.pace import Pace, undisturbed
from chemscale_bench.runs.study_plan import StudyPlan
from chemscale_bench.settings.study import StudySettings


def planned(**settings: str) -> StudyPlan:
    chosen = StudySettings.read(
        {"task": "embedded-ff", "params": "3e3,1e4,3e4", "train_size": "20,40", **settings}, "study"
    )
    plan = StudyPlan(chosen, tasks.load("embedded-ff"))
    plan.paces = {size: Pace(size, 1.0, 1e-7 * size, 1e4 * size) for size in (3000, 10_000, 30_000)}
    return plan


def test_a_rate_is_carried_by_the_parametrization_and_the_power_of_the_check() -> None:
    plan = planned(hours="1")
    plan.paces[30_000] = plan.paces[30_000]._replace(rate_factor=0.5)
    tuned = Tuned(3000, {"learning_rate": 4e-3, "decay": 0.3}, -0.5, 0.0)
    plan.tuned = tuned
    settings = plan.settings_of(Training(30_000, 20, 0))
    assert settings.learning_rate == pytest.approx(4e-3 * 0.5 * 10**-0.5)
    assert settings.decay == 0.3
    assert plan.settings_of(Training(3000, 20, 0)).learning_rate == pytest.approx(4e-3)


def test_a_size_that_was_disturbed_is_no_slower_than_a_larger_one() -> None:
    paces = {10: Pace(10, 9.0, 3.0, 1.0), 30: Pace(30, 2.0, 1.0, 3.0), 100: Pace(100, 4.0, 2.0, 10.0)}
    found = undisturbed(paces)
    assert list(found) == [10, 30, 100]
    assert [(pace.start, pace.per_unit) for pace in found.values()] == [(2.0, 1.0), (2.0, 1.0), (4.0, 2.0)]


def test_a_seed_that_is_missing_is_planned_before_a_new_one() -> None:
    plan = planned(flops="1e14")
    going = [(Training(3000, 40, 3), 1.0), (Training(3000, 40, 1), 1.0)]
    wanted = [one.training for one in plan.wanted([], going, 0.0)]
    assert not {training for training, _ in going} & set(wanted)
    assert min(training.seed for training in wanted if training.params == 3000) == 0


def test_a_size_that_only_others_have_measured_has_a_cost() -> None:
    plan = planned(hours="1")
    del plan.paces[30_000]
    assert plan.cost(Training(30_000, 20, 0)).seconds > 2 * plan.cost(Training(10_000, 20, 0)).seconds
    assert plan.wanted([], [(Training(30_000, 20, 0), 5.0)], 3000.0)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_hour_budget_that_is_too_small_is_told_the_smallest_that_would_do(workers: int) -> None:
    used = 50.0  # and kept for the report: more than there is
    with pytest.raises(UserError, match=r"take hours=\S+ here, got hours=0.01; give it that") as refused:
        planned(hours="0.01", workers=str(workers)).wanted([], [], 36.0 - used)
    hours = float(re.findall(r"take hours=(\S+) ", str(refused.value))[0])
    enough = planned(hours=str(hours), workers=str(workers))
    assert len({one.training.params for one in enough.wanted([], [], 3600 * hours - used)}) == 3
    with pytest.raises(UserError):
        planned(hours=str(0.85 * hours), workers=str(workers)).wanted([], [], 3600 * 0.85 * hours - used)


def test_a_budget_of_flops_that_is_too_small_is_told_the_smallest_that_would_do() -> None:
    with pytest.raises(UserError, match=r"take flops=\S+ here, got flops=1e\+06; give it that") as refused:
        planned(flops="1e6").wanted([], [], 0.0)
    assert "(params on frames: 3e+03 on 20, 1e+04 on 20, 3e+04 on 20)" in str(refused.value)
    assert str(refused.value).endswith("or smaller params= or fewer steps=")
    flops = re.findall(r"take flops=(\S+) ", str(refused.value))[0]
    assert len({one.training.params for one in planned(flops=flops).wanted([], [], 0.0)}) == 3


def test_of_molecules_the_tasks_of_smaller_budgets_are_named() -> None:
    chosen = StudySettings.read({"task": "moses-lm", "params": "1e4,3e4,1e5", "flops": "1e6"}, "study")
    plan = StudyPlan(chosen, tasks.load("moses-lm"))
    plan.paces = {size: Pace(size, 1.0, 1e-7 * size, 1e4 * size) for size in plan.sizes}
    with pytest.raises(
        UserError, match=r"\(params on tokens: 1e\+04 on 1e\+06, .* or task=embedded-lm or task=pubchem10m"
    ):
        plan.wanted([], [], 0.0)


def test_a_target_too_far_beyond_the_trainings_is_refused_with_one_that_is_not() -> None:
    plan = planned(hours="1", target="1e8")
    wanted = plan.wanted([], [], 3000.0)
    with pytest.raises(UserError, match=r"got 1e\+08, .* times; ask for target=1e\+06, or give it more"):
        plan.check_target(wanted, [])
    planned(hours="1", target="1e6").check_target(wanted, [])
    assert "the loss of 1e+06 params on" in planned(hours="1", target="1e6").expectation(wanted, [])


def test_what_trainings_take_replaces_what_was_measured() -> None:
    plan = planned(hours="1")
    expected = plan.cost(Training(10_000, 20, 0)).seconds
    plan.learn([Ended(Training(3000, 20, 0), "r", 3000, {20: 1.0}, 3 * plan.cost(Training(3000, 20, 0)).seconds, 1.0)])
    assert plan.cost(Training(10_000, 20, 0)).seconds > 2 * expected  # the machine is slower than it seemed


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"model": "chemgpt"}, 10_000),
        ({"model": "lstm"}, 10_000),
        ({"model": "llama"}, 100_000),
        ({"model": "llama", "params": "3e4,1e4,1e5"}, 10_000),
        ({"task": "embedded-ff", "model": "painn"}, 10_000),
    ],
)
def test_a_study_begins_where_the_sizes_of_a_model_lie_on_one_curve(settings: dict[str, str], first: int) -> None:
    chosen = StudySettings.read({"task": "embedded-lm", "hours": "1"} | settings, "study")
    sizes = StudyPlan(chosen, tasks.load(chosen.task)).sizes
    assert sizes[0] == first
    assert len(sizes) == 3 or sizes[-1] == 3 * 10**10
