"""Verbs as a user calls them, in this process: one of its own takes seconds to start, and is for tests that end it."""

import io
from contextlib import redirect_stderr, redirect_stdout

from chemscale_bench.cli import main


def call(*arguments: str, expected: int = 0) -> str:
    """Run the tool; gives what it prints on both streams."""
    printed, code = io.StringIO(), 0
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    assert code == expected, printed.getvalue()[-2000:]
    return printed.getvalue()
