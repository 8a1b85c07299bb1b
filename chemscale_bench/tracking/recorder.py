"""How training logs to MLflow: buffered metrics, sent in the background, never lost, never twice.

Training never waits for the store. A store that goes away is tried again; what could not be sent is part of the
resume state, so that the same run, resumed, delivers it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chemscale_bench.errors import first_line
from chemscale_bench.tracking.figures import to_html
from chemscale_bench.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from plotly.graph_objects import Figure

SEND_SECONDS = 2.0
BATCH = 1000  # MLflow's limit for one log_batch
LAST_TRY_SECONDS = 20.0


class Point(NamedTuple):
    """One value of a metric; the step counts tokens or frames seen."""

    key: str
    value: float
    timestamp_ms: int
    step: int


@contextmanager
def system_metrics(run_id: str, resumed: bool = False) -> Iterator[None]:
    """Log processor, memory and GPU of this machine inside, if MLflow's variable for that is set.

    MLflow itself looks at `MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING` only for runs that its fluent interface starts.
    """
    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "").lower() not in ("true", "1"):
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=resumed)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


class Recorder:
    """Logs one run. Use as a context manager: leaving it sends what is still buffered.

    Args:
        run_id: of a run that is RUNNING.
        unsent: points that an earlier process of the same run could not deliver.
        resumed: whether the run has points already; those are not sent again.
    """

    def __init__(self, run_id: str, unsent: Iterable[Any] = (), resumed: bool = False) -> None:
        self.run_id = run_id
        self.client: MlflowClient = open_store()
        self.known = self.recorded_steps() if resumed else set()
        self.queue: list[Point] = [Point(*point) for point in unsent]
        self.problem: str | None = None
        self.sending = threading.Lock()
        self.wake = threading.Event()
        self.closed = False
        self.thread = threading.Thread(target=self.send_regularly, name="mlflow", daemon=True)

    def __enter__(self) -> Recorder:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True
        self.wake.set()
        self.thread.join()

    def recorded_steps(self) -> set[tuple[str, int]]:
        """The (metric, step) pairs that the store holds for this run."""
        metrics = self.client.get_run(self.run_id).data.metrics
        return {(key, point.step) for key in metrics for point in self.client.get_metric_history(self.run_id, key)}

    # -- metrics -------------------------------------------------------------------------------------------------

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Buffer values at a step; a pair of metric and step that the run has already is left out."""
        now = int(time.time() * 1000)
        for key, value in values.items():
            if (key, step) not in self.known:
                self.known.add((key, step))
                self.queue.append(Point(key, float(value), now, step))

    def send_regularly(self) -> None:
        """Send the buffer every two seconds until the recorder is closed."""
        while not self.closed:
            self.wake.wait(SEND_SECONDS)
            self.send()

    def send(self) -> bool:
        """Send what is buffered; False, with the reason in `problem`, if the store did not take it."""
        from mlflow.entities import Metric

        with self.sending:
            try:
                while self.queue:
                    batch = self.queue[:BATCH]
                    points = [Metric(point.key, point.value, point.timestamp_ms, point.step) for point in batch]
                    self.client.log_batch(self.run_id, metrics=points, synchronous=True)
                    del self.queue[: len(batch)]
            except Exception as error:  # whatever a store or the network between raises, training goes on
                self.problem = first_line(error)
                return False
        self.problem = None
        return True

    def unsent(self) -> list[tuple[Any, ...]]:
        """What the store has not taken, after one more try: part of the resume state."""
        self.send()
        return [tuple(point) for point in self.queue]

    def deliver(self) -> bool:
        """Send everything, trying again for a while; whether the store took it all."""
        give_up = time.monotonic() + LAST_TRY_SECONDS
        while not self.send():
            if time.monotonic() > give_up:
                return False
            time.sleep(1)
        return True

    # -- everything else -----------------------------------------------------------------------------------------

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters; those that the run has (from `mlflow run`, say) keep the text they have."""
        known = self.client.get_run(self.run_id).data.params
        from mlflow.entities import Param

        new = [Param(key, str(value)) for key, value in values.items() if key not in known]
        self.client.log_batch(self.run_id, params=new)

    def tags(self, values: Mapping[str, object]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)[:5000]) for key, value in values.items()])

    def dataset(self, name: str, source: str, digest: str, context: str) -> None:
        """Log the data set as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        dataset = Dataset(name=name, digest=digest[:36], source_type="local", source=source)
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])]
        try:
            self.client.log_inputs(self.run_id, inputs)
        except MlflowException:  # two runs that log a data set at once both insert it, and one of them fails
            self.client.log_inputs(self.run_id, inputs)

    def figure(self, figure: Figure, name: str) -> None:
        """Log a plotly figure that the MLflow UI shows live, with or without a network."""
        self.client.log_text(self.run_id, to_html(figure), name)

    def folder(self, folder: Path, name: str) -> None:
        """Log a folder of files."""
        self.client.log_artifacts(self.run_id, str(folder), name)
