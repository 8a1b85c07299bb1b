"""Read many runs at once: straight from MLflow's tables where the store is a database, else through its client.

MLflow's client asks for one metric of one run at a time; for 10,000 runs that is hours against seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chemscale_bench.errors import UserError
from chemscale_bench.shell import unquoted
from chemscale_bench.tracking.settling import DELETED, FINAL_TAG
from chemscale_bench.tracking.store import every_run, open_store, refuse_deleted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Engine, Select

RUNS_AT_ONCE = 500
ROWS_AT_ONCE = 5_000
PARAMS, TAGS, LATEST = (
    ("params", "key", "value"),
    ("tags", "key", "value"),
    ("latest_metrics", "key", "value", "is_nan"),
)
RUNS = ("runs", "status", "start_time", "experiment_id", "lifecycle_stage")
METRICS = ("metrics", "key", "step", "timestamp", "value", "is_nan")


@dataclass
class LoggedRun:
    """One run as MLflow has it, without its curves."""

    run_id: str
    status: str
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """Latest values."""


def runs_of_experiment(name: str) -> list[LoggedRun]:
    """The runs of an experiment that are neither deleted nor about to be, whatever their status, the oldest first.

    About to be deleted is the empty run that `mlflow run` made for a verb whose work goes on in another run.

    Raises:
        UserError: if there is no such experiment.
    """
    client = open_store()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        raise UserError(f"experiment must exist, got {name!r}; check its name and MLFLOW_TRACKING_URI")
    refuse_deleted(experiment)
    engine = _engine(client)
    if engine is not None:
        runs = _runs_by_sql(engine, experiment.experiment_id)
    else:
        runs = list(_runs_by_client(client, experiment.experiment_id))
    for run in runs:
        run.params = unquoted(run.params)
    return [run for run in runs if run.tags.get(FINAL_TAG) != DELETED]


def read_curves(run_ids: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Every point of some metrics of some runs.

    Returns:
        Columns `run` and `metric` (categories, in the order given), `step` and `value`, sorted by run, metric and
        step within each 500 runs. Of points of one step the one logged last counts: a resumed run logs some again.
    """
    client = open_store()
    engine = _engine(client)
    run_code, metric_code = ({name: code for code, name in enumerate(names)} for names in (run_ids, metrics))
    columns: list[list[np.ndarray]] = [[], [], [], []]
    for start in range(0, len(run_ids), RUNS_AT_ONCE):
        ids = list(run_ids[start : start + RUNS_AT_ONCE])
        rows = _rows_by_client(client, ids, metrics) if engine is None else _rows_by_sql(engine, ids, metrics)
        parts = []
        for run, key, step, timestamp, value in rows:
            codes = (np.array([table[name] for name in names], np.int32)
                     for table, names in ((run_code, run), (metric_code, key)))  # fmt: skip
            parts.append((*codes, np.array(step, np.int64), np.array(value, float), np.array(timestamp, np.int64)))
        if not parts:
            continue
        *chunk, logged = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((logged, *chunk[2::-1]))
        chunk = [column[order] for column in chunk]
        changes = np.any([column[1:] != column[:-1] for column in chunk[:3]], axis=0)
        last = np.append(changes, True)
        for column, values in zip(columns, chunk, strict=True):
            column.append(values[last])
    run, metric, step, value = (
        np.concatenate(column) if column else np.array([], dtype=kind)
        for column, kind in zip(columns, (np.int32, np.int32, np.int64, float), strict=True)
    )
    return pd.DataFrame(
        {
            "run": pd.Categorical.from_codes(run, pd.Index(run_ids)),
            "metric": pd.Categorical.from_codes(metric, pd.Index(metrics)),
            "step": step,
            "value": value,
        }
    )


# -- through the client ------------------------------------------------------------------------------------------


def _runs_by_client(client: MlflowClient, experiment: str) -> Iterator[LoggedRun]:
    for run in every_run(client, [experiment], order_by=["attributes.start_time ASC"]):
        yield LoggedRun(run.info.run_id, run.info.status, run.data.params, run.data.tags, run.data.metrics)


def _rows_by_client(client: MlflowClient, run_ids: list[str], metrics: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for run_id in run_ids:
        for metric in metrics:
            points = client.get_metric_history(run_id, metric)
            if points:
                rows = [(run_id, metric, point.step, point.timestamp, point.value) for point in points]
                yield tuple(zip(*rows, strict=True))


# -- from the tables ---------------------------------------------------------------------------------------------


def _engine(client: MlflowClient) -> Engine | None:
    """The database behind a client; None if it speaks to a server."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store
    return store.engine if isinstance(store, SqlAlchemyStore) else None


def _select(table: str, *names: str) -> Select[Any]:
    import sqlalchemy

    of = sqlalchemy.table(table, *(sqlalchemy.column(name) for name in ("run_uuid", *names)))
    return sqlalchemy.select(*of.c)


def _runs_by_sql(engine: Engine, experiment: str) -> list[LoggedRun]:
    runs = _select(*RUNS)
    of = runs.selected_columns
    runs = runs.where(of.experiment_id == int(experiment), of.lifecycle_stage == "active").order_by(of.start_time)
    found: dict[str, LoggedRun] = {}
    intern = sys.intern  # most runs share most of their texts
    with engine.connect() as connection:
        for row in connection.execute(runs):
            found[row.run_uuid] = LoggedRun(row.run_uuid, row.status)
        for table in (PARAMS, TAGS, LATEST):
            query = _select(*table)
            query = query.where(query.selected_columns.run_uuid.in_(runs.with_only_columns(of.run_uuid).order_by(None)))
            for run_id, key, value, *is_nan in connection.execute(query):
                run = found.get(run_id)
                if run is None:
                    continue  # begun in between
                if table is LATEST:
                    run.metrics[intern(key)] = float("nan") if is_nan[0] else value
                else:
                    getattr(run, table[0])[intern(key)] = intern(value or "")
    return list(found.values())


def _rows_by_sql(engine: Engine, run_ids: list[str], metrics: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    import sqlalchemy

    query = _select(*METRICS)
    of = query.selected_columns
    # As a bare column, SQLite would take the key to the primary key's index and read its points of all runs.
    query = query.where(of.run_uuid.in_(run_ids), of.key.concat("").in_(metrics))
    # None becomes NaN.
    value = sqlalchemy.case((of.is_nan.is_(sqlalchemy.false()), of.value))
    query = query.with_only_columns(of.run_uuid, of.key, of.step, of.timestamp, value)
    with engine.connect() as connection:
        # SQLAlchemy's rows cost more than all the rest: its cursor gives plain tuples.
        cursor = connection.execute(query).cursor
        assert cursor is not None
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield tuple(zip(*rows, strict=True))
