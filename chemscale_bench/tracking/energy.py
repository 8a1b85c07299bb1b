"""Energy from hardware counters; NaN where there is none, never an estimate."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

RAPL = Path("/sys/class/powercap")
SHARED = "CHEMSCALE_SHARED_DEVICE"
"""Set in the environment of workers that share a device: its counter has the energy of all of them."""


class EnergyMeter:
    """Energy used by the GPU (NVML counter) or the processor packages (RAPL).

    Windows shorter than about two seconds are not to be trusted: NVML refreshes its counter every 20 to 100 ms.
    """

    def __init__(self, device: torch.device) -> None:
        self.source = "shared" if SHARED in os.environ else "unavailable"
        self.device = device
        self.last = self.read()
        if self.last is not None:
            self.source = "nvml" if device.type == "cuda" else "rapl"

    def read(self) -> dict[str, tuple[float, float]] | None:
        """Joules and the joules at which the counter wraps, per counter; nothing if others use it, too."""
        if SHARED in os.environ:
            return None
        return read_nvml(self.device) if self.device.type == "cuda" else read_rapl()

    def kilojoules_since_last_call(self) -> float:
        """Energy in kJ since the last call, or since the start; NaN without a counter.

        One wrap of RAPL's counter in between is allowed for.
        """
        before, self.last = self.last, self.read()
        if before is None or self.last is None:
            return math.nan
        used = 0.0
        for name, (joules, wraps_at) in self.last.items():
            difference = joules - before[name][0]
            used += difference if difference >= 0 else difference + wraps_at
        return used / 1000


def read_nvml(device: torch.device) -> dict[str, tuple[float, float]] | None:
    """The energy counter of one GPU."""
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        return {"gpu": (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000, math.inf)}
    except pynvml.NVMLError:
        return None


def read_rapl() -> dict[str, tuple[float, float]] | None:
    """The energy counters of the processor packages; the kernel lets only root read them on most machines."""
    counters = {}
    for package in RAPL.glob("intel-rapl:*"):
        if package.name.count(":") == 1:
            try:
                if not (package / "name").read_text().startswith("package"):
                    continue  # psys of a laptop is the whole machine, its package included
                energy, wraps_at = (
                    int((package / name).read_text()) / 1e6 for name in ("energy_uj", "max_energy_range_uj")
                )
            except (OSError, ValueError):
                return None
            counters[package.name] = (energy, wraps_at)
    return counters or None
