"""Every docstring's example runs and prints what it says."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["laws", "regimes", "choice", "planning", "design", "forecast"])
def test_examples(name: str) -> None:
    result = doctest.testmod(import_module(f"chemscale_bench.scaling.{name}"))
    assert result.attempted
    assert not result.failed
