"""The store is made once, whatever starts at the same time, and one of another MLflow version is refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import mlflow
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.tracking.plugins import runs_this_project
from chemscale_bench.tracking.store import experiment_id, has_tables, open_store, prepare_store, sqlite_path

ROOT = Path(__file__).parents[2]
OLDEST_REVISION = "451aebb31d03"
PROJECT = """
name: chemscale-bench
databricks_spark_job: {}
entry_points:
  main:
    command: "true"
"""


def set_revision(path: Path, revision: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    connection.close()


@pytest.fixture
def clean(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has set nothing."""
    return {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("name", ["my%20runs", "what?"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    prepare_store("sqlite:///mlflow.db")
    assert has_tables(tmp_path / name / "mlflow.db")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_several_first_runs_at_once(tmp_path: Path, clean: dict[str, str]) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "MLproject").write_text(PROJECT.lstrip())
    command = [sys.executable, "-m", "mlflow", "run", "project"]
    more: list[list[str]] = [[], [], [], ["--experiment-name", "mine"]]
    runs = [
        subprocess.Popen(command + options, cwd=tmp_path, env=clean, stderr=subprocess.PIPE, text=True)
        for options in more
    ]
    errors = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0, 0], errors
    assert not [error for error in errors if "INFO mlflow.projects" in error], "MLflow's own log of a project"
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        found = connection.execute(
            "SELECT experiments.name, status, count(*) FROM runs JOIN experiments USING (experiment_id) GROUP BY 1, 2"
        ).fetchall()
    connection.close()
    assert sorted(found) == [("chemscale", "FINISHED", 3), ("mine", "FINISHED", 1)]


def test_other_uses_of_mlflow_in_the_same_environment_are_left_alone(
    tmp_path: Path, clean: dict[str, str], empty_store: Path
) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    program = "import mlflow\nwith mlflow.start_run() as run: print('experiment', run.info.experiment_id)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=clean, capture_output=True, text=True, check=True
    )
    assert "experiment 0\n" in done.stdout
    assert not (tmp_path / "mlflow.db.lock").exists()


@pytest.mark.parametrize(
    ("arguments", "ours"),
    [
        (["/env/bin/mlflow", "run", "{project}", "-e", "chemgpt"], True),
        (["/env/mlflow/__main__.py", "run", "-e", "chemgpt", "{project}#"], True),
        (["mlflow", "run", "https://example.org/somebody/chemscale-bench.git", "-P", "params=1e8"], True),
        (["mlflow", "run", "https://example.org/somebody/other.git"], False),
        (["mlflow", "run", "/"], False),
        (["mlflow", "ui"], False),
        (["/usr/bin/pytest", "run", "{project}"], False),
        ([""], False),
    ],
)
def test_runs_this_project(arguments: list[str], ours: bool) -> None:
    assert runs_this_project([argument.format(project=ROOT) for argument in arguments]) is ours


def test_the_plugins_are_installed() -> None:
    plugins = {
        plugin.value
        for group in ("mlflow.default_experiment_provider", "mlflow.tracking_store")
        for plugin in entry_points(group=group)
    }
    ours = {"chemscale_bench.tracking.plugins:ProjectExperiment", "chemscale_bench.tracking.plugins:sqlite_store"}
    assert ours <= plugins, "install the project again: pip install -c constraints.txt -e ."


def test_an_experiment_keeps_its_artifacts_beside_the_store(tracking_uri: str, tmp_path: Path) -> None:
    chosen = experiment_id("a/b c")
    assert chosen == experiment_id("a/b c")
    location = Path(mlflow.get_experiment(chosen).artifact_location)
    assert location == tmp_path / "mlruns" / "a_b_c"
    mlflow.delete_experiment(chosen)
    with pytest.raises(UserError, match=f"mlflow experiments restore --experiment-id {chosen}"):
        experiment_id("a/b c")


@pytest.mark.parametrize(
    ("revision", "cure"),
    [
        ("ffffffffffff", rf"mlflow=={mlflow.__version__} and start another store: MLFLOW_TRACKING_URI=sqlite:////"),
        (OLDEST_REVISION, "back it up, then run: mlflow db upgrade sqlite:////"),
    ],
)
def test_a_store_of_another_mlflow_is_refused(tracking_uri: str, revision: str, cure: str) -> None:
    path = sqlite_path(tracking_uri)
    assert path is not None
    set_revision(path, revision)
    before = path.read_bytes()
    with pytest.raises(UserError, match=cure):
        open_store()
    assert path.read_bytes() == before


def test_mlflow_run_says_so_too(tmp_path: Path, clean: dict[str, str], empty_store: Path) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    set_revision(tmp_path / "mlflow.db", "ffffffffffff")
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "chemgpt"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the tracking store")
    assert "Traceback" not in done.stderr


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a database, but long enough to look like one\n" * 30)
    with pytest.raises(UserError, match="must be an MLflow database"):
        prepare_store(f"sqlite:///{tmp_path / 'notes'}")
    with pytest.raises(UserError, match="must be writable"):
        prepare_store(f"sqlite:///{tmp_path / 'notes' / 'mlflow.db'}")


def test_stores_that_are_not_files_are_left_to_mlflow() -> None:
    for uri in ("http://example.org:5000", "postgresql://host/db", "sqlite:///:memory:"):
        assert sqlite_path(uri) is None
    assert sqlite_path("sqlite:///mlflow.db") == Path(os.getcwd()) / "mlflow.db"


def test_making_a_store_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare_store(f"sqlite:///{tmp_path / 'quiet.db'}")
    assert not [record.message for record in caplog.records if record.name.startswith("mlflow")]
