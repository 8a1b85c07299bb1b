"""A command that is told to type can be typed as it stands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chemscale_bench.shell import typed


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
