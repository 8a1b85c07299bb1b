"""Lightning's Fabric without Lightning's Trainer: the only module that imports it, because it takes care at that."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec


@contextmanager
def only_version_of(package: str) -> Iterator[None]:
    """For as long as this lasts, importing an installed package gives an empty module that knows its version.

    A package that is loaded already stays as it is, and one that is missing stays missing.
    """
    spec = None if package in sys.modules else find_spec(package)
    if spec is None:
        yield
        return
    stand_in = module_from_spec(spec)
    stand_in.__version__ = version(package)  # type: ignore[attr-defined]
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        del sys.modules[package]


# Fabric imports torchmetrics to compare its version and uses it only to detect spikes, which nothing here asks for.
# SchNetPack's release of it loads Transformers and Matplotlib in turn: seconds at the start of every command.
with only_version_of("torchmetrics"):
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.utilities.rank_zero import rank_zero_module  # type: ignore[attr-defined]

__all__ = [
    "ClusterEnvironment",
    "Fabric",
    "LightningEnvironment",
    "SLURMEnvironment",
    "TorchElasticEnvironment",
    "rank_zero_module",
]
