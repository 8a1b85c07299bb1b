"""Open the MLflow store: SQLite is made once, whole or not at all, and refused if it is of another MLflow version."""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from chemscale_bench.errors import UserError
from chemscale_bench.tracking.charts import share

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run


def open_store() -> MlflowClient:
    """A client of the current tracking store (MLFLOW_TRACKING_URI, else ``mlflow.db`` here), once it is usable.

    Raises:
        UserError: if the store belongs to another MLflow version, or can't be written.
    """
    # MLflow's own patience, seven tries that double their pauses, holds a caller for minutes per request.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow

    prepare_store(mlflow.get_tracking_uri())
    return mlflow.MlflowClient()


def prepare_store(uri: str) -> None:
    """Make the SQLite database of `uri` if it is not there, and check its schema; other stores are left to MLflow.

    MLflow's own first use of a database is not safe for two processes: both create the tables, and the file stays
    broken. Here one process creates it under a lock and a temporary name, so that a killed one leaves no half store.

    Raises:
        UserError: if the schema is not this MLflow's, or the folder can't be written.
    """
    path = sqlite_path(uri)
    if path is None:
        return
    try:
        if not has_tables(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not has_tables(path):
                    create(path)
    except OSError as error:
        raise UserError(
            f"the tracking store must be writable, {path} is not ({error.strerror}); "
            "set MLFLOW_TRACKING_URI, for example to sqlite:////some/folder/mlflow.db"
        ) from None
    check_schema(path)


def experiment_id(name: str, charts: bool = True) -> str:
    """The id of an experiment, created if need be.

    Args:
        name: of the experiment.
        charts: whether a new one also gets the charts that compare training runs.

    Raises:
        UserError: if the experiment was deleted.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = open_store()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        path = sqlite_path(mlflow.get_tracking_uri())
        # MLflow would put artifacts below the working folder, which for a project run from a git URL is temporary.
        beside = str(path.parent / "mlruns" / re.sub(r"[^\w-]+", "_", name)) if path else None
        try:
            made = str(client.create_experiment(name, artifact_location=beside))
            # A service of the UI's; no run may fail for want of it.
            with suppress(MlflowException):
                share(client, made, charts)
            return made
        except MlflowException:
            experiment = client.get_experiment_by_name(name)  # another process was faster
            if experiment is None:
                raise
    refuse_deleted(experiment)
    return str(experiment.experiment_id)


def every_run(
    client: MlflowClient, experiment_ids: list[str], query: str = "", order_by: list[str] | None = None
) -> Iterator[Run]:
    """The runs that a query finds, however many pages they fill."""
    token = None
    while True:
        page = client.search_runs(experiment_ids, query, max_results=1000, order_by=order_by, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def status_of(run_id: str) -> str:
    """The status of a run; nothing if the store has no such run."""
    from mlflow.exceptions import MlflowException

    try:
        return str(open_store().get_run(run_id).info.status)
    except MlflowException:
        return ""


def download_model(name: str) -> Path:
    """The folder of a run's model, which for artifacts on this machine is where they lie.

    Args:
        name: the run's id, or an address that MLflow knows, such as `runs:/RUN/model`.

    Raises:
        UserError: if there is none.
    """
    from mlflow.exceptions import MlflowException

    open_store()
    import mlflow

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    address = name if ":/" in name else f"runs:/{name}/model"
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=address))
    except (MlflowException, OSError) as error:
        raise UserError(
            f"model must be a folder, or a run of this store that has finished, got {name!r} ({error}); check it and "
            "MLFLOW_TRACKING_URI"
        ) from None


def refuse_deleted(experiment: Experiment) -> None:
    """Raise a `UserError` with the way back if an experiment was deleted."""
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"experiment must not be a deleted one, got {experiment.name!r}; choose another, or bring it back: "
            f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        )


def sqlite_path(uri: str) -> Path | None:
    """The file behind a SQLite tracking URI; None for any other store."""
    from sqlalchemy.engine import make_url

    if not uri.startswith("sqlite:"):
        return None
    database = make_url(uri).database
    return Path(database).absolute() if database and database != ":memory:" else None


def sqlite_uri(path: Path) -> str:
    """The tracking URI of a SQLite file, in whose address a % or ? has a meaning of its own."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path)).render_as_string()


def has_tables(path: Path) -> bool:
    """Whether somebody has started to fill the database."""
    return path.exists() and path.stat().st_size > 0


def create(path: Path) -> None:
    """Make an empty MLflow database and move it into place."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    draft = path.with_name(f"{path.name}.new")
    logger = logging.getLogger("mlflow.store.db.utils")
    before = logger.level
    logger.setLevel(logging.WARNING)  # its tables are no news to the user
    # Made where the address needs no escapes: MLflow makes the folder of an address as it is written, too.
    with tempfile.TemporaryDirectory() as folder:
        try:
            store = SqlAlchemyStore(f"sqlite:///{folder}/new.db", str(path.parent / "mlruns"))
        finally:
            logger.setLevel(before)
        store._dispose_engine()
        shutil.copyfile(f"{folder}/new.db", draft)
    os.replace(draft, path)


@cache
def schemas() -> list[str]:
    """The revisions of this MLflow's schema, the last first; to read them takes a tenth of a second."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    script = ScriptDirectory.from_config(_get_alembic_config(db_url=""))
    return [revision.revision for revision in script.walk_revisions()]


def check_schema(path: Path) -> None:
    """Refuse a database of another MLflow version before MLflow touches it.

    MLflow 3.18 migrates a store of 3.17 without asking, which 3.17 then can't read.

    Raises:
        UserError: with what to do about it.
    """
    import sqlalchemy
    from mlflow.store.db.utils import _get_schema_version
    from mlflow.version import VERSION

    engine = sqlalchemy.create_engine(sqlite_uri(path))
    try:
        found = _get_schema_version(engine)
    except sqlalchemy.exc.DatabaseError:
        raise UserError(
            f"the tracking store must be an MLflow database, {path} is not; move it away, or set MLFLOW_TRACKING_URI"
        ) from None
    finally:
        engine.dispose()
    ours, *earlier = schemas()
    if found == ours:
        return
    if found in earlier:
        cure = f"back it up, then run: mlflow db upgrade {shlex.quote(sqlite_uri(path))}"
    else:
        cure = (
            f"use it with that version only; here, run `mlflow` from an environment with mlflow=={VERSION} and start "
            f"another store: MLFLOW_TRACKING_URI={shlex.quote(sqlite_uri(path.with_stem(f'{path.stem}-{VERSION}')))}"
        )
    raise UserError(f"the tracking store {path} must have the schema of MLflow {VERSION}, got {found}; {cure}")
