"""Allegro, a strictly local equivariant force field: tensors live on pairs, and no message leaves the cutoff.

Source: Musaelian, Batzner et al. 2023, Nat. Commun. 14, 579: the paper's layer, with its linear mixing of paths and its
residual update under the envelope. As in the authors' code, weights have unit variance and are divided by the root of
their fan-in when they are used, which is why learning rates here are a few times those of other models.

Shapes: E edges, A atoms, C scalar channels, U tensor channels, K components of all irreps (irrep l has 2l + 1). Edges
are the last axis everywhere: each product is then one large matrix product, or runs over contiguous memory.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chemscale_bench.errors import UserError
from chemscale_bench.models.equivariant import (
    SILU_GAIN,
    bessel_functions,
    coupling,
    polynomial_envelope,
    spherical_harmonics,
)
from chemscale_bench.models.potential import Graph, Potential

Irrep = tuple[int, int]  # degree l, and parity 1 (even) or -1 (odd)
SCALAR: Irrep = (0, 1)
TENSOR_SHARE = 4  # scalar channels per tensor channel
UPDATE = 0.5  # of a layer relative to what the latents hold already
KEEP = 1 / math.sqrt(1 + UPDATE**2)  # the sum of both has unit variance again


@dataclass(frozen=True)
class Config:
    """What makes an Allegro."""

    layers: int = 2
    """Tensor products."""
    width: int = 64
    """Scalar channels per pair, a multiple of 4; a quarter as many tensor channels."""
    cutoff: float = 5.0
    """Angstrom."""
    l_max: int = 1
    """Largest degree of a tensor, 0 (invariant) to 3."""
    radial: int = 8
    """Bessel functions."""
    power: int = 6
    """Of the polynomial envelope."""
    neighbours: float = 12.0
    """Typical edges per atom: sums over neighbours are divided by its root. The order of magnitude is enough."""

    def __post_init__(self) -> None:
        if self.width % TENSOR_SHARE:
            raise UserError(f"width must be a multiple of {TENSOR_SHARE}, got {self.width}; take the nearest")
        if self.l_max not in range(4):
            raise UserError(f"l_max must be 0, 1, 2 or 3, got {self.l_max}; 1 is fast, 3 is accurate")


PEAK_RATE = (5e-2, None)  # half of what is worse again after 3,000 steps: benchmarks/force_fields.md
STACKED = False
DEGREE = "l_max"
WIDTH_STEP = TENSOR_SHARE
PAPER = {
    "network": {"layers": 3, "width": 512}, "steps": 190_000, "batch_frames": 5, "learning_rate": 2e-3, "cutoff": 7.0,
    "force_weight": 1000 / 1001, "energy_weight": 1 / 1001,
    "source": "Musaelian et al. 2023, with 512 scalars for 1,024",
}  # fmt: skip


def layers_for(params: int) -> int:
    """Depth of the ladder."""
    return 2 if params < 3_000_000 else 3


def products(left: Irrep, right: Irrep) -> list[Irrep]:
    """The irreps in the tensor product of two."""
    return [(degree, left[1] * right[1]) for degree in range(abs(left[0] - right[0]), left[0] + right[0] + 1)]


def tensor_tracks(layers: int, l_max: int) -> list[list[Irrep]]:
    """Irreps of the pair tensors before each layer and after the last: those that can still become a scalar."""
    environment = [(degree, (-1) ** degree) for degree in range(l_max + 1)]
    everything = [(degree, parity) for degree in range(l_max + 1) for parity in (1, -1)]
    tracks: list[list[Irrep]] = [environment]
    for _ in range(layers - 1):
        made = {irrep for pair in product(tracks[-1], environment) for irrep in products(*pair)}
        tracks.append([irrep for irrep in everything if irrep in made])
    tracks.append([SCALAR])
    for index in reversed(range(layers)):
        tracks[index] = [
            irrep
            for irrep in tracks[index]
            if any(out in tracks[index + 1] for other in environment for out in products(irrep, other))
        ]
    return tracks


def unit_weight(*shape: int) -> nn.Parameter:
    """A uniform weight of unit variance."""
    return nn.Parameter(torch.empty(shape).uniform_(-math.sqrt(3), math.sqrt(3)))


class Linear(nn.Module):
    """A linear map of the first axis, without a bias: zero stays zero, as the envelope needs."""

    def __init__(self, width_in: int, width_out: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = unit_weight(width_out, width_in)
        self.factor = gain / math.sqrt(width_in)

    def forward(self, x: Tensor) -> Tensor:
        """From (in, E) to (out, E)."""
        return (self.factor * self.weight) @ x


class TensorProduct(nn.Module):
    """All paths from a pair's tensor and its environment to the irreps of the next track, channel by channel."""

    def __init__(self, left: list[Irrep], right: list[Irrep], outs: list[Irrep]) -> None:
        super().__init__()
        self.left, self.right, self.outs = left, right, outs
        self.blocks = [
            (i, j, made)
            for i, j in product(range(len(left)), range(len(right)))
            if (made := tuple(out for out in products(left[i], right[j]) if out in outs))
        ]
        self.paths = [sum(out in made for _, _, made in self.blocks) for out in outs]

    def forward(self, x_UKE: Tensor, y_UKE: Tensor) -> list[Tensor]:
        """The paths of each output irrep (U * paths, (2l + 1) * E)."""
        xs = torch.split(x_UKE, [2 * degree + 1 for degree, _ in self.left], dim=1)
        ys = torch.split(y_UKE, [2 * degree + 1 for degree, _ in self.right], dim=1)
        found: dict[Irrep, list[Tensor]] = defaultdict(list)
        for i, j, made in self.blocks:
            x, y, left, right = xs[i], ys[j], self.left[i][0], self.right[j][0]
            if left == 0 or right == 0:
                found[made[0]].append(x * y)
            elif made == (SCALAR,):
                found[SCALAR].append((x * y).sum(1, keepdim=True) / math.sqrt(2 * left + 1))
            else:
                matrix = coupling(left, right, tuple(degree for degree, _ in made), x.dtype, x.device)
                mixed = matrix @ (x[:, :, None] * y[:, None]).flatten(1, 2)
                parts = torch.split(mixed, [2 * degree + 1 for degree, _ in made], dim=1)
                for out, part in zip(made, parts, strict=True):
                    found[out].append(part)
        return [torch.stack(found[out], 1).flatten(0, 1).flatten(1) for out in self.outs]


class Pairs(NamedTuple):
    """What all layers need to know of the pairs."""

    harmonics: list[Tensor]  # (2l + 1, E)
    envelope_E: Tensor
    centre_E: Tensor  # atom
    atoms: int

    def embedding(self, weights: Tensor) -> Tensor:
        """Spherical harmonics, each irrep times its weights (U * irreps, E): (U, K, E)."""
        weights = torch.unflatten(weights, 0, (-1, len(self.harmonics)))
        return torch.cat([weights[:, [degree]] * harmonic for degree, harmonic in enumerate(self.harmonics)], 1)

    def environment(self, embedding_UKE: Tensor) -> Tensor:
        """The sum over all pairs of a centre, for each of its pairs (U, K, E)."""
        total_UKA = embedding_UKE.new_zeros(*embedding_UKE.shape[:2], self.atoms)
        return total_UKA.index_add(2, self.centre_E, embedding_UKE).index_select(2, self.centre_E)


class Layer(nn.Module):
    """Environment embedding, tensor product, update of the scalars, and (but in the last layer) mixing of paths."""

    def __init__(self, config: Config, environment: list[Irrep], before: list[Irrep], after: list[Irrep]) -> None:
        super().__init__()
        width, channels = config.width, config.width // TENSOR_SHARE
        self.environment = Linear(width, channels * len(environment), 1 / math.sqrt(config.neighbours))
        self.product = TensorProduct(before, environment, after)
        self.latent = nn.Sequential(
            Linear(width + channels * self.product.paths[0], width),
            nn.SiLU(),
            Linear(width, width, SILU_GAIN * UPDATE * KEEP),
        )
        self.mixing = nn.ModuleList(
            Linear(channels * paths, channels) for paths in self.product.paths if after != [SCALAR]
        )

    def forward(self, latents_CE: Tensor, tensor_UKE: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """The next scalars and, where a layer follows, the next tensors."""
        environment_UKE = pairs.environment(pairs.embedding(self.environment(latents_CE)))
        paths = self.product(tensor_UKE, environment_UKE)
        update_CE = self.latent(torch.cat([latents_CE, paths[0]]))
        latents_CE = KEEP * latents_CE + pairs.envelope_E * update_CE
        if self.mixing:
            mixed = [
                torch.unflatten(linear(path), 1, (2 * degree + 1, latents_CE.shape[1]))
                for linear, path, (degree, _) in zip(self.mixing, paths, self.product.outs, strict=True)
            ]
            tensor_UKE = torch.cat(mixed, 1)
        return latents_CE, tensor_UKE


class Network(Potential):
    """Allegro.

    Args:
        config: the sizes.
        elements: atomic numbers that it knows.
    """

    ELEMENT_TABLES = ("elements",)
    species: Tensor

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        self.config = config
        width, tracks = config.width, tensor_tracks(config.layers, config.l_max)
        species = torch.full((max(elements) + 1,), len(elements))
        species[list(elements)] = torch.arange(len(elements))
        self.register_buffer("species", species, persistent=False)
        self.elements = unit_weight(width, 2 * len(elements))
        self.radial = unit_weight(width, config.radial)
        hidden = [(nn.SiLU(), Linear(width, width, SILU_GAIN)) for _ in range(3)]
        self.two_body = nn.Sequential(*(module for pair in hidden for module in pair))
        self.embedding = Linear(width, width // TENSOR_SHARE * (config.l_max + 1))
        self.layers = nn.ModuleList(Layer(config, tracks[0], before, after) for before, after in pairwise(tracks))
        self.readout = Linear(width, 1, 1 / math.sqrt(config.neighbours))

    def two_body_inputs(self, graph: Graph, ratio_E: Tensor, envelope_E: Tensor) -> Tensor:
        """First layer of the two-body perceptron (C, E): both elements and Bessel functions of the distance."""
        bessel_RE = 2 * bessel_functions(ratio_E, envelope_E, self.config.radial)
        one_hot = torch.eye(self.elements.shape[1] // 2, dtype=ratio_E.dtype, device=ratio_E.device)
        one_hot_A = one_hot.index_select(1, self.species[graph.numbers_A])
        pair = torch.cat([one_hot_A.index_select(1, graph.receivers_E), one_hot_A.index_select(1, graph.senders_E)])
        return (self.elements @ pair + self.radial @ bessel_RE) / math.sqrt(2 + self.config.radial)

    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energy of each atom (A,): the sum over the pairs of which it is the centre."""
        displacement_3E = graph.displacements().T
        distance_E = displacement_3E.norm(dim=0)
        ratio_E = distance_E / self.cutoff
        harmonics = spherical_harmonics(displacement_3E / distance_E, self.config.l_max)
        pairs = Pairs(
            harmonics, polynomial_envelope(ratio_E, self.config.power), graph.receivers_E, len(graph.numbers_A)
        )
        latents_CE = pairs.envelope_E * self.two_body(self.two_body_inputs(graph, ratio_E, pairs.envelope_E))
        tensor_UKE = pairs.embedding(self.embedding(latents_CE))
        for layer in self.layers:
            latents_CE, tensor_UKE = layer(latents_CE, tensor_UKE, pairs)
        energy_E: Tensor = self.readout(latents_CE)[0]
        return energy_E.new_zeros(pairs.atoms).index_add(0, pairs.centre_E, energy_E)
