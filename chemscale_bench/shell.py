"""Commands for the user, as they can be typed in the shell that started this process."""

from __future__ import annotations

import shlex
import shutil
import sys
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


def mlflow_ui() -> str:
    """The command that shows the runs."""
    return f"{typed('mlflow')} ui"
