"""Commands for the user, as they can be typed in the shell that started this process."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def typed(name: str) -> str:
    """A command of this environment: by its name where the shell finds it, else by its path.

    `.venv/bin/mlflow run .` works in a shell whose environment is not activated; a bare `chemscale fit` does not.
    """
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)  # which may be that of another environment
    if not beside.exists() or (found and beside.samefile(found)):
        return name
    return shlex.quote(str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside))


def unquoted(params: Mapping[str, str]) -> dict[str, str]:
    """Parameters of a run as they were meant: `mlflow run` logs what a shell needs quotes for in quotes, as "''"."""
    found = dict(params)
    for name, value in params.items():
        with suppress(ValueError):  # of quotes that are none of a shell's
            if value.startswith("'") and shlex.join(words := shlex.split(value)) == value and len(words) == 1:
                found[name] = words[0]
    return found


def mlflow_ui() -> str:
    """The command that shows the runs."""
    return f"{typed('mlflow')} ui"
