"""PaiNN (Schütt, Unke, Gastegger, ICML 2021): schnetpack's weights, our own forward pass.

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
    """Size and constants of a PaiNN."""

    layers: int = 3
    """Pairs of a message and an update block."""
    width: int = 64
    """Scalar features per atom, and vector features."""
    cutoff: float = 5.0
    """Angstrom."""
    radial_functions: int = 20
    """Bessel functions."""


PEAK_RATE = (1e-2, 52)  # half of what diverges in 3,000 steps, or less, and the width: benchmarks/force_fields.md
STACKED = True
WIDTH_STEP = 1
PAPER = {
    "network": {"layers": 3, "width": 128}, "steps": 95_000, "batch_frames": 10, "learning_rate": 1e-3,
    "source": "schnetpack's configs/experiment/md17.yaml",
}  # fmt: skip


def layers_for(params: int) -> int:
    """Depth of the ladder: that of the paper at every size."""
    return 3


class Network(Potential):
    """schnetpack's `PaiNN` with its `Atomwise` readout."""

    ELEMENT_TABLES = ("embedding",)

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
        first_P, second_P = graph.pairs()
        receivers_E, senders_E = torch.cat([first_P, second_P]), torch.cat([second_P, first_P])
        displacement_P3 = graph.positions_A3[second_P] - graph.positions_A3[first_P]
        distance_P = displacement_P3.norm(dim=1)
        direction_P3 = displacement_P3 / distance_P[:, None]
        direction_2P31 = torch.stack([direction_P3, -direction_P3])[..., None]
        envelope_P1 = model.cutoff_fn(distance_P)[:, None]
        # schnetpack's own call of its Bessel functions copies a number to the device, which no CUDA graph can record.
        bessel_PR = torch.sin(distance_P[:, None] * model.radial_basis.freqs) / distance_P[:, None]
        radial = torch.cat([bessel_PR * envelope_P1, envelope_P1], dim=1)
        filters = radial @ torch.cat([model.filter_net.weight, model.filter_net.bias[:, None]], dim=1).T
        scalars_AF = model.embedding(graph.numbers_A)
        atoms, width = scalars_AF.shape
        vectors_A3F = scalars_AF.new_zeros(atoms, 3, width)
        filters_of_layers = torch.split(filters, 3 * width, dim=1)
        for index, (interaction, mixing) in enumerate(zip(model.interactions, model.mixing, strict=True)):
            context_A3F = interaction.interatomic_context_net(scalars_AF)
            context_2P3F = context_A3F.index_select(0, senders_E).view(2, -1, 3 * width)
            scalar, radial_vector, passed_vector = (filters_of_layers[index] * context_2P3F).split(width, dim=2)
            vectors_2P3F = radial_vector[:, :, None] * direction_2P31
            if index:  # there are no vectors before the first message
                sent = vectors_A3F.index_select(0, senders_E).view_as(vectors_2P3F)
                vectors_2P3F = torch.addcmul(vectors_2P3F, passed_vector[:, :, None], sent)
            scalars_AF = scalars_AF.index_add(0, receivers_E, scalar.flatten(0, 1))
            vectors_A3F = vectors_A3F.index_add(0, receivers_E, vectors_2P3F.flatten(0, 1))

            v_A3F, w_A3F = mixing.mu_channel_mix(vectors_A3F).split(width, dim=2)
            norm_AF = (v_A3F.square().sum(1) + mixing.epsilon).sqrt()
            update_AF = mixing.intraatomic_context_net(torch.cat([scalars_AF, norm_AF], dim=1)).split(width, dim=1)
            scalars_AF = scalars_AF + update_AF[0] + update_AF[2] * (v_A3F * w_A3F).sum(1)
            vectors_A3F = vectors_A3F + update_AF[1][:, None] * w_A3F
        energies_A1: Tensor = self.readout(scalars_AF)
        return energies_A1[:, 0]
