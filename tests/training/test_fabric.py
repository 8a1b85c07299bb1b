"""Fabric comes without torchmetrics; that SchNetPack gets it all the same, test_dependencies shows."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from chemscale_bench.training.fabric import only_version_of

from lightning_fabric.utilities import imports  # isort: skip  (by itself it would load torchmetrics)


def test_fabric_knows_how_recent_torchmetrics_is() -> None:
    assert imports._TORCHMETRICS_GREATER_EQUAL_1_0_0 is (Version(version("torchmetrics")) >= Version("1.0.0"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package, version 1.2, that is not loaded."""
    (tmp_path / "slow_to_load.py").write_text("loaded = True\n")
    metadata = tmp_path / "slow_to_load-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: slow_to_load\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_to_load", raising=False)
    return "slow_to_load"


def test_only_the_version_is_there_and_then_the_package(package: str) -> None:
    with only_version_of(package):
        stand_in = __import__(package)
        assert stand_in.__version__ == "1.2"
        assert not hasattr(stand_in, "loaded")
    assert __import__(package).loaded


def test_an_error_leaves_no_stand_in(package: str) -> None:
    with pytest.raises(ValueError, match="broken"), only_version_of(package):
        raise ValueError("broken")
    assert package not in sys.modules


def test_a_loaded_package_stays(package: str) -> None:
    loaded = __import__(package)
    with only_version_of(package):
        assert __import__(package) is loaded
    assert sys.modules[package] is loaded


def test_a_missing_package_stays_missing() -> None:
    with only_version_of("not_installed_anywhere"), pytest.raises(ImportError):
        __import__("not_installed_anywhere")
