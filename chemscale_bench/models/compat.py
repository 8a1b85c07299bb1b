"""Import the packages that trip over a current torch; the only place that knows how.

Use ``import_schnetpack("schnetpack.representation")`` and ``import_mace("mace.modules")`` instead of import statements.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

UNPICKLE_ANYTHING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def import_schnetpack(name: str) -> ModuleType:
    """Import a module of schnetpack.

    schnetpack below 2.2 takes the type variable ``T_co`` from ``torch.utils.data.dataloader``, where torch 2.13 no
    longer has it. It only annotates with it. schnetpack 2.2 needs Python 3.12: this can go with Python 3.11.
    """
    import torch.utils.data
    from torch.utils.data import dataloader

    if not hasattr(dataloader, "T_co"):
        dataloader.T_co = torch.utils.data.dataset._T_co  # type: ignore[attr-defined]
    return import_module(name)


def import_mace(name: str) -> ModuleType:
    """Import a module of mace-torch, and keep `torch.load` safe.

    mace sets an environment variable that makes every later ``torch.load`` of the process, and of its children,
    unpickle anything: it is put back. It is meant for the tables of e3nn 0.4.4, which hold slices; those are allowed
    by name instead.
    This can go when mace/__init__.py no longer sets the variable.
    """
    from torch.serialization import safe_globals

    before = os.environ.get(UNPICKLE_ANYTHING)
    try:
        with safe_globals([slice]):
            import_module("e3nn.o3")
        return import_module(name)
    finally:
        if before is None:
            os.environ.pop(UNPICKLE_ANYTHING, None)
        else:
            os.environ[UNPICKLE_ANYTHING] = before
