"""Whole scaling studies as a user starts them: one command, processes that die, workers, what is refused."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from commands import call
from forks import Fork
from mlflow.entities import Run

from chemscale_bench import tasks
from chemscale_bench.cli import main
from chemscale_bench.errors import UserError
from chemscale_bench.runs.cells import Cells, Result, Training, Tuned
from chemscale_bench.runs.pace import Pace, undisturbed
from chemscale_bench.runs.study_plan import StudyPlan
from chemscale_bench.runs.study_report import judged
from chemscale_bench.settings.study import StudySettings

SMALL = [
    "study", "--task", "embedded-ff", "--model", "schnet", "--molecule", "ethanol", "--steps", "20", "--device", "cpu",
]  # fmt: skip
GRID = [*SMALL, "--params", "3e3,1e4,3e4", "--train_size", "20,40,80"]


@pytest.fixture(autouse=True)
def environment(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def parent_and_children() -> tuple[Run, list[Run]]:
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("chemscale-studies")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parent, [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def cells_of(children: list[Run]) -> list[tuple[str, ...]]:
    names = ("non_embedding_params", "train_frames", "seed")
    return sorted(tuple(run.data.params[name] for name in names) for run in children if run.info.status == "FINISHED")


def test_a_study_trains_its_grid_foretells_fits_and_can_be_submitted(
    tmp_path: Path,
) -> None:
    out = call(*GRID)
    parent, children = parent_and_children()
    assert parent.info.status == "FINISHED"
    assert len(cells_of(children)) == len(set(cells_of(children))) == 9
    assert parent.data.metrics["study/trainings"] == 9
    assert "9 trainings below run" in out
    assert "Power law along params" in out
    client = mlflow.MlflowClient()
    figures = {file.path for file in client.list_artifacts(parent.info.run_id, "figures")}
    assert {"figures/loss_over_params_and_tokens.html", "figures/forecast.html"} <= figures

    # The forecast was written down before the runs that it is about began.
    text = Path(
        mlflow.artifacts.download_artifacts(run_id=parent.info.run_id, artifact_path="forecast.json")
    ).read_text()
    assert hashlib.sha256(text.encode()).hexdigest() == parent.data.tags["forecast.sha256"]
    record = json.loads(text)
    known = {run.info.run_id: run for run in children}
    written = time.mktime(time.strptime(record["written"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    assert max(known[run_id].info.end_time for run_id in record["runs"]) / 1000 < written + 1
    later = [run for run in children if run.info.run_id not in record["runs"]]
    assert later
    assert min(run.info.start_time for run in later) / 1000 > written - 1
    assert parent.data.metrics["forecast/points"] == sum(
        (float(run.data.params["non_embedding_params"]), float(run.data.params["train_frames"]))
        in zip(record["params"], record["frames"], strict=True)
        for run in later
    )

    # Its law is that of `fit`, and its runs make an entry.
    out = call(
        "fit", "--experiment", parent.info.run_id, "--metric", "test/force_mae_mev_per_angstrom", "--log", "False"
    )
    assert "9 rows: 3 sizes x 3 values of frames; none left out" in out
    out = call("submit", "--run", parent.info.run_id, "--submitter", "Ada", "--out", str(tmp_path / "entries"))
    assert "is consistent; runs: 9, sizes: 3" in out


def test_a_training_of_a_study_is_the_one_that_would_be_typed() -> None:
    call(*SMALL, "--params", "3e3,1e4,3e4", "--train_size", "20")
    _, children = parent_and_children()
    child = min(children, key=lambda run: int(run.data.params["non_embedding_params"]))
    call("forcefield", *SMALL[1:], "--params", "3e3", "--train_size", "20", "--experiment", "typed")
    (typed,) = mlflow.search_runs(experiment_names=["typed"], output_format="list")
    different = {name for name, value in typed.data.params.items() if child.data.params.get(name) != value}
    assert different == {"experiment"}
    assert set(child.data.params) == set(typed.data.params)
    for tag in ("mlflow.runName", "task_digest", "data.train_digest"):
        assert child.data.tags[tag] == typed.data.tags[tag]
    metric = "test/force_mae_mev_per_angstrom"
    assert child.data.metrics[metric] == typed.data.metrics[metric]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_end_in_the_middle_loses_nothing_and_trains_nothing_twice(
    number: signal.Signals, chemscale_home: Path
) -> None:
    command = [*SMALL, "--params", "3e3,1e4", "--train_size", "20,40", "--steps", "100", "--study", "mine"]
    process = Fork(*command)
    deadline = time.monotonic() + 200
    state = chemscale_home / "runs"

    def done() -> int:
        return len(mlflow.search_runs(experiment_names=["chemscale-studies"], filter_string="status = 'FINISHED'"))

    while not (done() and list(state.glob("*/state.pt"))):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on" in err
        assert parent_and_children()[0].info.status == "KILLED"
    before = {run.info.run_id for run in parent_and_children()[1]}
    out = call(*command)
    parent, children = parent_and_children()
    assert parent.info.status == "FINISHED"
    assert cells_of(children) == sorted(set(cells_of(children)))
    assert len(cells_of(children)) == 4
    assert {run.info.run_id for run in children if run.info.status == "FINISHED"} >= before  # carried on, not anew
    assert "4 trainings below run" in out


def test_workers_share_a_study(chemscale_home: Path) -> None:
    out = call(*SMALL, "--params", "3e3,1e4", "--train_size", "20,40", "--workers", "2")
    parent, children = parent_and_children()
    assert parent.info.status == "FINISHED"
    assert len(cells_of(children)) == len(set(cells_of(children))) == 4
    logs = chemscale_home / "studies"
    assert len(list(logs.glob("*/worker-*.log"))) == 2
    assert not [log for log in logs.glob("*/worker-*.log") if "Traceback" in log.read_text()]
    assert "4 trainings below run" in out


def test_a_budget_of_flops_is_kept_and_more_of_it_goes_on() -> None:
    study = [*SMALL, "--params", "3e3,1e4,3e4", "--train_size", "20,40,80", "--study", "mine"]
    call(*study, "--flops", "3e9")
    parent, children = parent_and_children()
    spent = parent.data.metrics["study/flops"]
    assert 1e9 < spent <= 3e9
    assert len({run.data.params["non_embedding_params"] for run in children}) == 3
    call(*study, "--flops", "5e9")
    again, more = parent_and_children()
    assert again.info.run_id == parent.info.run_id
    assert len(more) > len(children)
    assert spent < again.data.metrics["study/flops"] <= 5e9
    assert len(cells_of(more)) == len(set(cells_of(more)))


def test_a_dry_run_prints_the_plan_and_records_nothing() -> None:
    out = call(*GRID, "--seeds", "2", "--dry_run", "True")
    assert "18 trainings, " in out
    assert "expected: alpha +-" in out
    assert mlflow.MlflowClient().get_experiment_by_name("chemscale-studies") is None


def test_a_study_of_two_budgets_is_told_that_no_joint_law_comes_of_it() -> None:
    out = call("study", "--task", "embedded-lm", "--params", "1e4,3e4,1e5", "--tokens", "1e5", "--dry_run", "True",
               "--device", "cpu")  # fmt: skip
    assert "need 3 sizes and 3 numbers of tokens, these are 3 and 2 (3e+04, 1e+05)" in out
    assert "expected: alpha" not in out


def test_hyperparameters_are_searched_at_the_smallest_size_and_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chemscale_bench.runs.rates.CHECK_SHARE", 9.0)
    assert "checked at 1e+04 params: " in call(*SMALL, "--params", "3e3,1e4", "--train_size", "20", "--tune", "2")
    parent, children = parent_and_children()
    tuned = json.loads(parent.data.tags["tuned"])
    assert tuned["searched_at"] == 3000
    searches = mlflow.search_runs(experiment_names=["chemscale-sweeps"], output_format="list")
    (search,) = [run for run in searches if run.data.params.get("study_name", "").endswith("-search")]
    assert search.data.metrics["best/learning_rate"] == pytest.approx(tuned["chosen"]["learning_rate"])
    assert len(children) == 2
    for child in children:
        for name in ("warmup", "decay", "weight_decay"):
            assert float(child.data.params[name]) == pytest.approx(tuned["chosen"][name])
        size = float(child.data.params["params"])
        rate = tuned["chosen"]["learning_rate"] * (size / 3000) ** tuned["power"]  # both are below the base width
        assert float(child.data.params["learning_rate"]) == pytest.approx(rate)


def test_workers_take_what_the_search_found() -> None:
    call(*SMALL, "--params", "3e3", "--train_size", "20,40", "--tune", "1", "--workers", "2")
    parent, children = parent_and_children()
    chosen = json.loads(parent.data.tags["tuned"])["chosen"]
    assert [float(child.data.params["warmup"]) for child in children] == pytest.approx([chosen["warmup"]] * 2)


def test_a_rate_is_carried_by_the_parametrization_and_the_power_of_the_check() -> None:
    plan = planned(hours="1")
    plan.paces[30_000] = plan.paces[30_000]._replace(rate_factor=0.5)
    tuned = Tuned(3000, {"learning_rate": 4e-3, "decay": 0.3}, -0.5, 0.0)
    plan.tuned = tuned
    settings = plan.settings_of(Training(30_000, 20, 0))
    assert settings.learning_rate == pytest.approx(4e-3 * 0.5 * 10**-0.5)
    assert settings.decay == 0.3
    assert plan.settings_of(Training(3000, 20, 0)).learning_rate == pytest.approx(4e-3)


@pytest.mark.parametrize("database", [False, True])
def test_of_two_processes_that_take_one_training_one_has_it(database: bool, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/cells.db" if database else str(tmp_path / "cells.log")
    first, second = (Cells({"a": 1}, "task", "both", storage) for _ in range(2))
    training = Training(1000, 20, 0)
    mine = first.claim(training)
    assert mine is not None
    assert second.claim(training) is None
    assert [one for one, _ in second.going()] == [training]
    other = second.claim(training._replace(seed=1))
    assert other is not None
    second.logs_to(other, "r3")
    first.give_up(mine)
    assert second.claim(training) is not None  # left by one, taken by another
    result = Result(training._replace(seed=1), "r3", 1010, {20: 3.5}, 1.5, 2e9)
    assert second.complete(other, result, diverged=False)
    assert first.results() == [result]
    assert first.claim(training._replace(seed=1)) is None


def test_a_training_of_which_nothing_is_heard_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = Cells({"a": 1}, "task", "both", "")
    silent, heard = (cells.claim(Training(1000, 20, seed)) for seed in range(2))
    assert silent
    assert heard
    monkeypatch.setattr("chemscale_bench.runs.shared.SILENT", 0.5)
    time.sleep(0.6)
    cells.beat(heard)
    cells.fail_dead_trials()
    assert [training.seed for training, _ in cells.going()] == [1]
    cells.beat(silent)  # it speaks again, too late
    assert not cells.complete(silent, Result(Training(1000, 20, 0), "r0", 1000, {20: 1.0}, 1.0, 1.0), diverged=False)


def planned(**settings: str) -> StudyPlan:
    chosen = StudySettings.read(
        {"task": "embedded-ff", "params": "3e3,1e4,3e4", "train_size": "20,40", **settings}, "study"
    )
    plan = StudyPlan(chosen, tasks.load("embedded-ff"))
    plan.paces = {size: Pace(size, 1.0, 1e-7 * size, 1e4 * size) for size in (3000, 10_000, 30_000)}
    return plan


def test_a_size_that_was_disturbed_is_no_slower_than_a_larger_one() -> None:
    paces = {10: Pace(10, 9.0, 3.0, 1.0), 30: Pace(30, 2.0, 1.0, 3.0), 100: Pace(100, 4.0, 2.0, 10.0)}
    found = undisturbed(paces)
    assert list(found) == [10, 30, 100]
    assert [(pace.start, pace.per_unit) for pace in found.values()] == [(2.0, 1.0), (2.0, 1.0), (4.0, 2.0)]


def test_a_size_of_which_a_step_takes_minutes_is_told_from_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chemscale_bench.runs.sizes.LONGEST", 0.0)
    language = ["study", "--task", "embedded-lm", "--tokens", "3000", "--device", "cpu"]
    lines = call(*language, "--params", "1e4,3e4,2e10", "--dry_run", "True").splitlines()
    rows = [line.split() for line in lines]
    measured, *told = [row for row in rows if len(row) == 6 and row[0][0].isdigit()]
    assert not measured[3].startswith("*")
    assert len(told) == 2
    assert all(row[3].startswith("*") for row in told)
    params, _, _, seconds, flops, memory = told[1]
    assert float(seconds[1:]) > float(measured[3])
    assert float(flops) / float(measured[4]) == pytest.approx(2e6, rel=0.3)
    assert float(memory) == pytest.approx(int(params.replace(",", "")) * 16 / 2**30, rel=0.1)
    assert any(line.startswith("*: a step takes too long to be measured") for line in lines)
    said = call(*language, "--params", "1e4,3e4,2e10", expected=2)
    assert "params must fit this device" in said
    assert not mlflow.search_runs(search_all_experiments=True, output_format="list")


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


def test_what_gives_a_law_is_told_before_a_study_of_too_few_budgets(tmp_path: Path) -> None:
    """Own molecules are few, and the smallest budget of PubChem's task is more than all of them."""
    lines = [f"{'C' * (i % 9 + 1)}{'O' * (i % 2)}{'N' * (i // 9 % 9)},{i}" for i in range(400)]
    (tmp_path / "mine.csv").write_text("\n".join(["smiles,y", *lines]))
    mine = ["study", "--data", str(tmp_path / "mine.csv"), "--params", "1e4,2e4,4e4", "--device", "cpu"]
    said = call(*mine, "--tokens", "3000", "--dry_run", "True")
    assert "mine.csv: SMILES in column 1 between commas, below smiles: " in said
    assert re.search(r"^400 lines read: \d+ molecules to train on, \d+ to validate, ", said, re.MULTILINE)
    assert "hardly tells one model from another" in said
    assert "these are 3 and 1 (3e+03)" in said
    assert "give tokens=3e+06, since budgets begin at 3e+05 or task=embedded-lm, whose budgets are smaller" in said
    tuned = call("tune", *mine[1:3], "--params", "1e4", "--tokens", "3000", "--trials", "1", "--device", "cpu")
    assert tuned.count("400 lines read: ") == 1
    assert (
        "1 trials of chemgpt on own data mine.csv, pubchem10m-lm, 3,000 tokens each unless stopped; their numbers"
        in tuned
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_an_hour_budget_that_is_too_small_is_told_the_smallest_that_would_do(workers: int) -> None:
    used = 50.0  # and kept for the report: more than there is
    with pytest.raises(UserError, match=r"takes hours=\S+ here, got hours=0.01; give it that") as refused:
        planned(hours="0.01", workers=str(workers)).wanted([], [], 36.0 - used)
    hours = float(re.findall(r"takes hours=(\S+) ", str(refused.value))[0])
    enough = planned(hours=str(hours), workers=str(workers))
    assert len({one.training.params for one in enough.wanted([], [], 3600 * hours - used)}) == 3
    with pytest.raises(UserError):
        planned(hours=str(0.85 * hours), workers=str(workers)).wanted([], [], 3600 * 0.85 * hours - used)


def test_a_budget_of_flops_that_is_too_small_is_told_the_smallest_that_would_do() -> None:
    with pytest.raises(UserError, match=r"takes flops=\S+ here, got flops=1e\+06; give it that") as refused:
        planned(flops="1e6").wanted([], [], 0.0)
    flops = re.findall(r"takes flops=(\S+) ", str(refused.value))[0]
    assert len({one.training.params for one in planned(flops=flops).wanted([], [], 0.0)}) == 3


def test_of_several_proposals_the_first_stands_and_a_claim_of_a_dead_process_does_not(tmp_path: Path) -> None:
    first, second = (Cells({"a": 1}, "task", "both", str(tmp_path / "cells.log")) for _ in range(2))
    assert first.first("parent", "r1") == second.first("parent", "r2") == first.first("parent", "r3") == "r1"
    killed = "import os; from chemscale_bench.runs.cells import Cells, Training; "
    killed += f"Cells({{'a': 1}}, 'task', 'both', {str(tmp_path / 'cells.log')!r}).claim(Training(1000, 20, 0)); "
    subprocess.run([sys.executable, "-c", killed + "os.kill(os.getpid(), 9)"], check=False, env=os.environ)
    assert first.claim(Training(3000, 20, 0))
    assert len(first.going()) == 2
    first.fail_dead_trials()
    assert [training.params for training, _ in first.going()] == [3000]
    assert second.left(Training(1000, 20, 0)) == ""


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
    plan.learn([Result(Training(3000, 20, 0), "r", 3000, {20: 1.0}, 3 * plan.cost(Training(3000, 20, 0)).seconds, 1.0)])
    assert plan.cost(Training(10_000, 20, 0)).seconds > 2 * expected  # the machine is slower than it seemed


def test_what_was_foretold_is_judged_by_later_runs_only() -> None:
    record = {"params": [1000.0, 3000.0], "tokens": [50.0, 50.0], "loss": [2.0, 1.5], "low": [1.9, 1.4],
              "high": [2.1, 1.6], "runs": ["a"]}  # fmt: skip
    results = [
        Result(Training(1000, 50, seed), run_id, 1000, {20: 3.0, 50: loss}, 1.0, 1.0)
        for seed, run_id, loss in ((0, "a", 2.0), (1, "b", 2.05), (2, "c", 2.2))
    ]
    found = judged(record, results, "tokens")
    assert found["measured"].tolist() == [2.05, 2.2]
    assert found["inside"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a study needs sizes or a budget, got neither"),
        (["--params", "1e4", "--tokens", "1e5"], "tokens must be left out for a force_field task"),
        (["--params", "1e4,x"], "params must be a whole number such as 1e8, got 'x'"),
        (["--params", "1e4", "--vocabulary", "smiles"], "vocabulary must be left out for a force_field task"),
        (["--params", "1e4", "--model", "schnett"], "did you mean schnet?"),
        (["--params", "1e4", "--model", "schnet,schnet"], "model must name each model once, got 'schnet,schnet'"),
        (["--params", "1e4", "--model", "auto,painn"], "model must name each model once, got 'auto,painn'"),
        (["--params", "3e3,1e4,3e4", "--train_size", "20", "--flops", "2e10", "--tune", "500"], "tune must leave half"),
        (["--params", "3e3,1e4,3e4", "--train_size", "20", "--target", "1e12"], "ask for target="),
        (["--params", "1e4", "--model", "schnet,paint"], "did you mean painn?"),
        (["--params", "1"], "params must be"),
        (["--params", "1e4", "--tune", "5", "--learning_rate", "1e-3"], "learning_rate must be left out where it is"),
        (["--params", "1e4", "--target", "exponents"], "target must be"),
        (["--params", "1e4", "--workers", "0"], "workers must be"),
        (["--params", "1e4", "--engine", "pbs"], "engine must be"),
        (["--params", "1e4", "--engine_options", "gres=gpu:1"], "engine_options must be left out for engine=local"),
        (["--hours", "1", "--flops", "1e12"], "a study has one budget, got hours=1 and flops=1e+12"),
        (["--hours", "1", "--gpu_hours", "2"], "a study has one budget, got hours=1 and gpu_hours=2"),
        (["--gpu_hours", "2", "--engine", "ray"], "gpu_hours needs workers with GPUs, got gpu_hours=2 and none has"),
        (["--params", "3e3,1e4,3e4", "--train_size", "20", "--flops", "1e6"], "a study needs three sizes at least"),
        (["--params", "1e4,1001", "--train_size", "20"], "params must be within 5 % of a size that schnet has"),
        (["--params", "1e4", "--storage", "sqlite:////proc/nothing/x.db"], "storage must be a database URL"),
    ],
)
def test_bad_input_gives_one_line_and_leaves_no_run(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*SMALL, *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    experiment = mlflow.MlflowClient().get_experiment_by_name("chemscale-studies")
    assert experiment is None or not mlflow.search_runs([experiment.experiment_id], output_format="list")


def test_a_study_of_other_parameters_is_not_joined(capsys: pytest.CaptureFixture[str]) -> None:
    call(*SMALL, "--params", "3e3", "--train_size", "20", "--study", "mine")
    with pytest.raises(SystemExit):
        main([*SMALL, "--params", "3e3,1e4", "--train_size", "20", "--study", "mine"])
    assert "got another params" in capsys.readouterr().err
