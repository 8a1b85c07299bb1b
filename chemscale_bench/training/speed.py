"""How close training comes to what the device can do."""

from __future__ import annotations

import torch

from chemscale_bench.peaks import peak_flops

__all__ = ["peak_flops", "peak_memory_gib"]


def peak_memory_gib(device: torch.device) -> float:
    """Most memory that the process has held: on the GPU if it trains there, else resident in main memory."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
