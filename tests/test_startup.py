"""No verb loads a package that it can do without, so that what a user types answers soon."""

import subprocess
import sys

LOAD_ALL = """
import importlib, pkgutil, sys
from chemscale_bench import verbs
names = sorted(module.name for module in pkgutil.iter_modules(verbs.__path__))
for name in names:
    importlib.import_module(f"chemscale_bench.verbs.{name}")
print(*names)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
OF_A_TRAINING = """
import sys
import chemscale_bench.runs.force, chemscale_bench.runs.language
print(*sorted(sys.modules))
"""
# Fabric alone is used of Lightning; Transformers reads published weights, SchNetPack and MACE are for benchmarks and
# comparisons, MLflow waits until a store is opened.
SLOW = {"lightning", "pytorch_lightning", "torchmetrics", "transformers", "matplotlib", "schnetpack", "mace", "mlflow"}


def test_verbs_do_not_load_what_they_can_do_without() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD_ALL], capture_output=True, text=True, check=True)
    verbs, packages = (set(line.split()) for line in done.stdout.splitlines())
    assert {"chemgpt", "forcefield", "tune", "fit", "submit", "verify"} <= verbs
    assert "lightning_fabric" in packages
    assert not SLOW & packages


def test_a_training_does_not_load_what_only_some_need() -> None:
    done = subprocess.run([sys.executable, "-c", OF_A_TRAINING], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert not {"scipy.stats", "mlflow", "optuna"} & loaded
