"""The one kind of error a user sees: a single line with the rule, the value that broke it, and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says; its kind if that is nothing, as of a connection that was reset."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class UserError(Exception):
    """Something the user can put right; the command line prints it as one line and exits with code 2.

    Write the message as *rule, value, cure*, for example ``"params must be between 1e4 and 2e10, got 1e15; ask for
    a smaller model"``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The cure for a name that is not known: the nearest one that is, or else another cure."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise
