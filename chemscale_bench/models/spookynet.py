"""SpookyNet: charge, spin, local s/p/d interactions and non-local attention (Unke et al., Nat. Commun. 12, 7273, 2021).

Attention is the exact softmax that the paper's FAVOR+ approximates, since molecules are small. Dispersion (D4), an
option of the authors' code, is left out: inside small molecules the network learns it from the labels. All atom pairs
of a structure lie in one dense block, so that a step is a few large matrix products; the graph's edges are not read,
since a smooth cutoff function switches off what lies beyond them.

Shapes: S structures, A atoms of the largest structure (smaller ones are padded), N = S A, C channels, G groups (stacked
networks of one shape), K radial functions. Units: Angstrom, eV, e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chemscale_bench.models.potential import Graph, Potential
from chemscale_bench.models.spookynet_blocks import ResidualMLP, linear
from chemscale_bench.models.spookynet_physics import (
    BOHR,
    NuclearRepulsion,
    configuration_capacities,
    electron_configuration,
    electrostatic_energy,
    harmonics,
    inverse_softplus,
)

OFF = -1e4  # logarithm of a cutoff function that is 0: exp gives 0 and no gradient
BRANCHES = ("own", "s", "p", "d", "query", "key", "value")


@dataclass(frozen=True)
class Config:
    """Settings of a SpookyNet."""

    layers: int = 3
    """Interaction modules; 6 in the paper."""
    width: int = 64
    """Features of an atom; 128 in the paper."""
    cutoff: float = 10 * BOHR
    """Reach of a local interaction in Angstrom."""
    radial: int = 16
    """Exponential Bernstein polynomials."""


PEAK_RATE = (1e-2, 28)  # half of the largest rate tried for 3,000 steps, and the width: benchmarks/force_fields.md
STACKED = False
WIDTH_STEP = 1
PAPER = {
    "network": {"layers": 6, "width": 128}, "steps": 95_000, "cutoff": 10 * BOHR,
    "source": "Unke et al. 2021, but for batch, rate and weights",
}  # fmt: skip


def layers_for(params: int) -> int:
    """Depth of the ladder; the paper's 6 modules from 3 million parameters on."""
    return 1 + sum(params >= bound for bound in (3e4, 1e5, 1e6)) if params < 3e6 else 6


class Geometry(NamedTuple):
    """What all layers read of the atoms' positions."""

    radial_PK: Tensor  # P = S A A ordered pairs; 0 where there is none
    harmonics_GNMA: Tensor  # real harmonics of l = 0, 1, 2 from atom N to atom A, padded with 0 to M = 5


class Layer(nn.Module):
    """An interaction module: local and non-local interactions of the atoms (paper, Fig. 2 and Methods)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.before = ResidualMLP(1, width, readout=False)
        self.branches = ResidualMLP(len(BRANCHES), width, readout=True, zero_readouts=3)
        self.radial = nn.Parameter(torch.empty(3, config.radial, width))
        self.projection = nn.Parameter(torch.empty(2, width, 2 * width))
        self.local = ResidualMLP(1, width, readout=True, zero_readouts=1)
        self.after = ResidualMLP(1, width, readout=False)
        for matrix in (*self.radial, *self.projection):
            nn.init.orthogonal_(matrix)

    def forward(self, x_1NC: Tensor, geometry: Geometry, padding_S1A: Tensor | None) -> Tensor:
        """The next features (1, N, C)."""
        x_1NC = self.before(x_1NC)
        own_1NC, sources_GNC, attended_GNC = torch.split_with_sizes(self.branches(x_1NC), [1, 3, 3])
        local_1NC = self.local(own_1NC + self.interaction(sources_GNC, geometry))
        shape = (-1, geometry.harmonics_GNMA.shape[-1], x_1NC.shape[-1])
        query_SAC, key_SAC, value_SAC = (features.reshape(shape) for features in attended_GNC.unbind())
        scores_SAA = query_SAC @ key_SAC.mT / math.sqrt(shape[-1])
        if padding_S1A is not None:
            scores_SAA = scores_SAA.masked_fill(padding_S1A, -math.inf)
        nonlocal_SAC = scores_SAA.softmax(-1) @ value_SAC
        result: Tensor = self.after(x_1NC + local_1NC + nonlocal_SAC.reshape(x_1NC.shape))
        return result

    def interaction(self, sources_GNC: Tensor, geometry: Geometry) -> Tensor:
        """Sums over neighbours with s-, p- and d-shaped weights, the latter two turned into scalars (1, N, C)."""
        groups, atoms, width = sources_GNC.shape
        largest = geometry.harmonics_GNMA.shape[-1]
        weights_GPC = torch.bmm(geometry.radial_PK.expand(groups, -1, -1), self.radial)
        messages = weights_GPC.view(groups, -1, largest, largest, width) * sources_GNC.view(
            groups, -1, 1, largest, width
        )
        sums_GNMC = geometry.harmonics_GNMA @ messages.view(groups, atoms, largest, width)
        s_1NMC, pd_GNMC = torch.split_with_sizes(sums_GNMC, [1, 2])
        left, right = torch.bmm(pd_GNMC.flatten(1, 2), self.projection).view(2, atoms, -1, 2 * width).chunk(2, dim=-1)
        result: Tensor = s_1NMC.select(2, 0) + (left * right).sum((0, 2)).unsqueeze(0)
        return result


class ElectronicEmbedding(nn.Module):
    """Spreads total charge and unpaired electrons over the atoms by attention; 0 for a neutral singlet (Methods)."""

    rows_G13: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # Groups: charge, spin. Rows of keys and values: positive charge, negative charge, unpaired electrons.
        self.query = nn.Parameter(torch.empty(2, width, width))
        self.query_bias = nn.Parameter(torch.zeros(2, 1, width))
        self.key = nn.Parameter(torch.empty(3, width))
        self.value = nn.Parameter(torch.empty(3, width))
        self.mlp = ResidualMLP(2, width, readout=True, bias=False, zero_readouts=2)
        self.register_buffer("rows_G13", torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]]), persistent=False)
        for matrix in (*self.query, self.key[:2], self.key[2:], self.value[:2], self.value[2:]):
            nn.init.orthogonal_(matrix)

    def forward(self, x_1NC: Tensor, charge_S: Tensor, unpaired_S: Tensor, real_SA: Tensor) -> Tensor:
        """Features (1, N, C) to add."""
        width = x_1NC.shape[-1]
        electrons_GS3 = torch.stack([charge_S.relu(), (-charge_S).relu(), unpaired_S.abs()], -1) * self.rows_G13
        key_GSC = (electrons_GS3 / electrons_GS3.clamp_min(1)) @ self.key
        value_GSC = electrons_GS3 @ self.value
        query_GSAC = linear(x_1NC.expand(2, -1, -1), self.query, self.query_bias).view(2, *real_SA.shape, width)
        weight_GSA = F.softplus((query_GSAC @ key_GSC.unsqueeze(-1)).squeeze(-1) / math.sqrt(width)) * real_SA
        weight_GSA = weight_GSA / (weight_GSA.sum(-1, keepdim=True) + 1e-8)
        spread_GSAC = weight_GSA.unsqueeze(-1) * value_GSC.unsqueeze(-2)
        result: Tensor = self.mlp(spread_GSAC.flatten(1, 2)).sum(0, keepdim=True)
        return result


class Network(Potential):
    """SpookyNet with nuclear repulsion and charge-conserving electrostatics over all pairs.

    Args:
        config: its settings.
        elements: atomic numbers that it knows, up to 86.
    """

    ELEMENT_TABLES = ("element_embedding", "element_bias")
    row_of_number: Tensor
    electrons: Tensor
    capacities: Tensor
    binomials_K: Tensor
    exponents_3K: Tensor

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        width = config.width
        electrons = [electron_configuration(number) for number in elements]
        row_of_number = torch.full((87,), len(elements))  # an unknown element is out of range
        row_of_number[list(elements)] = torch.arange(len(elements))
        degrees = torch.arange(config.radial)
        binomials = [math.comb(config.radial - 1, degree) for degree in range(config.radial)]
        for name, constant in (
            ("row_of_number", row_of_number),
            ("electrons", torch.tensor(electrons, dtype=torch.float32)),
            ("capacities", torch.tensor(configuration_capacities(), dtype=torch.float32)),
            ("binomials_K", torch.tensor(binomials, dtype=torch.float32)),
            ("exponents_3K", torch.stack([config.radial - degrees, degrees, torch.ones_like(degrees)]).float()),
        ):
            self.register_buffer(name, constant, persistent=False)
        self.element_embedding = nn.Parameter(torch.empty(len(elements), width).uniform_(-math.sqrt(3), math.sqrt(3)))
        self.element_bias = nn.Parameter(torch.zeros(len(elements), 2))  # energy, charge
        self.configuration = nn.Parameter(nn.init.orthogonal_(torch.empty(len(electrons[0]), width)))
        self.electronic = ElectronicEmbedding(width)
        self.raw_decay = nn.Parameter(torch.tensor(inverse_softplus(0.5 / BOHR)))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.readouts = ResidualMLP(config.layers, width, readout=True)
        self.output = nn.Parameter(nn.init.orthogonal_(torch.empty(width, 2)))
        self.repulsion = NuclearRepulsion()

    def forward(self, graph: Graph) -> Tensor:
        """Energy (S,) in eV, relative to the reference of the training set."""
        return self.energies_and_charges(graph)[0]

    def partial_charges(self, graph: Graph) -> Tensor:
        """Charges of the atoms (A,) in e; they add up to the total charge of each structure."""
        charges_SA, real_SA = self.energies_and_charges(graph)[1:]
        return charges_SA[real_SA]

    def energies_and_charges(self, graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
        """Energies (S,), charges of padded atoms (S, A), and which of these atoms are real."""
        numbers_SA, positions_SA3, real_SA, padded = padded_atoms(graph)
        dtype = positions_SA3.dtype
        charge_S, unpaired_S = graph.charge_S.to(dtype), graph.unpaired_S.to(dtype)
        rows_SA = self.row_of_number[numbers_SA]
        pairs_SAA = (real_SA.unsqueeze(1) & real_SA.unsqueeze(2)).to(dtype)
        pairs_SAA = pairs_SAA - torch.diag_embed(real_SA.to(dtype))

        # r_j - r_i; two atoms at one place, and an atom and itself, count as 1e-4 Angstrom apart, with no gradient
        vectors_SAA3 = positions_SA3.unsqueeze(1) - positions_SA3.unsqueeze(2)
        squared_SAA = vectors_SAA3.square().sum(-1).clamp_min(1e-8)
        distances_SAA = squared_SAA.sqrt()
        log_cutoff_SAA = self.log_cutoff(squared_SAA, pairs_SAA)
        geometry = Geometry(
            self.radial_functions(distances_SAA, log_cutoff_SAA),
            harmonics(vectors_SAA3 / distances_SAA.unsqueeze(-1)),
        )

        table = self.element_embedding + (self.electrons / self.capacities) @ self.configuration
        x_1NC = table[rows_SA].view(1, -1, table.shape[-1])
        x_1NC = x_1NC + self.electronic(x_1NC, charge_S, unpaired_S, real_SA)
        padding_S1A = ~real_SA.unsqueeze(1) if padded else None
        states = []
        for layer in self.layers:
            x_1NC = layer(x_1NC, geometry, padding_S1A)
            states.append(x_1NC)
        features_NC = self.readouts(torch.cat(states)).sum(0)
        atomic_SA2 = (features_NC @ self.output).view(*rows_SA.shape, 2) + self.element_bias[rows_SA]
        atomic_SA2 = atomic_SA2 * real_SA.unsqueeze(-1)
        energy_S, predicted_S = atomic_SA2.sum(1).unbind(-1)
        surplus_S = (charge_S - predicted_S) / real_SA.sum(1)
        charges_SA = (atomic_SA2[..., 1] + surplus_S.unsqueeze(-1)) * real_SA
        energy_S = (
            self.scale * energy_S
            + self.repulsion(numbers_SA, distances_SAA, log_cutoff_SAA.exp())
            + electrostatic_energy(charges_SA, distances_SAA, pairs_SAA, self.cutoff)
        )
        return energy_S, charges_SA, real_SA

    def log_cutoff(self, squared_SAA: Tensor, pairs_SAA: Tensor) -> Tensor:
        """Logarithm of the cutoff function exp(-r^2 / (cutoff^2 - r^2)), which is smooth in all derivatives."""
        inside_SAA = (squared_SAA < self.cutoff**2) & (pairs_SAA > 0)
        safe_SAA = squared_SAA.where(inside_SAA, 0)
        return (-safe_SAA / (self.cutoff**2 - safe_SAA)).where(inside_SAA, OFF)

    def radial_functions(self, distances_SAA: Tensor, log_cutoff_SAA: Tensor) -> Tensor:
        """Exponential Bernstein polynomials of x = exp(-decay r), times x and the cutoff function (P, K)."""
        exponent_SAA = -F.softplus(self.raw_decay) * distances_SAA
        complement_SAA = torch.log(-torch.expm1(exponent_SAA))
        logarithms_P3 = torch.stack([exponent_SAA, complement_SAA, log_cutoff_SAA], -1).view(-1, 3)
        return torch.addmm(self.binomials_K.log(), logarithms_P3, self.exponents_3K).exp()


def padded_atoms(graph: Graph) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Atomic numbers (S, A), positions (S, A, 3), which atoms are real (S, A), and whether any is not.

    Reading the size of the largest structure makes the host wait for the device. That is impossible while a CUDA graph
    is recorded: structures are taken for equally large then, as they are where only positions change between replays.
    """
    structures, atoms = graph.structures, len(graph.numbers_A)
    if graph.numbers_A.is_cuda and torch.cuda.is_current_stream_capturing():
        largest = atoms // structures
    else:
        sizes_S = torch.bincount(graph.structure_A, minlength=structures)
        largest = int(sizes_S.max())
    if structures * largest == atoms:
        shape = (structures, largest)
        everywhere = torch.ones(shape, dtype=torch.bool, device=graph.numbers_A.device)
        return graph.numbers_A.reshape(shape), graph.positions_A3.reshape(*shape, 3), everywhere, False
    real_SA = torch.arange(largest, device=sizes_S.device) < sizes_S.unsqueeze(1)
    numbers_SA = graph.numbers_A[0].expand(structures, largest).masked_scatter(real_SA, graph.numbers_A)
    slots_A = real_SA.flatten().nonzero().squeeze(1)
    positions_N3 = graph.positions_A3.new_zeros(structures * largest, 3).index_copy(0, slots_A, graph.positions_A3)
    return numbers_SA, positions_N3.view(structures, largest, 3), real_SA, True
