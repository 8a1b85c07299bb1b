"""No verb loads a package that it can do without, so that what a user types answers soon."""

import subprocess
import sys

import pytest

LOADED = """
import importlib, pkgutil, sys
import chemscale_bench.runs.force, chemscale_bench.runs.language
print(*sorted(sys.modules))
from chemscale_bench import verbs
names = sorted(module.name for module in pkgutil.iter_modules(verbs.__path__))
for name in names:
    importlib.import_module(f"chemscale_bench.verbs.{name}")
print(*names)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
# Fabric alone is used of Lightning; Transformers reads published weights, SchNetPack and MACE are for benchmarks and
# comparisons, MLflow waits until a store is opened.
SLOW = {"lightning", "pytorch_lightning", "torchmetrics", "transformers", "matplotlib", "schnetpack", "mace", "mlflow"}


@pytest.fixture(scope="module")
def loaded() -> list[set[str]]:
    """In a process of its own: the modules that a training loads, then all verbs, and the packages of both."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_verbs_do_not_load_what_they_can_do_without(loaded: list[set[str]]) -> None:
    _, verbs, packages = loaded
    assert {"chemgpt", "forcefield", "tune", "fit", "submit", "verify"} <= verbs
    assert "lightning_fabric" in packages
    assert not SLOW & packages


def test_a_training_does_not_load_what_only_some_need(loaded: list[set[str]]) -> None:
    of_training, _, _ = loaded
    assert "torch" in of_training
    assert not {"scipy.stats", "mlflow", "optuna"} & of_training
