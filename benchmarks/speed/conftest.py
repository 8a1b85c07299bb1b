"""Every suite hands over its rows here: printed at once, and kept where `chemscale speed` asks for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chemscale_bench.speed.measurements import Row, append

FILE = os.environ.get("CHEMSCALE_SPEED_ROWS", "")


@pytest.fixture
def record_row(request: pytest.FixtureRequest) -> Callable[..., Row]:
    """`Row.measured` without its first argument; prints the row."""

    def record(*arguments: Any, **named: Any) -> Row:
        row = Row.measured(request.path.stem.removeprefix("test_"), *arguments, **named)
        print(f"\n{row}")
        keep(row)
        return row

    return record


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of tests that `suite=quick` leaves out."""
    config.addinivalue_line("markers", "slow: takes minutes")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep why a test was skipped, or how it failed."""
    if report.passed:
        return
    suite, _, name = report.nodeid.rpartition("/")[2].removeprefix("test_").partition(".py::")
    if isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
    else:
        reason = getattr(getattr(report.longrepr, "reprcrash", None), "message", report.longreprtext)
    keep(Row(suite, name, note=f"{report.outcome}: {reason.strip().splitlines()[0]}"))


def keep(row: Row) -> None:
    if FILE:
        append(row, Path(FILE))
