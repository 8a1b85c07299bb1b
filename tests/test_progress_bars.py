"""Bars are seen on terminals and in notebooks, and stay out of files."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

CODE = "from chemscale_bench.progress import progress_bar\nfor _ in progress_bar(range(3), desc='work'): pass\n"


def test_a_terminal_shows_it_and_a_file_does_not() -> None:
    there, here = pty.openpty()
    termios.tcsetwinsize(here, (24, 80))
    subprocess.run([sys.executable, "-c", CODE], stderr=here, check=True)
    assert b"work: 100%" in os.read(there, 10_000)
    piped = subprocess.run([sys.executable, "-c", CODE], stderr=subprocess.PIPE, check=True)
    assert piped.stderr == b""


def test_a_notebook_shows_it(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cell = nbformat.v4.new_code_cell(CODE)
    nbclient.NotebookClient(nbformat.v4.new_notebook(cells=[cell])).execute(cwd=str(tmp_path))
    assert {output.name for output in cell.outputs} == {"stderr"}
    assert "work: 100%" in "".join(output.text for output in cell.outputs)
