"""The pruner's package for OptunaHub: its loader takes it, it needs nothing of ours, and it is up to date."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "optunahub" / "pruners" / "training_performance"
sys.path.append(str(ROOT / "tools"))
import optunahub_package  # noqa: E402

LOAD = """
import sys
import optunahub
package = optunahub.load_local_module("pruners/training_performance", registry_root=sys.argv[1])
print(package.TrainingPerformancePruner(budget=10), package.Decision)
print([name for name in sys.modules if name.startswith("chemscale_bench")])
"""


def test_its_modules_are_up_to_date() -> None:
    there = {path.name: path.read_text() for path in PACKAGE.glob("_[a-z]*.py")}
    assert there == optunahub_package.modules(), "python tools/optunahub_package.py"
    assert {"_pruner.py", "_curves.py", "_decision.py", "_estimators.py", "_gates.py", "_prediction.py"} == set(there)
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_front_matter_is_what_the_registry_asks_for() -> None:
    text = (PACKAGE / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    about = yaml.safe_load(front)
    assert set(about) == {"author", "title", "description", "tags", "optuna_versions", "license"}
    assert "pruner" in about["tags"]
    assert about["optuna_versions"] == [optuna.__version__]
    assert all(isinstance(value, str) for name, value in about.items() if name not in ("tags", "optuna_versions"))
    for section in ("Abstract", "APIs", "Installation", "Example"):
        assert f"\n## {section}\n" in body


def test_its_loader_takes_it_and_it_needs_nothing_of_ours(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(ROOT / "optunahub")], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded, ours = done.stdout.splitlines()
    assert loaded.startswith("<optunahub_registry.package.pruners.training_performance._pruner.Training")
    assert ours == "[]"


def test_its_example_stops_losers_once_it_is_in_the_registry(tmp_path: Path) -> None:
    # Where optunahub keeps what it has loaded from the registry before.
    cached = tmp_path / "github.com/optuna/optunahub-registry/main/package/pruners/training_performance"
    shutil.copytree(PACKAGE, cached)
    done = subprocess.run(
        [sys.executable, str(cached / "example.py")], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"OPTUNAHUB_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    stopped = int(done.stdout.split(" of 40 trials were stopped")[0].rsplit(" ", 1)[1])
    assert 10 < stopped < 40
    assert "Decision(prune=True, reason='rank'" in done.stdout
