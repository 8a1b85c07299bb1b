"""What SpookyNet knows before it learns: electron configurations, nuclear repulsion, point charges and harmonics.

Shapes: S structures, A atoms of the largest structure, N = S A, K terms. Units: Angstrom, eV, e.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chemscale_bench.errors import UserError

BOHR = 0.5291772105638411  # Angstrom
COULOMB = 14.399645351950548  # e^2 / (4 pi eps0) in eV Angstrom
# Subshells in the order in which electrons fill them (Madelung), and how many each holds.
SUBSHELLS = ("1s", "2s", "2p", "3s", "3p", "4s", "3d", "4p", "5s", "4d", "5p", "6s", "4f", "5d", "6p")
CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}
NOBLE_GASES = (0, 2, 10, 18, 36, 54, 86)
# Ground states that break that order: their d (and f) electrons; the outermost s subshell holds the rest.
IRREGULAR = {
    **{24: {"3d": 5}, 29: {"3d": 10}, 41: {"4d": 4}, 42: {"4d": 5}, 44: {"4d": 7}, 45: {"4d": 8}, 46: {"4d": 10}},
    **{47: {"4d": 10}, 57: {"4f": 0, "5d": 1}, 58: {"4f": 1, "5d": 1}, 64: {"4f": 7, "5d": 1}},
    **{78: {"4f": 14, "5d": 9}, 79: {"4f": 14, "5d": 10}},
}


def electron_configuration(number: int) -> list[int]:
    """Atomic number, electrons of the free atom in each of `SUBSHELLS`, valence electrons in s, p, d, f (20 numbers).

    Raises:
        UserError: for an element that the model has no configuration of.
    """
    if not 1 <= number <= 86:
        raise UserError(f"atomic number must be from 1 (H) to 86 (Rn) for spookynet, got {number}; use another model")
    period = sum(gas < number for gas in NOBLE_GASES)
    core, next_core = NOBLE_GASES[period - 1 : period + 1]
    electrons, outer, filled = {}, [], 0
    for subshell in SUBSHELLS:
        capacity = CAPACITY[subshell[1]]
        electrons[subshell] = min(max(number - filled, 0), capacity)
        if core <= filled < next_core:
            outer.append(subshell)
        filled += capacity
    if moved := IRREGULAR.get(number):
        electrons |= moved
        electrons[outer[0]] = number - core - sum(moved.values())
    valence = dict.fromkeys(CAPACITY, 0) | {subshell[1]: electrons[subshell] for subshell in outer}
    return [number, *electrons.values(), *valence.values()]


def configuration_capacities() -> list[int]:
    """What each entry of `electron_configuration` is at most."""
    return [NOBLE_GASES[-1], *(CAPACITY[subshell[1]] for subshell in SUBSHELLS), *CAPACITY.values()]


def inverse_softplus(value: float) -> float:
    """The raw parameter whose softplus is `value`."""
    return value + math.log(-math.expm1(-value))


class NuclearRepulsion(nn.Module):
    """The screened nuclear repulsion of Ziegler, Biersack and Littmark with learned constants (paper, Methods)."""

    INITIAL = (1 / (0.8854 * BOHR), 0.23, 0.1818, 0.5099, 0.2802, 0.02817, 3.2, 0.9423, 0.4028, 0.2016)

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor([inverse_softplus(value) for value in self.INITIAL]))

    def forward(self, numbers_SA: Tensor, distances_SAA: Tensor, cutoff_SAA: Tensor) -> Tensor:
        """Energy (S,) in eV; `cutoff_SAA` switches each ordered pair off and is 0 where there is none."""
        inverse_length, power, *_ = (constants := F.softplus(self.raw)).unbind()
        shares_K = constants[2:6] / constants[2:6].sum()
        charges_SA = numbers_SA.to(distances_SAA.dtype)
        radii_SA = charges_SA**power * inverse_length
        reduced_SAA = (radii_SA.unsqueeze(2) + radii_SA.unsqueeze(1)) * distances_SAA
        screening_SAA = torch.exp(-reduced_SAA.unsqueeze(-1) * constants[6:]) @ shares_K
        coupling_SAA = charges_SA.unsqueeze(2) * charges_SA.unsqueeze(1) * cutoff_SAA / distances_SAA
        return 0.5 * COULOMB * (coupling_SAA * screening_SAA).sum((1, 2))


def electrostatic_energy(charges_SA: Tensor, distances_SAA: Tensor, pairs_SAA: Tensor, cutoff: float) -> Tensor:
    """Energy (S,) in eV of point charges over all pairs, however far apart (paper, Methods).

    Between a quarter and three quarters of `cutoff` it goes over smoothly from a damped kernel, 1 / sqrt(r^2 + 1), to
    Coulomb's 1 / r. `pairs_SAA` is 1 for each ordered pair and 0 elsewhere.
    """
    # Beyond these bounds the switch is 0 or 1 to the last bit, also in float64.
    position_SAA = ((distances_SAA / cutoff - 0.25) / 0.5).clamp(1e-3, 1 - 1e-3)
    damped_share_SAA = torch.sigmoid(1 / position_SAA - 1 / (1 - position_SAA))
    bare_SAA = 1 / distances_SAA
    damped_SAA = torch.rsqrt(distances_SAA.square() + 1)
    kernel_SAA = pairs_SAA * torch.lerp(bare_SAA, damped_SAA, damped_share_SAA)
    potential_SA = (kernel_SAA @ charges_SA.unsqueeze(-1)).squeeze(-1)
    return 0.5 * COULOMB * (charges_SA * potential_SA).sum(1)


def harmonics(unit_SAA3: Tensor) -> Tensor:
    """Real spherical harmonics of l = 0, 1, 2 (G = 3, N, M = 5, A), padded with zeros to 5 each."""
    x, y, z = unit_SAA3.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    root = math.sqrt(3)
    s = [one, zero, zero, zero, zero]
    p = [x, y, z, zero, zero]
    d = [root * x * y, root * x * z, root * y * z, 1.5 * z * z - 0.5, 0.5 * root * (x * x - y * y)]
    return torch.stack([torch.stack(rows, 2) for rows in (s, p, d)]).flatten(1, 2)
