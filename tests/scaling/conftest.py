"""Real data and planted tables that several tests use."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

CHINCHILLA = Path(__file__).parents[3] / "shared" / "data" / "scaling" / "chinchilla_epoch.csv"


class Runs(NamedTuple):
    """Columns of a table."""

    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray


@pytest.fixture(scope="session")
def chinchilla() -> Runs:
    """The 240 Chinchilla points that are usually fitted: all but the 5 of highest loss."""
    if not CHINCHILLA.exists():
        pytest.skip("needs ../shared/data/scaling/chinchilla_epoch.csv (Epoch AI's reconstruction) beside the project")
    frame = pd.read_csv(CHINCHILLA).sort_values("loss").iloc[:-5]
    params = frame["Model Size"].to_numpy()
    return Runs(params, frame["Training FLOP"].to_numpy() / 6 / params, frame["loss"].to_numpy())


@pytest.fixture
def planted() -> Runs:
    """A grid from a known joint law, without noise: E 0.9, alpha 0.3, beta 0.35."""
    params = np.repeat(np.geomspace(1e6, 1e9, 6), 5)
    tokens = np.tile(np.geomspace(1e8, 1e11, 5), 6)
    return Runs(params, tokens, 0.9 + 60 * params**-0.3 + 900 * tokens**-0.35)
