"""MLproject says what the settings say, and nothing in a `-P` value reaches a shell."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.projects._project_spec import Project, load_project

from chemscale_bench.cli import VERBS
from chemscale_bench.tracking.lifetime import ENTRY_POINTS

ROOT = Path(__file__).parents[1]
NASTY = [
    "$(touch hit)",
    "`touch hit`",
    "a;touch hit",
    "a|touch hit&",
    "'; touch hit; '",
    '" && touch hit "',
    "*",
    "a\nb",
]


@pytest.fixture
def project() -> Project:
    return load_project(str(ROOT))


def entry_point(verb: str) -> str:
    return "main" if verb == "demo" else verb


def arguments_of(project: Project, verb: str, given: dict[str, str], folder: Path) -> list[str]:
    """What the launcher is called with when MLflow runs the verb's command by bash in `folder`."""
    (folder / "tools").mkdir(exist_ok=True)
    (folder / "tools" / "launch").write_text("for argument; do printf '%s\\0' \"$argument\"; done")
    command = project.get_entry_point(entry_point(verb)).compute_command(given, None)
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    assert not (folder / "hit").exists()
    return done.stdout.split("\0")[:-1]


def test_runs_of_every_entry_point_are_known_as_ours() -> None:
    assert set(ENTRY_POINTS) == {entry_point(verb) for verb in VERBS}


def test_is_what_the_settings_say() -> None:
    written = subprocess.run(
        [sys.executable, "tools/mlproject.py"], cwd=ROOT, env={"PYTHONPATH": "."}, capture_output=True, check=True
    )
    assert written.stdout == (ROOT / "MLproject").read_bytes(), "run: python tools/mlproject.py > MLproject"


@pytest.mark.parametrize("verb", VERBS)
def test_defaults_arrive_as_the_settings_have_them(verb: str, project: Project, tmp_path: Path) -> None:
    arguments = arguments_of(project, verb, {}, tmp_path)
    assert arguments[0] == verb
    given = dict(zip([name.removeprefix("--") for name in arguments[1::2]], arguments[2::2], strict=True))
    settings = VERBS[verb]
    assert list(given) == list(settings.model_fields)
    assert settings.read(given, "verb") == settings()


@pytest.mark.parametrize("verb", VERBS)
def test_parameters_are_bare_substitutions(verb: str, project: Project) -> None:
    # MLflow quotes a bare {name} for the shell; a quote or another shell around it would undo that.
    command = project.get_entry_point(entry_point(verb)).command
    assert re.fullmatch(rf"sh tools/launch {verb}( --(\w+) {{\2}})*", command.strip())


@pytest.mark.parametrize("nasty", NASTY)
def test_values_and_unknown_names_never_reach_a_shell(nasty: str, project: Project, tmp_path: Path) -> None:
    arguments = arguments_of(project, "chemgpt", {"data": nasty, "init": "", "unknown": nasty, nasty: "1"}, tmp_path)
    assert arguments[arguments.index("--data") + 1] == nasty
    assert arguments[arguments.index("--init") + 1] == ""
    assert arguments[-4:] == ["--unknown", nasty, f"--{nasty}", "1"]


def test_as_a_user_types_it(tmp_path: Path) -> None:
    """No --env-manager, no pyenv, a clean HOME: guards the accident that MLproject rests on."""
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "chemgpt", "-P", "params=many"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    line = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "params must be a whole number such as 1e8, got 'many'" in line
    assert "Traceback" not in done.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert connection.execute("SELECT status FROM runs").fetchall() == [("FAILED",)]
    connection.close()
