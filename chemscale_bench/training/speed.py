"""How close training comes to what the device can do."""

from __future__ import annotations

import math

import torch

# Dense bf16 matrix peak in FLOP/s, from the vendors' data sheets, by a part of the product name.
BF16_PEAK_FLOPS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "B200": 2250e12,
    "GH200": 989e12,
    "A100": 312e12,
    "A10G": 70e12,
    "A30": 165e12,
    "A40": 150e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "V100": math.nan,  # has no bf16
}


def peak_flops(device_name: str) -> float:
    """Dense bf16 peak of a device in FLOP/s, NaN if it is not in the table; the longest matching name decides."""
    matches = [name for name in BF16_PEAK_FLOPS if name in device_name]
    return BF16_PEAK_FLOPS[max(matches, key=len)] if matches else math.nan


def peak_memory_gib(device: torch.device) -> float:
    """Most memory that the process has held: on the GPU if it trains there, else resident in main memory."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
