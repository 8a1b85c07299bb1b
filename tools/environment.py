"""Find the environment that runs this project, or build it once; prints the path of its python.

Called by `tools/launch` with any Python 3.11 to 3.13, in the project folder, before anything is installed: standard
library only. The first that is there wins:

1. the environment of the Python on PATH (an activated one, or that of `uv run`), if this project is installed in it;
2. the project's `.venv`, whoever made it, if this project is installed in it;
3. an environment of our own, built under a lock and marked with a digest of what it was built from.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path.cwd()
BUILT_FROM = ("pyproject.toml", "constraints.txt")
MARKER = "chemscale-built-from"
HAS_THE_PROJECT = """
import importlib.util as util, os, sys
package = util.find_spec("chemscale_bench")
installed = package and all(util.find_spec(name) for name in ("mlflow", "torch"))
sys.exit(not (installed and os.path.samefile(os.path.dirname(package.origin), "chemscale_bench")))
"""


def has_the_project(python: str) -> bool:
    """Whether the project is installed for `python` from this very folder (-P: lying in the folder is not enough)."""
    return subprocess.run([python, "-P", "-c", HAS_THE_PROJECT], stderr=subprocess.DEVNULL).returncode == 0


def digest() -> str:
    """What an environment depends on: the two files that name the packages."""
    return hashlib.sha256(b"".join((PROJECT / name).read_bytes() for name in BUILT_FROM)).hexdigest()[:16]


def is_temporary() -> bool:
    """Whether `mlflow run <git URL>` has cloned the project for one run only, into a folder of tempfile.mkdtemp."""
    return re.fullmatch(r"tmp\w{8}", PROJECT.name) is not None


def state(environment: Path) -> str:
    """The digest an environment of ours was built from, `building` if it is not whole, or nothing if it is not ours."""
    marker = environment / MARKER
    if not marker.exists():
        return ""
    # Its python is a link, which an upgrade of the system's Python breaks.
    return marker.read_text() if (environment / "bin" / "python").exists() else "building"


def place() -> tuple[Path, str]:
    """Where our environment belongs, and what pip has to install.

    A folder that stays gets its `.venv`, with the project installed in place. A temporary clone, or a folder whose
    `.venv` is somebody else's, gets one in the cache, shared by all runs with the same dependencies; the tool is
    started in the project folder, whose code Python then takes first.
    """
    local = PROJECT / ".venv"
    if not is_temporary() and (not local.exists() or state(local)):
        return local, "--editable=."
    home = Path(os.environ.get("CHEMSCALE_HOME") or Path.home() / ".cache" / "chemscale")
    return home / "environments" / f"{digest()}-python{sys.version_info[0]}.{sys.version_info[1]}", "."


def build(environment: Path, what: str) -> None:
    """Build or update an environment; if this is killed on the way, the next start begins anew."""
    environment.parent.mkdir(parents=True, exist_ok=True)
    # The kernel drops this lock with its last holder, and pip holds it too: no lock outlives its owner.
    with environment.with_name(environment.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is building {environment}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if state(environment) == digest():
            return
        python = str(environment / "bin" / "python")
        # To compile all of it takes a minute; Python compiles what is imported, if it may write.
        later = [] if sys.dont_write_bytecode else ["--no-compile"]
        steps = [[python, "-m", "pip", "install", *later, "--constraint=constraints.txt", what]]
        if state(environment) in ("", "building"):
            begin(environment)
            steps.insert(0, [sys.executable, "-m", "venv", str(environment)])
        mark(environment, "building")
        log = environment.with_name(environment.name + ".log")
        say(f"building the environment in {environment} (once; minutes, and some GB for a GPU); progress in {log}")
        with log.open("w") as output:
            for step in steps:
                if subprocess.run(step, stdout=output, stderr=output, pass_fds=[lock.fileno()]).returncode != 0:
                    sys.exit(failure(log))
        mark(environment, digest())
        say("the environment is ready")


def begin(environment: Path) -> None:
    """Make an empty folder of ours, which never lacks its mark.

    A start that looks for a `.venv` meanwhile takes a folder without a mark for somebody else's.
    """
    if state(environment):
        for entry in environment.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != MARKER:
                entry.unlink()
        return
    new = environment.with_name(environment.name + ".new")
    for folder in (new, environment):
        shutil.rmtree(folder, ignore_errors=True)
    new.mkdir()
    mark(new, "building")
    new.rename(environment)


def mark(environment: Path, text: str) -> None:
    """Write the mark in one step, because a start may read it at any moment."""
    marker = environment / MARKER
    marker.with_suffix(".new").write_text(text)
    marker.with_suffix(".new").replace(marker)


def failure(log: Path) -> str:
    """The one line that explains a failed step."""
    text = log.read_text(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()] or ["no output"]
    reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1]).strip()
    if "ensurepip" in text:
        reason = f"{sys.executable} comes without ensurepip (on Debian and Ubuntu: apt install python3-venv)"
    return f"error: building the environment failed: {reason}; all of it is in {log}; then run the same command again"


def say(message: str) -> None:
    """Tell the user what takes so long; standard output carries the result."""
    print(f"chemscale: {message}", file=sys.stderr, flush=True)


def main() -> None:
    """Print the python to use."""
    local = PROJECT / ".venv"
    candidates = [Path(sys.executable), local / "bin" / "python"]
    if state(local):  # ours, so perhaps cut short or out of date: that is looked at below
        candidates = [python for python in candidates if local not in python.parents]
    for python in candidates:
        if python.exists() and has_the_project(str(python)):
            print(python)
            return
    environment, what = place()
    if state(environment) != digest():
        build(environment, what)
    print(environment / "bin" / "python")


if __name__ == "__main__":
    main()
