"""An honest entry to attack, and no network to attack from."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chemscale_bench.leaderboard.planted import plant
from hostile.attacks import copied


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of entries with one honest one, to be copied."""
    root = tmp_path_factory.mktemp("honest")
    plant(root, sizes=(30_000, 100_000), budgets=(30_000, 100_000), seeds=1, gpu=True)
    return root


@pytest.fixture(scope="module")
def scratch(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the honest entry that is written anew for every generated attack."""
    return copied(honest, tmp_path_factory.mktemp("scratch"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be fetched."""

    def refuse(*_: object) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
