"""ViSNet (Wang et al., Nat. Commun. 15, 313, 2024) as torch_geometric has it.

Shapes: A atoms, E directed edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.nn.models.visnet import EquivariantScalar, ViSNetBlock

from chemscale_bench.models.potential import Graph, Potential

PEAK_RATE = (1e-2, 32)  # the best of 2e-3, 5e-3 and 1e-2 in 300 steps on ethanol, and their width
STACKED = False
HEADS = WIDTH_STEP = 4  # heads share the width evenly


@dataclass(frozen=True)
class Config:
    """Size and constants of a ViSNet."""

    layers: int = 3
    width: int = 64
    cutoff: float = 5.0
    """Angstrom."""
    degree: int = 2
    """Of the spherical harmonics."""


def layers_for(params: int) -> int:
    """Depth of the ladder, the same at every size."""
    return 3


class Edges(nn.Module):
    """The edges of our graph and a loop at each atom, in place of a search that needs torch-cluster."""

    def forward(self, positions_A3: Tensor, graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
        """Senders and receivers (2, E + A), lengths (E + A,) and displacements (E + A, 3) in Angstrom."""
        loops_A = torch.arange(len(positions_A3), device=positions_A3.device)
        ends_E = torch.stack([graph.senders_E, graph.receivers_E])
        displacement_E3 = graph.displacements()
        none_A3 = torch.zeros_like(positions_A3)
        return (
            torch.cat([ends_E, loops_A.expand(2, -1)], dim=1),
            torch.cat([displacement_E3.norm(dim=1), none_A3[:, 0]]),
            torch.cat([displacement_E3, none_A3]),
        )


class Network(Potential):
    """ViSNet's representation and its readout of atomic energies."""

    ELEMENT_TABLES = ("embedding",)
    WAITS = True  # it sorts the loops out by a mask

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        self.representation = ViSNetBlock(
            lmax=config.degree,
            num_heads=HEADS,
            num_layers=config.layers,
            hidden_channels=config.width,
            cutoff=config.cutoff,
        )
        self.representation.distance = Edges()
        self.readout = EquivariantScalar(config.width)

    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energy of each atom (A,) in units of `scale`."""
        # The third argument, elsewhere the molecule of each atom, is only passed on to what finds the edges.
        scalars, vectors = self.representation(graph.numbers_A, graph.positions_A3, graph)
        energies_A1: Tensor = self.readout.pre_reduce(scalars, vectors)
        return energies_A1[:, 0]
