"""Would the tests notice? Changes a module in one place at a time, runs its tests, and lists the changes that survive.

Run: `python tools/mutants.py chemscale_bench/training/schedules.py tests/training [--count 40] [--seed 0]`

A change is a comparison, an operator or a number that is another one, a condition turned round, or a returned value
that is nothing. The tests run on a copy of the repository; a module's places are drawn at random, the same for a seed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
SECONDS = 600
"""Of the tests of one change; what takes longer than that hangs, and counts as noticed."""


def changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, object]]:
    """Every node with a field that can be changed, and what to."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare() if type(node.ops[0]) in SWAPS:
                yield node, "ops", [SWAPS[type(node.ops[0])](), *node.ops[1:]]
            case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in SWAPS:
                yield node, "op", SWAPS[type(node.op)]()
            case ast.Constant(value=bool(truth)):
                yield node, "value", not truth
            case ast.Constant(value=int(number) | float(number)):
                yield node, "value", number * 2 if number else 1
            case ast.If() | ast.IfExp():
                yield node, "test", ast.UnaryOp(ast.Not(), node.test)
            case ast.Return() if node.value is not None and ast.unparse(node.value) != "None":
                yield node, "value", ast.Constant(None)


def mutants(source: str, count: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """Line, the changed statement, and the whole changed module."""
    places = range(len(list(changes(ast.parse(source)))))
    for place in sorted(random.Random(seed).sample(places, min(count, len(places)))):
        tree = ast.parse(source)
        node, name, value = list(changes(tree))[place]
        before = ast.unparse(copy.deepcopy(node))
        setattr(node, name, value)
        after = ast.unparse(ast.fix_missing_locations(node))
        yield getattr(node, "lineno", 0), f"{before}  ->  {after}".replace("\n", " ")[:150], ast.unparse(tree)


def main() -> None:
    """Print the survivors and the share that was noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    source, noticed, tried = (ROOT / chosen.module).read_text(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        shutil.copytree(ROOT, work, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", "mlruns", "*.db"))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *chosen.tests]
        environment = os.environ | {"PYTHONPATH": str(work)}
        if subprocess.run(command, cwd=work, env=environment, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"the tests must pass before anything is changed, {' '.join(chosen.tests)} do not")
        for line, change, text in mutants(source, chosen.count, chosen.seed):
            (work / chosen.module).write_text(text)
            try:
                done = subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=SECONDS)
                killed = done.returncode != 0
            except subprocess.TimeoutExpired:
                killed = True
            tried, noticed = tried + 1, noticed + killed
            if not killed:
                print(f"survived: {chosen.module}:{line}: {change}", flush=True)
    print(f"{chosen.module}: {noticed} of {tried} changes were noticed")


if __name__ == "__main__":
    main()
