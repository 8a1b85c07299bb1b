"""The couplings of angular momenta that MACE contracts with, from mace-torch and e3nn."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from chemscale_bench.models.compat import import_mace
from chemscale_bench.models.equivariant import clebsch_gordan


@cache
def symmetric_couplings(max_ell: int, degree: int) -> tuple[Tensor, list[int]]:
    """Generalized Clebsch-Gordan coefficients of the symmetric contraction in float64.

    Returns:
        Coefficients ((2 degree + 1) (C + 1) (C (C + 1) / 2 + 1), weights): of the products of a message's component
        (or 1) with an unordered pair of components (or 1); and the number of weights of each order, 3 to 1.
    """
    o3 = import_mace("e3nn.o3")
    size = (max_ell + 1) ** 2
    first, second = torch.triu_indices(size, size)
    blocks = []
    for order in (3, 2, 1):
        coefficients = (
            import_mace("mace.tools.cg")
            .U_matrix_real(
                irreps_in=o3.Irreps.spherical_harmonics(max_ell),
                irreps_out=o3.Irreps([(1, (degree, (-1) ** degree))]),
                correlation=order,
                use_cueq_cg=False,
                dtype=torch.float64,
            )[-1]
            .reshape(2 * degree + 1, *[size] * order, -1)
        )
        block = torch.zeros(2 * degree + 1, size + 1, len(first) + 1, coefficients.shape[-1], dtype=torch.float64)
        if order == 1:
            block[:, :size, -1] = coefficients
        else:
            both = coefficients + coefficients.transpose(1, 2)
            unordered = both[:, first, second] / torch.where(first == second, 2, 1).view(-1, *[1] * (order - 1))
            block[:, slice(size) if order == 3 else slice(size, None), :-1] = (
                unordered.transpose(1, 2) if order == 3 else unordered[:, None]
            )
        blocks.append(block)
    return torch.cat(blocks, dim=-1).flatten(0, 2), [block.shape[-1] for block in blocks]


@cache
def constant(like: tuple[torch.dtype, torch.device], name: str, *degrees: int) -> Tensor:
    """Symmetric or Clebsch-Gordan couplings in the precision and on the device of the computation.

    The latter, of sender, harmonic and message, are (2 harmonic + 1, (2 sender + 1) (2 message + 1)).
    """
    if name == "clebsch_gordan":
        table = clebsch_gordan(*degrees).transpose(0, 1).flatten(1)
    else:
        table = symmetric_couplings(*degrees)[0]
    return table.to(dtype=like[0], device=like[1])
