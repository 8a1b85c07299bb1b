"""The packages live together in one process, and importing them does not weaken `torch.load`."""

import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

IMPORT_ALL = """
import chemscale_bench.training.fabric  # first: the packages below need the torchmetrics that it goes without
import mlflow, torch, transformers, selfies, rdkit, optuna
from chemscale_bench.models.compat import import_mace, import_schnetpack
import_mace("mace.modules")
import_mace("mace.calculators")
import_schnetpack("schnetpack.representation")
import_mace("mace.tools")

import io, os, pickle

class Attack:
    def __reduce__(self):
        return os.putenv, ("ATTACKED", "1")

file = io.BytesIO()
torch.save(Attack(), file)
file.seek(0)
try:
    torch.load(file)
except pickle.UnpicklingError:
    print("refused")
"""


def test_every_package_imports_in_one_process_and_loading_weights_stays_safe() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["refused"], done.stderr


def test_uv_resolves_to_the_same_versions_as_pip() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["tool"]["uv"]["constraint-dependencies"] == pins
    allowed = {one.name: one.specifier for one in map(Requirement, settings["project"]["dependencies"])}
    for pin in map(Requirement, pins):
        (version,) = (one.version for one in pin.specifier)
        assert version in allowed[pin.name], pin
