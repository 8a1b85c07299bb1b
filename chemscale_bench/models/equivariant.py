"""What MACE, NequIP and Allegro share: couplings of irreps, spherical harmonics, Bessel functions and their envelope.

Shapes: E edges (the last axis), R radial functions; an irrep of degree l has 2 l + 1 components.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from chemscale_bench.models.compat import import_mace

SILU_GAIN = 1.6765  # 1 / root mean square of SiLU under a standard normal


def clebsch_gordan(left: int, right: int, out: int) -> Tensor:
    """Coupling (2 left + 1, 2 right + 1, 2 out + 1) in float64, normalized as e3nn does by default."""
    symbols: Tensor = import_mace("e3nn.o3").wigner_3j(left, right, out, dtype=torch.float64)
    return math.sqrt(2 * out + 1) * symbols


@cache
def coupling(left: int, right: int, outs: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Clebsch-Gordan coefficients (sum of 2 out + 1, (2 left + 1)(2 right + 1)), each output of unit variance."""
    blocks = [clebsch_gordan(left, right, out).flatten(0, 1).T for out in outs]
    return torch.cat(blocks).to(device=device, dtype=dtype)


def spherical_harmonics(direction_3E: Tensor, l_max: int) -> list[Tensor]:
    """Real spherical harmonics of unit vectors, degree l as (2l + 1, E) with squared norm 2l + 1."""
    first = math.sqrt(3) * direction_3E
    harmonics = [torch.ones_like(direction_3E[:1]), first]
    for degree in range(2, l_max + 1):
        pairs = (first[:, None] * harmonics[-1]).flatten(0, 1)
        matrix = coupling(1, degree - 1, (degree,), first.dtype, first.device)
        # Norm of the stretched product of Y_1 and Y_(l-1): sqrt(3 l) instead of sqrt(2l + 1).
        harmonics.append(math.sqrt((2 * degree + 1) / (3 * degree)) * (matrix @ pairs))
    return harmonics[: l_max + 1]


def polynomial_envelope(ratio_E: Tensor, power: int) -> Tensor:
    """Polynomial of distance / cutoff that falls from 1 to 0 at 1, with two derivatives (Gasteiger et al. 2020)."""
    p, x = power, ratio_E.clamp(max=1)
    return 1 - x**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x**2)


def bessel_functions(ratio_E: Tensor, envelope_E: Tensor, functions: int) -> Tensor:
    """Bessel functions sin(pi n x) / (pi x) of x = distance / cutoff times the envelope (R, E), n from 1 to R."""
    order_R = math.pi * torch.arange(1, functions + 1, dtype=ratio_E.dtype, device=ratio_E.device)
    return torch.sin(order_R[:, None] * ratio_E) * (envelope_E / (math.pi * ratio_E))
