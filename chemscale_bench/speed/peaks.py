"""What GPUs can do at most: dense bf16 peaks from the vendors' data sheets, for budgets and for utilisation."""

from __future__ import annotations

import math
import re

BF16_PEAK_FLOPS = {
    "H200": 989e12,
    "H100": 989e12,  # the SXM board
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "GH200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A10": 125e12,
    "A10G": 70e12,
    "A30": 165e12,
    "A40": 150e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Dense bf16 matrix peak in FLOP/s by product name."""
FP16_PEAK_FLOPS = {"V100": 125e12}
"""The same in fp16, of GPUs without bf16: good for a budget, but no peak of training in bf16."""
OTHER = re.compile(r"\b(MIG|Laptop|Max-Q|Ti|D)\b")
PEAK_BY_SHORT_NAME = {
    name.lower().replace(" ", "-"): peak for name, peak in (BF16_PEAK_FLOPS | FP16_PEAK_FLOPS).items()
}
"""Peak in FLOP/s by the name that a user types: h200, h100-pcie, rtx-4090."""


def peak_of_short_name(device: str) -> float:
    """Peak in FLOP/s of a device as a user names it, such as `h200` or `H100 SXM`; NaN if it is unknown."""
    name = re.sub(r"[\s_]+", "-", device.strip().lower()).removesuffix("-sxm")
    return PEAK_BY_SHORT_NAME.get(name, math.nan)


def peak_flops(device_name: str) -> float:
    """Dense bf16 peak in FLOP/s of a device as torch names it; NaN if it is unknown or has no bf16.

    Product names match as whole words, since an "NVIDIA L40" is no L4; the longest match decides. A part of a GPU, and
    what is sold under the name of another with a word more, have other peaks.
    """
    if OTHER.search(device_name):
        return math.nan
    matches = [name for name in BF16_PEAK_FLOPS if re.search(rf"\b{re.escape(name)}\b", device_name)]
    return BF16_PEAK_FLOPS[max(matches, key=len)] if matches else math.nan
