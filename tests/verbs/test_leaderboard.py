"""The verb `leaderboard` on entries, on the user's own experiment, and on bad requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import files, submission
from chemscale_bench.leaderboard.collect import read_experiment
from chemscale_bench.leaderboard.entry import Entry, Run
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.settings.leaderboard import LeaderboardSettings
from chemscale_bench.settings.submit import SubmitSettings
from chemscale_bench.verbs.leaderboard import leaderboard
from chemscale_bench.verbs.submit import submit


def log(client: Any, experiment: str, entry: Entry, run: Run, curves: pd.DataFrame) -> None:
    """Log a run of an entry as training does."""
    from mlflow.entities import Metric, Param, RunTag

    run_id = client.create_run(experiment).info.run_id
    params: dict[str, Any] = {
        "task_name": entry.task, "model": entry.model, "non_embedding_params": run.non_embedding_params,
        "seed": run.seed, "arithmetic": run.arithmetic, "data": "auto", **run.settings,
    }  # fmt: skip
    params |= run.network.model_dump() if run.network else {}
    params |= {"vocabulary": entry.vocabulary} if entry.vocabulary else {"molecule": entry.molecule}
    split = "data.validation_digest" if entry.vocabulary else "data.test_digest"
    tags = {
        "task_digest": entry.task_digest, "data.digest": entry.data_digest, split: entry.split_digest,
        "code.commit": run.code_commit, "code.dirty": "false", "machine.device": run.device,
        "machine.cpus": run.cpus, "energy.source": run.energy_source, "version.torch": "2.13.0",
    }  # fmt: skip
    unit = "tokens" if entry.vocabulary else "structures"
    nan = float("nan")
    cost = {
        "cost/train_seconds": run.train_seconds, "cost/gpu_seconds": run.gpus * run.train_seconds,
        "cost/energy_kj": run.energy_kj or nan, "cost/flops_total": run.flops_total or nan, "speed/mfu": run.mfu or nan,
        f"speed/mean_{unit}_per_s": run.units_per_s,
    }  # fmt: skip
    own = curves[curves["run"] == run.run]
    points = [Metric(row.metric, row.value, 0, row.step) for row in own.itertuples()]
    points += [Metric(key, float(value), 0, 0) for key, value in cost.items()]
    client.log_batch(
        run_id, points, [Param(key, str(value)) for key, value in params.items()],
        [RunTag(key, str(value)) for key, value in tags.items()],
    )  # fmt: skip
    client.set_terminated(run_id)


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Path, Path]:
    root = tmp_path / "entries"
    language = plant(root, "Ada", sizes=(30_000, 100_000, 300_000), budgets=(30_000, 100_000), gpu=True)
    forces = plant(root, "Emmy", family="force_field", sizes=(4_000, 16_000), budgets=(50, 100), seeds=1)
    return language, forces


@pytest.fixture
def client(tracking_uri: str, planted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store whose experiment `mine` holds the runs of both entries, and a failed one."""
    from mlflow import MlflowClient

    monkeypatch.setenv("CHEMSCALE_LAUNCHED_RUN", "")
    client = MlflowClient()
    experiment = client.create_experiment("mine")
    for path in planted:
        loaded = files.load(path)
        for run in loaded.entry.runs:
            log(client, experiment, loaded.entry, run, loaded.curves)
    client.set_terminated(client.create_run(experiment).info.run_id, "FAILED")
    return client


def test_own_runs_stand_beside_the_entries(
    client: Any, planted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page" / "index.html"
    leaderboard(LeaderboardSettings(source=str(tmp_path / "entries"), experiment="mine", out=str(out)))
    printed = capsys.readouterr().out
    assert "4 studies, 0 refused" in printed
    assert "embedded-lm at 100,000 tokens, val/loss_nats_per_token" in printed
    assert "chemgpt, mine" in printed
    assert "embedded-ff@ethanol at 100 frames, test/force_mae_mev_per_angstrom" in printed
    assert '"kind":"experiment"' in out.read_text()
    (run,) = client.search_runs([client.get_experiment_by_name("chemscale-housekeeping").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["leaderboard/studies"] == 4
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert files == {"index.html", "board.csv", "molecules.csv", "features.csv", "motion.csv"}


def test_what_was_logged_is_what_is_submitted(client: Any, planted: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="an entry is of one task, model and task digest, got embedded-ff@ethanol painn"
    ):
        submit(SubmitSettings(run="mine", submitter="Ada", out=str(tmp_path / "out"), checkpoint="none"))
    for path, model in zip(planted, ("chemgpt", "painn"), strict=True):
        submit(SubmitSettings(run="mine", model=model, submitter="Ada", out=str(tmp_path / "out"), checkpoint="none"))
        again = files.load(next((tmp_path / "out").glob(f"*/{model}/*.json"))).entry
        before = files.load(path).entry
        changed = {"run": ..., "settings": ...}
        assert [run.model_dump(exclude=changed.keys()) for run in again.runs] == [
            run.model_dump(exclude=changed.keys()) for run in before.runs
        ]
        assert again.task_digest == before.task_digest


def test_a_parent_with_the_mean_of_its_seeds_is_no_other_kind_of_run(client: Any, planted: tuple[Path, Path]) -> None:
    experiment, loaded = client.create_experiment("seeds"), files.load(planted[0])
    for run in loaded.entry.runs:
        log(client, experiment, loaded.entry, run, loaded.curves)
    parent = client.create_run(experiment).info.run_id
    client.log_metric(parent, "val/loss_nats_per_token", 1.5)
    for name, value in (("task_name", loaded.entry.task), ("model", loaded.entry.model)):  # as of a search
        client.log_param(parent, name, value)
    client.set_terminated(parent)
    runs, _ = submission.study(SubmitSettings(run="seeds", submitter="Ada"))
    assert {kept.run.run_id for kept in runs} == {run.info.run_id for run in client.search_runs([experiment])} - {
        parent
    }


def test_runs_without_cost_are_counted(client: Any) -> None:
    from mlflow.entities import Metric

    experiment = client.get_experiment_by_name("mine").experiment_id
    run = client.create_run(experiment).info.run_id
    client.log_batch(run, [Metric("val/loss_nats_per_token", 1.0, 0, 30_000)])
    client.log_param(run, "non_embedding_params", 5)
    client.set_terminated(run)
    studies, left_out = read_experiment("mine")
    assert len(studies) == 2
    assert left_out == {"without cost or settings": 1}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"source": "nowhere"}, "source must be a folder of entries, got 'nowhere'"),
        ({"experiment": "nothing"}, "experiment must exist, got 'nothing'"),
        ({"out": "/dev/null/page.html"}, "out must be a file that can be written"),
        ({"out": "/proc"}, r"out must be a file that can be written, got '/proc' \(a folder\)"),
    ],
)
def test_bad_requests(
    values: dict[str, str], says: str, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        leaderboard(LeaderboardSettings(**({"source": "", "log": False, "out": "page.html"} | values)))  # type: ignore[arg-type]
