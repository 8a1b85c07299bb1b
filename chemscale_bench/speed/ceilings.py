"""What a device can do at most, measured: the rate of its matrix products, and how fast it copies memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.benchmark import Timer

MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}
COPIED_BYTES = 2**28  # far beyond what caches hold
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Ceiling(NamedTuple):
    """A rate: the median of its repeats, and their range."""

    median: float
    low: float
    high: float


def ceilings_of(device: torch.device, seconds: float) -> dict[str, Ceiling]:
    """All ceilings of a device by name, units included; at least so many seconds are spent on each."""
    rates = {f"matrix_{name}_gflop_per_s": _matrix_rate(device, kind, seconds) for name, kind in PRECISIONS.items()}
    rates["copy_gb_per_s"] = _copy_bandwidth(device, seconds)
    torch.cuda.empty_cache()  # whatever runs next in another process may need that memory; nothing happens on a CPU
    return rates


def table(ceilings: Mapping[str, Ceiling]) -> str:
    """The ceilings in Markdown."""
    lines = ["| ceiling | median | range |", "|---|---|---|"]
    lines += [f"| {name} | {one.median:,.4g} | {one.low:,.4g} to {one.high:,.4g} |" for name, one in ceilings.items()]
    return "\n".join(lines)


def _matrix_rate(device: torch.device, kind: torch.dtype, seconds: float) -> Ceiling:
    """GFLOP/s of a large square matrix product on all threads of torch; fp32 is TF32 where torch is set to that."""
    size = MATRIX_SIZE[device.type]
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    return _rate("torch.mm(a, b, out=c)", {"a": a, "b": b, "c": torch.empty_like(a)}, 2 * size**3, seconds)


def _copy_bandwidth(device: torch.device, seconds: float) -> Ceiling:
    """GB/s, read and written, of a copy within the device's memory."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    return _rate("b.copy_(a)", {"a": source, "b": torch.empty_like(source)}, 2 * COPIED_BYTES, seconds)


def _rate(statement: str, names: dict[str, torch.Tensor], work: int, seconds: float) -> Ceiling:
    # torch's timer warms up, and waits for a GPU.
    timer = Timer(statement, globals={"torch": torch, **names}, num_threads=torch.get_num_threads())
    rates = work / 1e9 / np.array(timer.blocked_autorange(min_run_time=seconds).times)
    return Ceiling(float(np.median(rates)), float(rates.min()), float(rates.max()))
