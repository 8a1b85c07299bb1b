"""The bar of a preparation: on a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from chemscale_bench.data.progress import Progress


class Screen(io.StringIO):
    """Where the output goes."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_a_file_that_keeps_the_output_gets_no_carriage_returns(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress("molecules.smi", 1_000, 10, None) as progress:
        progress.indexed(0.5)
    assert ("preparing molecules.smi" in screen.getvalue()) is terminal
    assert terminal or not screen.getvalue()
