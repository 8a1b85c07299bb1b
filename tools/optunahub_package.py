"""Writes the pruner's modules into its OptunaHub package, which imports nothing of ours.

After `python tools/optunahub_package.py` the folder is what a pull request to OptunaHub's registry adds below
`package/pruners/`. Its README, example and `__init__.py` are kept by hand, its modules are copies, and a test says when
they are out of date.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TUNING = ROOT / "chemscale_bench" / "tuning"
PACKAGE = ROOT / "optunahub" / "pruners" / "training_performance"
IMPORT = re.compile(r"^from chemscale_bench\.tuning\.(\w+) import", re.MULTILINE)
INSTEAD = {
    "from chemscale_bench.tuning import TrainingPerformancePruner\n": "import optunahub\n",
    "study = optuna.create_study(pruner=": 'package = optunahub.load_module("pruners/training_performance")\n'
    "            study = optuna.create_study(pruner=package.",
    ":class:`~chemscale_bench.tuning.judge.Judge`": "``chemscale_bench.tuning.judge.Judge``",
}
"""In docstrings."""


def needed(name: str = "pruner") -> set[str]:
    """The modules that a module needs, itself included."""
    found, to_do = set[str](), {name}
    while to_do:
        module = to_do.pop()
        found.add(module)
        to_do |= set(IMPORT.findall((TUNING / f"{module}.py").read_text())) - found
    return found


def modules() -> dict[str, str]:
    """Text of the package's modules, by file name."""
    texts = {}
    for module in sorted(needed()):
        text = IMPORT.sub(r"from ._\1 import", (TUNING / f"{module}.py").read_text())
        for ours, theirs in INSTEAD.items():
            text = text.replace(ours, theirs)
        texts[f"_{module}.py"] = text
    return texts


if __name__ == "__main__":
    for old in PACKAGE.glob("_[a-z]*.py"):
        old.unlink()
    for name, text in modules().items():
        (PACKAGE / name).write_text(text)
