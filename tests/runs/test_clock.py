"""What energy a run counts, by a counter that is of all that use the device."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from chemscale_bench.runs.clock import Clock
from chemscale_bench.tracking import energy


@pytest.mark.parametrize(
    ("shared", "local_rank", "source", "used"),
    [(False, 0, "rapl", 3.0), (False, 1, "rapl", 0.0), (True, 0, "shared", math.nan)],
)
def test_energy_is_counted_once(
    shared: bool, local_rank: int, source: str, used: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "RAPL", tmp_path)
    monkeypatch.delenv(energy.SHARED, raising=False)
    if shared:
        monkeypatch.setenv(energy.SHARED, "1")
    package, machine = tmp_path / "intel-rapl:0", tmp_path / "intel-rapl:1"
    for counter, of in ((package, "package-0"), (machine, "psys")):  # the latter of all that the machine uses
        counter.mkdir()
        for name, value in (("name", of), ("energy_uj", "1000000000"), ("max_energy_range_uj", "1000000000000")):
            (counter / name).write_text(f"{value}\n")
    clock = Clock({}, torch.device("cpu"))
    for counter in (package, machine):
        (counter / "energy_uj").write_text("4000000000\n")
    assert clock.energy.source == source
    assert clock.kilojoules(local_rank) == pytest.approx(used, nan_ok=True)
