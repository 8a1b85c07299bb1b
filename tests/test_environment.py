"""The environment is found or built once, whatever is started at the same time, killed on the way or changed later.

`venv` and `pip` are stand-ins that take a moment and write down what they did; `.ci/bare-mlflow` uses the real ones.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VENV = """
import os, sys
os.makedirs(sys.argv[1] + "/bin")
os.symlink(sys.executable, sys.argv[1] + "/bin/python")
print("venv", file=open(os.environ["DONE"], "a"))
"""
PIP = """
import os, sys, time
print("pip", *sys.argv[1:], file=open(os.environ["DONE"], "a"), flush=True)
time.sleep(float(os.environ.get("SECONDS_OF_PIP", "0.5")))
sys.exit(os.environ.get("PIP_ERROR"))
"""


class Project:
    """A folder with the launcher, outside any environment."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("pyproject.toml", "constraints.txt", "tools"):
            (shutil.copytree if name == "tools" else shutil.copy)(ROOT / name, folder / name)
        (folder / "stand-ins").mkdir()
        (folder / "stand-ins" / "venv.py").write_text(VENV)
        (folder / "stand-ins" / "pip.py").write_text(PIP)
        self.done_file = folder / "done"
        self.environment = {
            "DONE": str(self.done_file),
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(folder / "stand-ins"),
        }

    def start(self, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "tools/launch", "--prepare"],
            cwd=self.folder,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def prepare(self, **variables: str) -> tuple[int, str, str]:
        process = self.start(**variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out.strip(), err

    def done(self) -> list[str]:
        """First words of what `venv` and `pip` did."""
        return [line.split()[0] for line in self.done_file.read_text().splitlines()] if self.done_file.exists() else []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", tmp_path)


def test_several_first_starts_build_once(project: Project) -> None:
    starts = [project.start(SECONDS_OF_PIP="2") for _ in range(3)]
    answers = [start.communicate(timeout=60) for start in starts]
    assert {out.strip() for out, _ in answers} == {str(project.folder / ".venv" / "bin" / "python")}
    assert project.done() == ["venv", "pip"]
    assert sorted("waiting for it" in err for _, err in answers) == [False, True, True]
    assert project.prepare() == (0, str(project.folder / ".venv" / "bin" / "python"), "")
    assert "--editable=." in project.done_file.read_text()


def test_a_folder_of_ours_never_lacks_its_mark(tmp_path: Path) -> None:
    # What a start sees while another begins, breaks off and begins again; a folder without mark is somebody else's.
    code = """
import sys, pathlib; sys.path.insert(0, "tools"); import environment
folder = pathlib.Path(sys.argv[1])
for number in range(100):
    environment.begin(folder)
    (folder / "half").touch()
    environment.mark(folder, "built")
print("done")
"""
    folder = tmp_path / ".venv"
    others = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    seen = 0
    while others.poll() is None:
        if folder.exists():
            assert (folder / "chemscale-built-from").read_text() in ("building", "built")
            seen += 1
    assert others.communicate()[0] == "done\n"
    assert seen > 100


def test_a_killed_build_begins_anew(project: Project) -> None:
    start = project.start(SECONDS_OF_PIP="60")
    while "pip" not in project.done():
        time.sleep(0.05)
    os.killpg(start.pid, signal.SIGKILL)
    start.communicate()
    (project.folder / ".venv" / "half").touch()
    assert project.prepare()[0] == 0
    assert project.done() == ["venv", "pip", "venv", "pip"]
    assert not (project.folder / ".venv" / "half").exists()


def test_new_pins_update_the_environment(project: Project) -> None:
    project.prepare()
    with (project.folder / "constraints.txt").open("a") as constraints:
        constraints.write("something==1\n")
    assert project.prepare()[0] == 0
    assert project.done() == ["venv", "pip", "pip"]


def test_an_environment_whose_python_is_gone_is_built_again(project: Project) -> None:
    project.prepare()
    (project.folder / ".venv" / "bin" / "python").unlink()
    assert project.prepare()[0] == 0
    assert project.done() == ["venv", "pip", "venv", "pip"]


def test_a_failed_build_is_one_line_with_the_reason(project: Project) -> None:
    code, out, err = project.prepare(PIP_ERROR="ERROR: No space left on device")
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("error: building the environment failed: ERROR: No space left on device; all of it is in ")
    assert project.prepare()[0] == 0


@pytest.mark.parametrize("case", ["temporary clone", "somebody else's .venv"])
def test_an_environment_outside_the_folder(case: str, tmp_path: Path) -> None:
    project = Project(tmp_path / ("tmpab12_z9x" if case == "temporary clone" else "project"), tmp_path)
    if case != "temporary clone":
        (project.folder / ".venv").mkdir()
    code, python, _ = project.prepare()
    assert code == 0
    assert Path(python).is_relative_to(tmp_path / ".cache" / "chemscale" / "environments")
    code, python, _ = project.prepare(CHEMSCALE_HOME=str(tmp_path / "elsewhere"))
    assert Path(python).is_relative_to(tmp_path / "elsewhere" / "environments")
    assert "--editable" not in project.done_file.read_text()


def test_an_environment_that_has_the_project_is_used(project: Project) -> None:
    variables = {"PYTHONPATH": str(project.folder)}
    (project.folder / "chemscale_bench").mkdir()
    (project.folder / "chemscale_bench" / "__init__.py").touch()
    assert project.prepare(**variables) == (0, sys.executable, "")
    # The project installed from another folder is other code.
    assert project.prepare(PYTHONPATH=f"{project.folder / 'stand-ins'}:{ROOT}")[1] != sys.executable


def test_without_a_suitable_python_the_cure_is_told(project: Project, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "dirname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    (tmp_path / "bin" / "python3").symlink_to("/bin/false")
    code, out, err = project.prepare(PATH=str(tmp_path / "bin"))
    assert (code, out) == (2, "")
    assert err.startswith("error: Python must be 3.11, 3.12 or 3.13, found none on PATH; install one")
    assert err.count("\n") == 1
