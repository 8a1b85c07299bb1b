"""NequIP (Batzner et al., Nat. Commun. 13, 2453, 2022): convolutions with radial weights, then gates.

As in the authors' code: weights of unit variance that are divided by the root of their fan-in when they are used, a
self-connection of each element, sums over neighbours divided by the root of their number. Unlike there, features have
natural parity only (scalars, vectors, quadrupoles), and the linear layers of the readout are one. `nequip` has vectors
(degree 1); `nequip-l0` is invariant, `nequip-l2` has quadrupoles, too.

Shapes: A atoms ordered by element, P pairs of atoms, U channels, D components of the features, degree after degree.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor, nn

from chemscale_bench.models.equivariant import SILU_GAIN, bessel_functions, polynomial_envelope
from chemscale_bench.models.messages import Neighbourhoods, messages, neighbourhoods, paths, radial_network
from chemscale_bench.models.potential import Graph, Potential

RADIAL_WIDTH, RADIAL_LAYERS, CUTOFF_POWER = 32, 2, 6  # the authors have 64: too many for small sizes


@dataclass(frozen=True)
class Config:
    """Size and constants of a NequIP."""

    layers: int = 3
    """Interaction blocks."""
    width: int = 32
    """Channels of each degree."""
    cutoff: float = 5.0
    """Angstrom."""
    degree: int = 1
    """Largest of features, harmonics and messages: 0 invariant, 1 with vectors, 2 with quadrupoles."""
    radial_functions: int = 8
    """Bessel functions."""
    average_neighbors: float = 12.0
    """The sum over neighbours is divided by its root; fixed, so that a network does not depend on its training set."""


PEAK_RATE = (8e-2, None)  # half of what diverges in 3,000 steps, or less: benchmarks/force_fields.md
STACKED = False
DEGREE = "degree"
AT_DEGREE = {2: {"PEAK_RATE": (4e-2, None)}}  # at 8e-2 it diverges on aspirin, where atoms have more neighbours
WIDTH_STEP = 1
PAPER = {
    "network": {"layers": 5, "width": 64}, "steps": 190_000, "batch_frames": 5, "learning_rate": 1e-2, "cutoff": 4.0,
    "force_weight": 1000 / 1001, "energy_weight": 1 / 1001,
    "source": "Batatia et al. 2022, A.5.2, on NequIP",
}  # fmt: skip


def layers_for(params: int) -> int:
    """Depth of the ladder: as SchNet's and PaiNN's at every size."""
    return 3


def silu(values: Tensor) -> Tensor:
    """SiLU with second moment 1."""
    return nn.functional.silu(values) * SILU_GAIN


class Layer(nn.Module):
    """A convolution, in the shapes that its weights are used in; after the last there are scalars only."""

    def __init__(self, config: Config, elements: int, degree_in: int, degree_out: int) -> None:
        super().__init__()
        width = config.width
        self.paths = paths(degree_in, config.degree, degree_out)
        sizes = [config.radial_functions, *[RADIAL_WIDTH] * RADIAL_LAYERS, len(self.paths) * width]
        self.up = nn.Parameter(torch.randn(degree_in + 1, width, width))
        self.radial = nn.ParameterList(torch.randn(*shape) for shape in pairwise(sizes))
        # A gate for each channel that is no scalar.
        widths = [width * (1 + degree_out), *[width] * degree_out]
        coming = [sum(path[2] == degree for path in self.paths) * width for degree in range(degree_out + 1)]
        self.mix = nn.ParameterList(torch.randn(*shape) for shape in zip(coming, widths, strict=True))
        kept = widths[: min(degree_in, degree_out) + 1]
        self.elements = nn.ParameterList(torch.randn(elements, width, wide) for wide in kept)

    def forward(self, features_ADU: Tensor, shared: Neighbourhoods, counts: list[int], neighbours: float) -> Tensor:
        """The next features (A, D, U)."""
        width = features_ADU.shape[2]
        degrees = [2 * degree + 1 for degree in range(len(self.up))]
        old = torch.split(features_ADU, degrees, 1)
        sent = torch.cat([part @ weight for part, weight in zip(old, self.up / sqrt(width), strict=True)], 1)
        radial_PW = radial_network(shared.radial_PR, list(self.radial), silu)
        received = messages(sent, self.paths, radial_PW, shared)
        parts = [part @ (mix / sqrt(len(mix) * neighbours)) for part, mix in zip(received, self.mix, strict=True)]
        for degree, weight_ZUV in enumerate(self.elements):
            by_element = zip(torch.split(old[degree], counts), weight_ZUV / sqrt(width * len(counts)), strict=True)
            parts[degree] = parts[degree] + torch.cat([part @ weight for part, weight in by_element])
        scalars, *gates = torch.split(silu(parts[0]), width, dim=2)
        return torch.cat([scalars, *(part * gate for part, gate in zip(parts[1:], gates, strict=True))], dim=1)


class Network(Potential):
    """NequIP, energies relative to those of single atoms' reference."""

    ELEMENT_TABLES = ("embedding", "elements")
    WAITS = True  # for the numbers of atoms of each element, and of neighbours
    elements: Tensor

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        self.config = config
        self.register_buffer("elements", torch.tensor(sorted(elements)), persistent=False)
        self.embedding = nn.Parameter(torch.randn(len(elements), config.width))
        degrees = [0, *[config.degree] * (config.layers - 1), 0]
        self.layers = nn.ModuleList(Layer(config, len(elements), *pair) for pair in pairwise(degrees))
        self.readout = nn.Parameter(torch.randn(config.width))

    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energy of each atom (A,) in units of `scale`."""
        config = self.config
        element_A = torch.searchsorted(self.elements, graph.numbers_A)
        order_A = element_A.argsort(stable=True)
        counts = torch.bincount(element_A, minlength=len(self.elements)).tolist()
        couple = paths(config.degree, config.degree, config.degree)
        shared = neighbourhoods(graph, order_A, couple, self.radial_functions)
        features_ADU = self.embedding.index_select(0, element_A[order_A])[:, None]
        for layer in self.layers:
            features_ADU = layer(features_ADU, shared, counts, config.average_neighbors)
        energies_A = features_ADU[:, 0] @ self.readout / sqrt(config.width)
        return torch.empty_like(energies_A).index_copy(0, order_A, energies_A)

    def radial_functions(self, distance_P: Tensor) -> Tensor:
        """Bessel functions under the polynomial envelope (P, R)."""
        ratio_P = distance_P / self.config.cutoff
        envelope_P = polynomial_envelope(ratio_P, CUTOFF_POWER)
        return bessel_functions(ratio_P, envelope_P, self.config.radial_functions).T
