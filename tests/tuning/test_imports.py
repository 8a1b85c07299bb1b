"""The pruner can be used by people who have nothing else of this package in mind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import chemscale_bench.tuning


def test_nothing_but_the_bottom_layer_is_imported() -> None:
    """Neither MLflow nor torch, nor any part of the package but its bottom layer and the shape of its schedules."""
    modules = sorted(path.stem for path in Path(chemscale_bench.tuning.__file__).parent.glob("*.py"))
    imports = "; ".join(f"import chemscale_bench.tuning.{name}" for name in modules if name != "__init__")
    names = "[name for name in sys.modules if name.split('.')[0] in ('mlflow', 'torch', 'chemscale_bench')]"
    listed = subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; print(*{names})"], capture_output=True, text=True, check=True
    )
    others = {name for name in listed.stdout.split() if not name.startswith("chemscale_bench.tuning")}
    schedules = {"chemscale_bench.training", "chemscale_bench.training.schedules"}
    bottom = {f"chemscale_bench.{name}" for name in ("delimited", "errors", "progress")}
    assert others <= {"chemscale_bench"} | bottom | schedules
