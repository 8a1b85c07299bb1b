"""Reading runs in bulk gives what MLflow's client gives, from the tables as through the client."""

from __future__ import annotations

import math

import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.tracking import reader


@pytest.fixture
def runs(tracking_uri: str) -> list[str]:
    """Three runs: one with a metric logged twice at a step, one failed, one deleted."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient()
    experiment = client.create_experiment("some")
    ids = [client.create_run(experiment, start_time=number).info.run_id for number in (1, 2, 3)]
    points = [("a", 3.0, 10, 5), ("a", 1.0, 20, 5), ("a", 2.0, 5, 7), ("b", math.nan, 1, 0), ("c", 9.0, 1, 0)]
    client.log_batch(ids[0], metrics=[Metric(key, value, time, step) for key, value, time, step in points])
    client.log_param(ids[0], "seed", 1)
    client.set_tag(ids[1], "task_digest", "x")
    client.set_terminated(ids[1], "FAILED")
    client.delete_run(ids[2])
    return ids


@pytest.fixture(params=["tables", "client"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "client":
        monkeypatch.setattr(reader, "_engine", lambda client: None)


def test_runs(runs: list[str], way: None) -> None:
    first, second = reader.runs_of_experiment("some")
    assert [first.run_id, second.run_id] == runs[:2]
    assert (first.status, second.status) == ("RUNNING", "FAILED")
    assert first.params == {"seed": "1"}
    assert second.tags["task_digest"] == "x"
    assert first.metrics["a"] == 2.0
    assert math.isnan(first.metrics["b"])


def test_curves_keep_the_last_value_of_a_step(runs: list[str], way: None) -> None:
    table = reader.read_curves(runs[:2], ["b", "a"])
    rows = [tuple(row) for row in table.astype({"run": str, "metric": str}).itertuples(index=False)]
    assert [(run, metric, step) for run, metric, step, _ in rows] == [
        (runs[0], "b", 0), (runs[0], "a", 5), (runs[0], "a", 7)
    ]  # fmt: skip
    assert math.isnan(rows[0][3])
    assert [value for *_, value in rows[1:]] == [1.0, 2.0]


def test_no_point_is_lost_between_fetches(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    monkeypatch.setattr(reader, "ROWS_AT_ONCE", 7)
    MlflowClient().log_batch(runs[1], metrics=[Metric("long", float(step), 1, step) for step in range(1000)])
    assert reader.read_curves([runs[1]], ["long"])["value"].tolist() == list(range(1000))


def test_nothing_to_read(runs: list[str], way: None) -> None:
    assert reader.read_curves([], ["a"]).empty
    assert reader.read_curves(runs[1:2], ["a"]).empty
    with pytest.raises(UserError, match="experiment must exist, got 'none'"):
        reader.runs_of_experiment("none")
