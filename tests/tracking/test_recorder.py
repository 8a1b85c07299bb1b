import math
import time
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from chemscale_bench.tracking import recorder as module
from chemscale_bench.tracking.recorder import Recorder


@pytest.fixture
def run_id(tracking_uri: str) -> str:
    return str(mlflow.MlflowClient().create_run("0").info.run_id)


def history(run_id: str, key: str) -> list[tuple[int, float]]:
    points = mlflow.MlflowClient().get_metric_history(run_id, key)
    return sorted((point.step, point.value) for point in points)


def test_leaving_it_delivers_everything_once_and_in_order(run_id: str) -> None:
    with Recorder(run_id) as recorder:
        for step in range(2500):
            recorder.metrics({"loss": 1 / (step + 1)}, step)
            recorder.metrics({"loss": 0.0}, step)  # the same point again
        assert recorder.deliver()
    assert history(run_id, "loss") == [(step, 1 / (step + 1)) for step in range(2500)]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (MlflowException("connection refused\nand more"), "connection refused"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_a_store_that_goes_away_loses_nothing(
    error: Exception, problem: str, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_TRY_SECONDS", 0.0)

    def gone(*_: Any, **__: Any) -> None:
        raise error

    with Recorder(run_id) as recorder:
        real = recorder.client.log_batch
        monkeypatch.setattr(recorder.client, "log_batch", gone)
        recorder.metrics({"loss": 1.0}, 1)
        recorder.metrics({"loss": 2.0}, 2)
        assert not recorder.deliver()
        assert recorder.problem == problem
        unsent = recorder.unsent()
        monkeypatch.setattr(recorder.client, "log_batch", real)
        recorder.queue.clear()
    assert history(run_id, "loss") == []
    with Recorder(run_id, unsent, resumed=True) as recorder:
        recorder.metrics({"loss": 3.0}, 3)
        assert recorder.deliver()
    assert history(run_id, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_resumed_run_has_no_point_twice(run_id: str) -> None:
    with Recorder(run_id) as recorder:
        recorder.metrics({"loss": 1.0, "rate": math.nan}, 1)
        recorder.metrics({"loss": 2.0}, 2)
        recorder.deliver()
    with Recorder(run_id, resumed=True) as recorder:
        for step in (1, 2, 3):
            recorder.metrics({"loss": float(step)}, step)
        recorder.deliver()
    assert history(run_id, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_points_are_sent_while_training_goes_on(run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEND_SECONDS", 0.05)
    with Recorder(run_id) as recorder:
        recorder.metrics({"loss": 1.0}, 1)
        deadline = time.monotonic() + 20
        while not history(run_id, "loss") and time.monotonic() < deadline:
            time.sleep(0.05)  # until the background thread has sent it
        assert history(run_id, "loss") == [(1, 1.0)]


def test_parameters_that_mlflow_run_has_logged_keep_their_text(run_id: str) -> None:
    mlflow.MlflowClient().log_param(run_id, "params", "1e8")
    recorder = Recorder(run_id)
    recorder.params({"params": 100_000_000, "seed": 0})
    assert mlflow.get_run(run_id).data.params == {"params": "1e8", "seed": "0"}
