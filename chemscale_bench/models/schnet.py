"""SchNet (Schütt et al., J. Chem. Phys. 148, 241722, 2018): schnetpack's weights, our own forward pass.

Shapes: A atoms, P pairs of neighbours, E directed edges, F features, R radial functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chemscale_bench.models.compat import import_schnetpack
from chemscale_bench.models.potential import Graph, Potential


@dataclass(frozen=True)
class Config:
    """Size and constants of a SchNet."""

    layers: int = 3
    """Interaction blocks."""
    width: int = 64
    """Features per atom, and filters."""
    cutoff: float = 5.0
    """Angstrom."""
    radial_functions: int = 20
    """Gaussians between 0 and the cutoff."""


PEAK_RATE = (7e-3, 88)  # half of what diverges in 3,000 steps, or less, and the width: benchmarks/force_fields.md
STACKED = True
WIDTH_STEP = 1
PAPER = {
    "network": {"layers": 6, "width": 128}, "steps": 95_000, "batch_frames": 10, "learning_rate": 1e-3,
    "source": "schnetpack's configs/experiment/md17.yaml",
}  # fmt: skip


def layers_for(params: int) -> int:
    """Depth of the ladder: that of the papers at every size."""
    return 3


class Network(Potential):
    """schnetpack's `SchNet` with its `Atomwise` readout."""

    ELEMENT_TABLES = ("embedding",)

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        parts = import_schnetpack("schnetpack.nn")
        self.representation = import_schnetpack("schnetpack.representation").SchNet(
            n_atom_basis=config.width,
            n_interactions=config.layers,
            radial_basis=parts.GaussianRBF(config.radial_functions, config.cutoff),
            cutoff_fn=parts.CosineCutoff(config.cutoff),
        )
        self.readout = import_schnetpack("schnetpack.atomistic").Atomwise(config.width).outnet

    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energy of each atom (A,) in units of `scale`."""
        first_P, second_P = graph.pairs()
        receivers_E, senders_E = torch.cat([first_P, second_P]), torch.cat([second_P, first_P])
        distance_P = (graph.positions_A3[second_P] - graph.positions_A3[first_P]).norm(dim=1)
        radial_PR = self.representation.radial_basis(distance_P)
        envelope_P1 = self.representation.cutoff_fn(distance_P)[:, None]
        features_AF = self.representation.embedding(graph.numbers_A)
        for block in self.representation.interactions:
            filters_PF = block.filter_network(radial_PR) * envelope_P1
            sent_2PF = block.in2f(features_AF).index_select(0, senders_E).view(2, *filters_PF.shape)
            messages_EF = (sent_2PF * filters_PF).flatten(0, 1)
            received_AF = messages_EF.new_zeros(len(features_AF), messages_EF.shape[1])
            features_AF = features_AF + block.f2out(received_AF.index_add(0, receivers_E, messages_EF))
        energies_A1: Tensor = self.readout(features_AF)
        return energies_A1[:, 0]
