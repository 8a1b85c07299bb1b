"""One table of device peaks, read by the names of users and by those of torch."""

from __future__ import annotations

import math

import pytest

from chemscale_bench.speed.peaks import BF16_PEAK_FLOPS, peak_flops, peak_of_short_name


@pytest.mark.parametrize(
    ("device_name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        # None of these is the product whose name its own name begins or ends with.
        ("NVIDIA L40", math.nan),
        ("NVIDIA RTX A4000", math.nan),
        ("NVIDIA A1000", math.nan),
        ("Tesla V100-SXM2-16GB", math.nan),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", math.nan),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", math.nan),
        ("NVIDIA GeForce RTX 4090 D", math.nan),
        ("NVIDIA GeForce RTX 3090 Ti", math.nan),
        ("cpu", math.nan),
    ],
)
def test_peak_of_a_torch_device(device_name: str, peak: float) -> None:
    assert peak_flops(device_name) == pytest.approx(peak, nan_ok=True)


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("h200", 989e12),
        ("H100 SXM", 989e12),
        ("h100_pcie", 756e12),
        ("rtx-4090", 165e12),
        ("a10g", 70e12),
        ("v100", 125e12),
        ("abacus", math.nan),
    ],
)
def test_peak_of_a_short_name(device: str, peak: float) -> None:
    assert peak_of_short_name(device) == pytest.approx(peak, nan_ok=True)


def test_both_names_lead_to_the_same_number() -> None:
    for name, peak in BF16_PEAK_FLOPS.items():
        assert peak_of_short_name(name) == peak_flops(f"NVIDIA {name}") == peak
