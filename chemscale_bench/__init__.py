"""The benchmark suite of neural scaling in chemistry."""

from importlib import import_module
from importlib.metadata import version
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("chemscale-bench")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
