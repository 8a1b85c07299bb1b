"""A tracking store for all tests of a file, whose own fixture `store` trains in it, and where they keep entries."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest


@pytest.fixture(scope="module")
def store_of_file(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, prepared_home: Path) -> Iterator[None]:
    """Nothing but what the file's tests make is in the store and in the cache."""
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('store') / 'mlflow.db')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHEMSCALE_HOME", str(prepared_home))
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        mlflow.set_tracking_uri(uri)
        yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture
def home(store: None, prepared_home: Path, monkeypatch: pytest.MonkeyPatch, chemscale_home: Path) -> None:
    """The cache of that store."""
    monkeypatch.setenv("CHEMSCALE_HOME", str(prepared_home))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for entries that several tests read."""
    return tmp_path_factory.mktemp("entries")
