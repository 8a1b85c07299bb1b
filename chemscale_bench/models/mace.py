"""MACE (Batatia et al., NeurIPS 2022): the weights and couplings of mace-torch, our own forward pass.

It gives what `mace.modules.MACE` gives (residual interactions, no reference energies), with less work: that of
models/messages.py, and the symmetric contraction (eq. 10 and 11) multiplies each product of two features once.

Shapes: A atoms ordered by element, P pairs of atoms, U channels, Z elements, D components of the hidden features,
degree after degree, C those of the messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import pi, sqrt
from pathlib import Path

import torch
from torch import Tensor, nn

from chemscale_bench.models.compat import import_mace
from chemscale_bench.models.equivariant import bessel_functions, polynomial_envelope
from chemscale_bench.models.mace_couplings import constant, symmetric_couplings
from chemscale_bench.models.messages import Neighbourhoods, messages, neighbourhoods, paths, radial_network
from chemscale_bench.models.potential import Graph, Potential

RADIAL_WIDTH, RADIAL_LAYERS, READOUT_WIDTH, CUTOFF_POWER = 64, 3, 16, 5  # the defaults of mace_run_train


@dataclass(frozen=True)
class Config:
    """Size and constants of a MACE of correlation 3."""

    layers: int = 2
    """Message-passing layers."""
    width: int = 32
    """Channels of each degree."""
    cutoff: float = 5.0
    """Angstrom."""
    max_L: int = 1
    """Degree of the hidden features: 0 invariant, 1 with vectors, 2 with quadrupoles."""
    max_ell: int = 3
    """Degree of the spherical harmonics and of the messages."""
    radial_functions: int = 8
    """Bessel functions."""
    average_neighbors: float = 12.0
    """Divides the sum over neighbours; fixed, so that a network does not depend on its training set."""
    self_connected: bool = True
    """Whether the first layer, too, has the old features beside its messages; models from files may weigh its messages
    by the element instead."""


PEAK_RATE = (2e-2, None)  # half of the largest rate tried, which was the best: benchmarks/force_fields.md
STACKED = False
DEGREE = "max_L"
WIDTH_STEP = 1
PAPER = {
    "network": {"layers": 2, "width": 256}, "steps": 190_000, "batch_frames": 5, "learning_rate": 1e-2,
    "force_weight": 1000 / 1001, "energy_weight": 1 / 1001,
    "source": "Batatia et al. 2022, A.5.1",
}  # fmt: skip


def imported(path: Path) -> tuple[Network, Config, tuple[int, ...]]:
    """The network of a model file of mace-torch, its config and the atomic numbers that it knows."""
    from chemscale_bench.models.mace_file import read

    return read(path)


def layers_for(params: int) -> int:
    """Depth of the ladder: that of the paper at every size."""
    return 2


class Layer(nn.Module):
    """The weights of one interaction and product, in the shapes that they are used in."""

    def __init__(self, config: Config, elements: int, degree_in: int, degree_out: int, connected: bool) -> None:
        super().__init__()
        width, self.connected = config.width, connected
        self.paths = paths(degree_in, config.max_ell, config.max_ell)
        self.degree_out = degree_out
        self.up = nn.Parameter(torch.randn(degree_in + 1, width, width))
        sizes = [config.radial_functions, *[RADIAL_WIDTH] * RADIAL_LAYERS, len(self.paths) * width]
        self.radial = nn.ParameterList(torch.randn(*shape) for shape in pairwise(sizes))
        self.mix = nn.Parameter(torch.randn(len(self.paths), width, width))
        degrees = min(degree_in, degree_out) if connected else config.max_ell
        self.skip = nn.Parameter(torch.randn(degrees + 1, width, elements, width))
        self.contraction = nn.ParameterList(
            torch.cat([torch.randn(elements, n, width) / n for n in symmetric_couplings(config.max_ell, degree)[1]], 1)
            for degree in range(degree_out + 1)
        )
        self.out = nn.Parameter(torch.randn(degree_out + 1, width, width))


class Network(Potential):
    """MACE as mace-torch defines it, energies relative to those of single atoms' reference."""

    ELEMENT_TABLES = ("embedding", "skip", "contraction")
    WAITS = True  # for the numbers of atoms of each element, and of neighbours
    elements: Tensor

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        self.config = config
        self.register_buffer("elements", torch.tensor(sorted(elements)), persistent=False)
        self.embedding = nn.Parameter(torch.randn(len(elements), config.width))
        degrees = [0, *[config.max_L] * (config.layers - 1), 0]
        self.layers = nn.ModuleList(
            Layer(config, len(elements), *pair, connected=config.self_connected or index > 0)
            for index, pair in enumerate(pairwise(degrees))
        )
        self.readouts = nn.ParameterList(torch.randn(config.width) for _ in range(config.layers - 1))
        self.last = nn.ParameterList([torch.randn(config.width, READOUT_WIDTH), torch.randn(READOUT_WIDTH)])
        self.silu_gain = float(import_mace("e3nn.math").normalize2mom(nn.functional.silu).cst)

    def silu(self, values: Tensor) -> Tensor:
        """SiLU with second moment 1, as e3nn scales it."""
        return nn.functional.silu(values) * self.silu_gain

    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energy of each atom (A,) in units of `scale`."""
        element_A = torch.searchsorted(self.elements, graph.numbers_A)
        order_A = element_A.argsort(stable=True)
        couple = paths(self.config.max_L, self.config.max_ell, self.config.max_ell)
        shared = neighbourhoods(graph, order_A, couple, self.radial_functions)
        counts = torch.bincount(element_A, minlength=len(self.elements)).tolist()
        features_ADU = (self.embedding / sqrt(len(self.embedding))).index_select(0, element_A[order_A])[:, None]
        energies_A = torch.zeros_like(features_ADU[:, 0, 0])
        width = self.config.width
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            messages_ACU = self.messages(layer, features_ADU, shared)
            features_ADU = self.product(layer, messages_ACU, features_ADU, counts)
            scalars_AU = features_ADU[:, 0]
            if index < len(self.readouts):
                energies_A = energies_A + scalars_AU @ self.readouts[index] / sqrt(width)
        hidden = self.silu(scalars_AU @ self.last[0] / sqrt(width))
        energies_A = energies_A + hidden @ self.last[1] / sqrt(READOUT_WIDTH)
        return torch.empty_like(energies_A).index_copy(0, order_A, energies_A)

    def radial_functions(self, distance_P: Tensor) -> Tensor:
        """Bessel functions (eq. 7) times the polynomial cutoff (eq. 8) (P, R)."""
        ratio_P = distance_P / self.config.cutoff
        envelope_P = polynomial_envelope(ratio_P, CUTOFF_POWER)
        factor = pi * sqrt(2 / self.config.cutoff**3)  # eq. 7 has sqrt(2 / cutoff) sin(pi n x) / distance
        return (factor * bessel_functions(ratio_P, envelope_P, self.config.radial_functions)).T

    def messages(self, layer: Layer, features_ADU: Tensor, shared: Neighbourhoods) -> Tensor:
        """Sum over neighbours of radial weight times coupled harmonics and features, mixed over channels (eq. 8, 9)."""
        parts = torch.split(features_ADU, [2 * degree + 1 for degree in range(len(layer.up))], 1)
        up = layer.up / sqrt(self.config.width)
        sent = torch.cat([part @ weight for part, weight in zip(parts, up, strict=True)], 1)
        radial_PW = radial_network(shared.radial_PR, list(layer.radial), self.silu)
        mixed, start = [], 0
        for received in messages(sent, layer.paths, radial_PW, shared):
            mix = layer.mix[start : start + received.shape[2] // self.config.width].flatten(0, 1)
            mixed.append(received @ (mix / (sqrt(len(mix)) * self.config.average_neighbors)))
            start += received.shape[2] // self.config.width
        return torch.cat(mixed, dim=1)

    def product(self, layer: Layer, messages_ACU: Tensor, features_ADU: Tensor, counts: list[int]) -> Tensor:
        """Symmetric contraction of each element's messages (eq. 10, 11), mixed over channels, plus the old features."""
        _, size, width = messages_ACU.shape
        first, second = torch.triu_indices(size, size, device=messages_ACU.device)
        like = (messages_ACU.dtype, messages_ACU.device)
        couplings = [
            (constant(like, "symmetric_couplings", self.config.max_ell, degree) @ weights).transpose(1, 2)
            for degree, weights in enumerate(layer.contraction)
        ]
        components = (layer.degree_out + 1) ** 2
        coupling_ZU = torch.cat(couplings, dim=2).view(len(counts), width, components * (size + 1), -1)
        degrees = [2 * degree + 1 for degree in range(layer.degree_out + 1)]
        updated = []
        by_element = zip(
            torch.split(messages_ACU.permute(1, 2, 0), counts, 2), torch.split(features_ADU, counts), strict=True
        )
        for element, (messages_CUN, features) in enumerate(by_element):
            atoms, skips = counts[element], layer.skip[:, :, element] / sqrt(width * len(counts))
            if not layer.connected:
                by_degree = torch.split(messages_CUN, [2 * degree + 1 for degree in range(len(skips))])
                messages_CUN = torch.cat([skip.T @ part for part, skip in zip(by_degree, skips, strict=True)])
            products = messages_CUN.index_select(0, first) * messages_CUN.index_select(0, second)
            cubic, linear = torch.split(coupling_ZU[element], [len(first), 1], dim=2)
            partial = torch.baddbmm(linear, cubic, products.transpose(0, 1)).view(width, components, size + 1, atoms)
            factors = torch.cat([messages_CUN, torch.ones_like(messages_CUN[:1])]).transpose(0, 1)
            contracted = (partial * factors[:, None]).sum(2).permute(2, 1, 0)
            parts = [
                part @ weight
                for part, weight in zip(torch.split(contracted, degrees, 1), layer.out / sqrt(width), strict=True)
            ]
            for degree, skip in enumerate(skips if layer.connected else ()):
                old = features[:, degree**2 : (degree + 1) ** 2]
                parts[degree] = parts[degree] + old @ skip
            updated.append(torch.cat(parts, dim=1))
        return torch.cat(updated)
