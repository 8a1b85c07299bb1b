"""The benchmark suite of neural scaling in chemistry.

Example:
    >>> import chemscale_bench as cs
    >>> sorted(cs.list_tasks().index)[:2]
    ['ani1x-ff', 'embedded-ff']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chemscale_bench.library import (
        fit,
        generate,
        list_tasks,
        load,
        plan,
        probe,
        read_leaderboard,
        read_runs,
        replay,
        simulate,
        study,
        train,
        tune,
        verify,
    )

__all__ = [
    "fit", "generate", "list_tasks", "load", "plan", "probe", "read_leaderboard", "read_runs", "replay", "simulate",
    "study", "train", "tune", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What the library offers, loaded when it is first asked for: the command line must not wait for it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("chemscale-bench")
    if name in __all__:
        return getattr(import_module("chemscale_bench.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
