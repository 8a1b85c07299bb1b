"""Import the packages that trip over a current torch; the only place that knows how.

Use ``import_schnetpack("schnetpack.representation")`` and ``import_mace("mace.modules")`` instead of import statements.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from io import StringIO
from types import ModuleType

UNPICKLE_ANYTHING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


NETWORKS = ("schnetpack.nn", "schnetpack.representation", "schnetpack.atomistic")


def import_schnetpack(name: str) -> ModuleType:
    """Import a module of schnetpack.

    Its networks come without the rest of the package, whose data module and tasks load Lightning's Trainer and
    torchmetrics: that takes five times as long as all else that a force field needs.

    schnetpack below 2.2 takes the type variable ``T_co`` from ``torch.utils.data.dataloader``, where torch 2.13 no
    longer has it. It only annotates with it. schnetpack 2.2 needs Python 3.12: this can go with Python 3.11.
    """
    if name in NETWORKS:
        if name not in sys.modules:
            with without_init("schnetpack"):  # all at once: they find one another as parts of one package
                for each in NETWORKS:
                    import_module(each)
        return sys.modules[name]
    import torch.utils.data
    from torch.utils.data import dataloader

    if "schnetpack" not in sys.modules:  # what came without it would not be found in it
        for loaded in [module for module in sys.modules if module.startswith("schnetpack.")]:
            del sys.modules[loaded]
    if not hasattr(dataloader, "T_co"):
        dataloader.T_co = torch.utils.data.dataset._T_co  # type: ignore[attr-defined]
    return import_module(name)


@contextmanager
def without_init(package: str) -> Iterator[None]:
    """For as long as this lasts, modules of a package are imported without what its ``__init__`` imports.

    A package that is loaded already stays as it is.
    """
    spec = None if package in sys.modules else find_spec(package)
    if spec is None:
        yield
        return
    sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[package]


def import_mace(name: str) -> ModuleType:
    """Import a module of mace-torch without what it prints, and keep `torch.load` safe.

    mace sets an environment variable that makes every later ``torch.load`` of the process, and of its children,
    unpickle anything: it is put back. It is meant for the tables of e3nn 0.4.4, which hold slices; those are allowed
    by name instead.
    This can go when mace/__init__.py no longer sets the variable.
    """
    from torch.serialization import safe_globals

    before = os.environ.get(UNPICKLE_ANYTHING)
    try:
        with safe_globals([slice]), redirect_stdout(StringIO()):  # it prints which accelerators there are not
            import_module("e3nn.o3")
            return import_module(name)
    finally:
        if before is None:
            os.environ.pop(UNPICKLE_ANYTHING, None)
        else:
            os.environ[UNPICKLE_ANYTHING] = before
