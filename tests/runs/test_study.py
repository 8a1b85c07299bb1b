"""Whole scaling studies as a user starts them: one command, processes that die, workers, what is refused."""

import hashlib
import json
import re
import signal
import time
from pathlib import Path

import mlflow
import psutil
import pytest
from commands import call
from forks import Fork
from mlflow.entities import Run

from chemscale_bench.cli import main
from chemscale_bench.runs.cells import Cells, Ended, Training
from chemscale_bench.runs.comparison import studies_of
from chemscale_bench.runs.study import Study
from chemscale_bench.runs.study_report import judged
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tracking.lifetime import end_run
from chemscale_bench.tracking.store import open_store

SMALL = [
    "study", "--task", "embedded-ff", "--model", "schnet", "--molecule", "ethanol", "--steps", "20", "--device", "cpu",
]  # fmt: skip
GRID = [*SMALL, "--params", "3e3,1e4,3e4", "--train_size", "20,40,80"]


@pytest.fixture(autouse=True)
def environment(tracking_uri: str, prepared: None, monkeypatch: pytest.MonkeyPatch) -> None:
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
    inside, points = (round(parent.data.metrics[f"forecast/{name}"]) for name in ("inside", "points"))
    assert f"it tells of a forecast from {len(record['runs'])} runs, written at" in out
    assert f"{inside} of {points} later runs and budgets inside their 90% intervals" in out


def test_largest_frames_wait_for_their_forecast_though_others_of_their_size_are_trained_together(
    tmp_path: Path,
) -> None:
    """Two sizes: the smaller one tells what the larger one should reach on the most frames."""
    call(*SMALL, "--params", "3e3,1e4", "--train_size", "20,40,400")
    parent, children = parent_and_children()
    assert parent.data.tags["forecast.sha256"]
    written = time.mktime(time.strptime(parent.data.tags["forecast.written"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    size = {run.info.run_id: int(run.data.params["non_embedding_params"]) for run in children}
    largest = max(children, key=lambda run: size[run.info.run_id] * int(run.data.params["train_frames"]))
    assert largest.info.start_time / 1000 > written - 1
    begun = sorted(run.info.start_time for run in children if run.info.run_id != largest.info.run_id)
    assert begun[-1] < largest.info.start_time
    # Too few for a forecast without a prior, of which the entry says enough to make it again.
    out = call("submit", "--run", parent.info.run_id, "--submitter", "Ada", "--out", str(tmp_path))
    assert "it tells of a forecast from 5 runs, written at" in out


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


def test_of_drivers_that_start_at_once_one_makes_the_run_of_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(cells: Cells, what: str, made: str) -> str:
        return str(open_store().create_run(open_store().get_run(made).info.experiment_id).info.run_id)  # another's

    monkeypatch.setattr(Cells, "first", first)
    call(*SMALL, "--params", "3e3", "--train_size", "20")
    parent, children = parent_and_children()
    assert (parent.info.status, len(children)) == ("FINISHED", 1)


def test_a_run_that_was_killed_after_its_last_word_has_ended_well() -> None:
    call(*SMALL, "--params", "3e3", "--train_size", "20")
    _, (child,) = parent_and_children()
    end_run(open_store(), child.info.run_id, "FAILED", "its process is gone")
    call(*SMALL, "--params", "3e3", "--train_size", "20")
    _, (child,) = parent_and_children()
    assert (child.info.status, child.data.tags["chemscale.reason"]) == ("FINISHED", "")


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


def test_hours_count_from_the_call_and_of_a_command_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: time.time() - 3600)  # a notebook is an hour old
    settings = StudySettings(task="embedded-ff", model="schnet", hours=2, device="cpu")
    assert Study(settings).seconds_to_end() == pytest.approx(7200, abs=60)
    (study,) = studies_of(settings, time.time() - 600)
    assert study.seconds_to_end() == pytest.approx(6600, abs=60)


def test_a_dry_run_prints_the_plan_and_records_nothing() -> None:
    out = call(*GRID, "--seeds", "2", "--dry_run", "True")
    assert "18 trainings, " in out
    assert "expected: alpha +-" in out
    assert mlflow.MlflowClient().get_experiment_by_name("chemscale-studies") is None


@pytest.mark.parametrize(
    ("params", "tokens", "told"),
    [
        ("1e4,3e4,1e5", "1e5", "3 (1e+04, 3e+04, 1e+05) and 2 (3e+04, 1e+05); "),
        ("1e4,2e4,3e4", "3e5", "3 (1e+04, 2e+04, 3e+04) and 3 (3e+04, 1e+05, 3e+05); "),  # a law needs a factor of 3.6
    ],
)
def test_a_study_that_can_give_no_joint_law_is_told_so(params: str, tokens: str, told: str) -> None:
    out = call("study", "--task", "embedded-lm", "--params", params, "--tokens", tokens, "--dry_run", "True",
               "--device", "cpu")  # fmt: skip
    assert f"need 3 sizes and 3 numbers of tokens, the largest 3.6 times the smallest of each; these are {told}" in out
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
    small, large = sorted(children, key=lambda child: float(child.data.params["params"]))
    for child in (small, large):
        for name in ("warmup", "decay", "weight_decay"):
            assert float(child.data.params[name]) == pytest.approx(tuned["chosen"][name])
        size = float(child.data.params["params"])
        of_width = (int(small.data.params["width"]) / int(child.data.params["width"])) ** 0.5
        rate = tuned["chosen"]["learning_rate"] * of_width * (size / 3000) ** tuned["power"]
        assert float(child.data.params["learning_rate"]) == pytest.approx(rate)


def test_workers_take_what_the_search_found() -> None:
    call(*SMALL, "--params", "3e3", "--train_size", "20,40", "--tune", "1", "--workers", "2")
    parent, children = parent_and_children()
    chosen = json.loads(parent.data.tags["tuned"])["chosen"]
    assert [float(child.data.params["warmup"]) for child in children] == pytest.approx([chosen["warmup"]] * 2)


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


def test_what_gives_a_law_is_told_before_a_study_of_too_few_budgets(tmp_path: Path) -> None:
    """Own molecules are few, and the smallest budget of PubChem's task is more than all of them."""
    lines = [f"{'C' * (i % 9 + 1)}{'O' * (i % 2)}{'N' * (i // 9 % 9)},{i}" for i in range(400)]
    (tmp_path / "mine.csv").write_text("\n".join(["smiles,y", *lines]))
    mine = ["study", "--data", str(tmp_path / "mine.csv"), "--params", "1e4,2e4,4e4", "--device", "cpu"]
    said = call(*mine, "--tokens", "3000", "--dry_run", "True")
    assert "mine.csv: SMILES in column 1 between commas, below smiles: " in said
    assert re.search(r"^400 lines read: \d+ molecules to train on, \d+ to validate, ", said, re.MULTILINE)
    assert "hardly tells one model from another" in said
    assert "these are 3 (1e+04, 2e+04, 4e+04) and 1 (3e+03)" in said
    assert "give tokens=3e+06, since budgets begin at 3e+05 or task=embedded-lm, whose budgets are smaller" in said
    tuned = call("tune", *mine[1:3], "--params", "1e4", "--tokens", "3000", "--trials", "1", "--device", "cpu")
    assert tuned.count("400 lines read: ") == 1
    assert (
        "1 trials of chemgpt on own data mine.csv, pubchem10m-lm, 3,000 tokens each unless stopped; their numbers"
        in tuned
    )
    study = [*mine[:3], "--params", "1e4,2e4", "--tokens", "3000", "--tune", "1", "--device", "cpu"]
    assert call(*study).count("400 lines read: ") == 1  # and none of its searches says it again


def test_what_was_foretold_is_judged_by_later_runs_only() -> None:
    record = {"params": [1000.0, 3000.0], "tokens": [50.0, 50.0], "loss": [2.0, 1.5], "low": [1.9, 1.4],
              "high": [2.1, 1.6], "runs": ["a"]}  # fmt: skip
    results = [
        Ended(Training(1000, 50, seed), run_id, 1000, {20: 3.0, 50: loss}, 1.0, 1.0)
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
    assert "got another params ([3000, 10000], it was [3000]); use them" in capsys.readouterr().err
