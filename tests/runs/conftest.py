"""Fixtures of whole runs."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the first run of this file fills and the others find filled."""
    return tmp_path_factory.mktemp("home")
