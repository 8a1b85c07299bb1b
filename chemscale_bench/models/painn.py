"""PaiNN (Schütt, Unke, Gastegger, ICML 2021): schnetpack's weights, our own forward pass.

Shapes: A atoms, E directed edges, F features, R radial functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chemscale_bench.models.compat import import_schnetpack
from chemscale_bench.models.potential import Graph, Potential


@dataclass(frozen=True)
class Config:
    """Size and constants of a PaiNN."""

    layers: int = 3
    """Pairs of a message and an update block."""
    width: int = 64
    """Scalar features per atom, and vector features."""
    cutoff: float = 5.0
    """Angstrom."""
    radial_functions: int = 20
    """Bessel functions."""


def layers_for(params: int) -> int:
    """Depth of the ladder: that of the paper at every size."""
    return 3


class Network(Potential):
    """schnetpack's `PaiNN` with its `Atomwise` readout."""

    ELEMENT_TABLES = ("representation.embedding.",)

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        parts = import_schnetpack("schnetpack.nn")
        self.representation = import_schnetpack("schnetpack.representation").PaiNN(
            n_atom_basis=config.width,
            n_interactions=config.layers,
            radial_basis=parts.BesselRBF(config.radial_functions, config.cutoff),
            cutoff_fn=parts.CosineCutoff(config.cutoff),
        )
        self.readout = import_schnetpack("schnetpack.atomistic").Atomwise(config.width).outnet

    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energy of each atom (A,) in units of `scale`."""
        model = self.representation
        displacement_E3 = graph.displacements()
        distance_E1 = displacement_E3.norm(dim=1, keepdim=True)
        direction_E31 = (displacement_E3 / distance_E1)[:, :, None]
        filters = model.filter_net(model.radial_basis(distance_E1[:, 0])) * model.cutoff_fn(distance_E1)
        scalars_AF = model.embedding(graph.numbers_A)
        width = scalars_AF.shape[1]
        vectors_A3F = scalars_AF.new_zeros(len(scalars_AF), 3, width)
        blocks = zip(model.interactions, model.mixing, filters.split(3 * width, dim=1), strict=True)
        for interaction, mixing, filter_E3F in blocks:
            context_A3F = interaction.interatomic_context_net(scalars_AF)
            messages = (filter_E3F * context_A3F.index_select(0, graph.senders_E)).split(width, dim=1)
            vectors_E3F = messages[1][:, None] * direction_E31
            vectors_E3F = vectors_E3F + messages[2][:, None] * vectors_A3F.index_select(0, graph.senders_E)
            scalars_AF = scalars_AF.index_add(0, graph.receivers_E, messages[0])
            vectors_A3F = vectors_A3F.index_add(0, graph.receivers_E, vectors_E3F)

            v_A3F, w_A3F = mixing.mu_channel_mix(vectors_A3F).split(width, dim=2)
            norm_AF = (v_A3F.square().sum(1) + mixing.epsilon).sqrt()
            update_AF = mixing.intraatomic_context_net(torch.cat([scalars_AF, norm_AF], dim=1)).split(width, dim=1)
            scalars_AF = scalars_AF + update_AF[0] + update_AF[2] * (v_A3F * w_A3F).sum(1)
            vectors_A3F = vectors_A3F + update_AF[1][:, None] * w_A3F
        energies_A1: Tensor = self.readout(scalars_AF)
        return energies_A1[:, 0]
