"""Progress bars of long work, where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(of: Iterable[Any] | None = None, *, hidden: bool = False, **shown: Any) -> tqdm[Any]:
    """A bar on standard error, with the time that is left.

    It appears on a terminal and in a notebook; in a file that keeps the output, a bar is a heap of carriage returns.

    Args:
        of: what is worked through; left out, `update` says how far the work is.
        hidden: not to be seen there, either.
        **shown: of tqdm, such as total, desc and unit.
    """
    return tqdm(of, file=sys.stderr, mininterval=0.2, disable=hidden or not watched(), **shown)


def watched() -> bool:
    """Whether somebody sees what is written to standard error; that of a notebook says that it is no terminal."""
    return sys.stderr.isatty() or type(sys.stderr).__module__ == "ipykernel.iostream"
