"""Would the tests notice? Changes modules in one place at a time, runs their tests, and lists the changes that survive.

Run: `OMP_NUM_THREADS=1 python tools/mutants.py chemscale_bench/scaling/laws.py chemscale_bench/tuning [--count 40]`

A change is a comparison, an operator or a number that is another one, a condition turned round, or a returned value
that is nothing; decorators, `__repr__` and the text of messages are left alone. A module's places are drawn at random,
the same for a seed. A change is first shown to the tests named after the module (training/loop.py:
tests/training/test_loop*.py), then to those of its folder or of `--then`, the quick ones first. They run on a copy of
the repository, each time in a fork of a process that has imported the large libraries and nothing of ours.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARIES = (
    "numpy", "scipy.optimize", "scipy.stats", "pandas", "pyarrow.parquet", "sklearn.base", "sklearn.model_selection",
    "torch", "torch.utils.checkpoint", "torch._dynamo", "mlflow", "mlflow.pytorch", "optuna", "plotly.graph_objects",
    "hypothesis", "numba", "pydantic", "lightning", "rdkit.Chem", "selfies",
)  # fmt: skip
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What a test could notice a change of."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.JoinedStr() | ast.FunctionDef(name="__repr__") | ast.keyword(arg="strict"):
                continue
            case _ if child not in getattr(node, "decorator_list", []):
                yield child
                yield from nodes(child)


def changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, object]]:
    """Every node with a field that can be changed, and what to."""
    for node in nodes(tree):
        match node:
            case ast.Compare() if type(node.ops[0]) in SWAPS:
                yield node, "ops", [SWAPS[type(node.ops[0])](), *node.ops[1:]]
            case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in SWAPS:
                yield node, "op", SWAPS[type(node.op)]()
            case ast.Constant(value=bool(truth)):
                yield node, "value", not truth
            case ast.Constant(value=int(number) | float(number)):
                yield node, "value", number * 2 if number else 1
            case ast.If() | ast.IfExp() if ast.unparse(node.test) != "TYPE_CHECKING":
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


def tests_of(module: Path, then: Sequence[str] | None) -> list[tuple[str, ...]]:
    """Files of tests, in the order in which they are asked."""
    folder = Path("tests", *module.parts[1:-1])
    named = sorted(map(str, folder.rglob(f"test_{module.stem}*.py")))
    stages = [tuple(named), (str(folder),) if then is None else tuple(then)]
    return [stage for stage in stages if stage]


class FastestFirst:
    """Orders tests by the seconds that they took when nothing was changed."""

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, path.exists()
        self.seconds = json.loads(path.read_text()) if self.known else {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The quick ones first: most changes are noticed by one of them."""
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Fixtures count with the first test that asks for them."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Keep the seconds for the next process."""
        if not self.known:
            self.path.write_text(json.dumps(self.seconds))


def run(tests: Sequence[str], seconds: float) -> int:
    """Exit code of tests in a fork of this process; what takes longer hangs, and is ended."""
    if not (child := os.fork()):
        code = 1
        try:
            os.setsid()
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            order = FastestFirst(Path(f"../{abs(hash(tuple(tests)))}.json"))
            code = int(pytest.main(["-x", "-p", "no:cacheprovider", *tests], plugins=[order]))
        finally:
            os._exit(code)
    waits = round(seconds / 0.02)  # a clock would go on while this process is paused, and take that for hanging
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and waits:
        time.sleep(0.02)
        waits -= 1
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return (ended if ended[0] else os.waitpid(child, 0))[1]


@cache
def limit(tests: tuple[str, ...]) -> float:
    """Seconds after which tests of a changed module hang, from those that they need when nothing is changed."""
    start = time.monotonic()
    if run(tests, 3600):
        sys.exit(f"the tests must pass before anything is changed, {' '.join(tests)} do not")
    return 30 + 5 * (time.monotonic() - start)


def try_module(module: Path, then: Sequence[str] | None, count: int, seed: int) -> tuple[int, int]:
    """Noticed and tried changes of a module in the present folder; prints those that survive."""
    source, tried, noticed = module.read_text(), 0, 0
    sys.dont_write_bytecode = False
    limits = {tests: limit(tests) for tests in tests_of(module, then)}
    sys.dont_write_bytecode = True  # two changes of one second and size would be taken for one
    module.write_text("raise ImportError")
    limits = {tests: seconds for tests, seconds in limits.items() if run(tests, seconds)}
    for line, change, text in mutants(source, count if limits else 0, seed):
        module.write_text(text)
        tried += 1
        if any(run(tests, seconds) for tests, seconds in limits.items()):
            noticed += 1
        else:
            print(f"survived: {module}:{line}: {change}", flush=True)
    module.write_text(source)
    return noticed, tried


def main() -> None:
    """Print the survivors and the share that was noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", help="modules, or folders of them")
    parser.add_argument("--then", nargs="*", help="tests for what survives those named after it; default: the folder's")
    parser.add_argument("--count", type=int, default=40, help="changes of each module")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    table = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        shutil.copytree(ROOT, work, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", "mlruns", "*.db"))
        (work.parent / "shared").symlink_to(ROOT.parent / "shared")
        os.chdir(work)
        os.environ |= {"PYTHONPATH": str(work), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.path.insert(0, str(work))
        for name in LIBRARIES:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        for name in [name for name in sys.modules if name.startswith("chemscale_bench")]:  # MLflow loads its plugins
            del sys.modules[name]
        for path in chosen.paths:
            for module in sorted(path.glob("*.py")) if path.is_dir() else [path]:
                noticed, tried = try_module(module, chosen.then, chosen.count, chosen.seed)
                table.append((noticed, tried, str(module)))
                print(row(*table[-1]), flush=True)
    print("\n" + "\n".join(row(*each) for each in table))
    print(row(sum(each[0] for each in table), sum(each[1] for each in table), "all"))


def row(noticed: int, tried: int, name: str) -> str:
    """Of the table."""
    return f"{noticed:>4} of {tried:>3} noticed {noticed / max(tried, 1):>4.0%}  {name}"


if __name__ == "__main__":
    main()
