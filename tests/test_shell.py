"""A command that is told to type can be typed as it stands."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from chemscale_bench.shell import typed, unquoted


@pytest.mark.parametrize(
    ("path", "folder", "said"),
    [
        (".venv/bin", ".", "chemscale"),
        ("elsewhere", ".", ".venv/bin/chemscale"),
        ("elsewhere", "below", "{root}/.venv/bin/chemscale"),
        ("other", ".", ".venv/bin/chemscale"),
    ],
)
def test_by_name_where_the_shell_finds_it(
    path: str, folder: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / ".venv" / "bin" / "chemscale"
    tool.parent.mkdir(parents=True)
    tool.touch(0o755)
    (tmp_path / "below").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "chemscale").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / path))
    monkeypatch.setattr(sys, "executable", str(tool.with_name("python")))
    monkeypatch.chdir(tmp_path / folder)
    assert typed("chemscale") == said.format(root=tmp_path)
    assert typed("mlflow") == "mlflow", "nothing better is known"


def test_what_mlflow_run_has_quoted_for_a_shell_is_what_was_meant() -> None:
    meant = {"column": "", "data": "my molecules.csv", "name": "Ada's", "plain": "1e4", "odd": "'", "two": "'a' 'b'"}
    logged = meant | {name: shlex.quote(meant[name]) for name in ("column", "data", "name")}
    assert logged["column"] == "''"
    assert unquoted(logged) == meant
