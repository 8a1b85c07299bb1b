"""Imports run one way, every module says what it is for, and no file grows past what a reader can hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "chemscale_bench"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Each layer may import from the layers below it, and from its own folder. DESIGN.md tells what each is for.
LAYERS = [
    ("__main__",),
    ("cli", "library"),
    ("verbs",),
    ("runs",),
    ("leaderboard",),
    ("tuning",),
    ("scaling",),
    ("tracking",),
    ("evaluation",),
    ("training",),
    ("models",),
    ("data",),
    ("speed",),
    ("tasks",),
    ("settings",),
    ("delimited", "errors", "launcher", "places", "progress", "shell"),
]
HEIGHT = {name: -level for level, names in enumerate(LAYERS) for name in names}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(tree: ast.AST) -> set[str]:
    """Names below chemscale_bench that a module imports anywhere, also inside functions and under TYPE_CHECKING."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("chemscale_bench.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "a module starts with a docstring that says what it is for"
    assert source.count("\n") <= 300, "split files of more than 300 lines"
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        assert "\nif TYPE_CHECKING:\n    from chemscale_bench.library import " in source
        assert imports(tree) == {"library"}, "__init__ loads it only when asked, so that --help stays fast"
        return
    assert own in HEIGHT, f"give {own} its place in LAYERS"
    upward = {name for name in imports(tree) if name != own and HEIGHT[name] >= HEIGHT[own]}
    assert not upward, f"{own} must not import from {sorted(upward)}: imports run downwards only"


def test_an_upward_import_would_be_found() -> None:
    inside_a_function = "def work():\n    from chemscale_bench import cli\n    import chemscale_bench.runs\n"
    assert imports(ast.parse(inside_a_function)) == {"cli", "runs"}
