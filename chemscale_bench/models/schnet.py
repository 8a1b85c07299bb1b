"""SchNet (Schütt et al., J. Chem. Phys. 148, 241722, 2018): schnetpack's weights, our own forward pass.

Shapes: A atoms, E directed edges, F features, R radial functions.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def layers_for(params: int) -> int:
    """Depth of the ladder: that of the papers at every size."""
    return 3


class Network(Potential):
    """schnetpack's `SchNet` with its `Atomwise` readout."""

    ELEMENT_TABLES = ("representation.embedding.",)

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
        distance_E = graph.displacements().norm(dim=1)
        radial_ER = self.representation.radial_basis(distance_E)
        envelope_E1 = self.representation.cutoff_fn(distance_E)[:, None]
        features_AF = self.representation.embedding(graph.numbers_A)
        for block in self.representation.interactions:
            messages_EF = block.in2f(features_AF).index_select(0, graph.senders_E)
            messages_EF = messages_EF * (block.filter_network(radial_ER) * envelope_E1)
            received_AF = messages_EF.new_zeros(features_AF.shape).index_add(0, graph.receivers_E, messages_EF)
            features_AF = features_AF + block.f2out(received_AF)
        energies_A1: Tensor = self.readout(features_AF)
        return energies_A1[:, 0]
