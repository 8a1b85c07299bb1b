"""The one kind of error a user sees: a single line with the rule, the value that broke it, and the cure."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right; the command line prints it as one line and exits with code 2.

    Write the message as *rule, value, cure*, for example ``"params must be between 1e4 and 2e10, got 1e15; ask for
    a smaller model"``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
