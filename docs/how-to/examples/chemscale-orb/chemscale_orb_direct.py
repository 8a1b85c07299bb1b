"""Orb v3, direct: forces are outputs of the network beside the energy, and do not conserve it.

Shapes: A atoms, S structures.
"""

from __future__ import annotations

import chemscale_orb
from chemscale_orb import PEAK_RATE, STACKED, WIDTH_STEP, Config, layers_for
from torch import Tensor

from chemscale_bench.models.potential import Graph

__all__ = ["PEAK_RATE", "STACKED", "WIDTH_STEP", "Config", "Network", "layers_for"]


class Network(chemscale_orb.Network):
    """Outputs of each atom: its energy and its force."""

    DIRECT = True
    OUTPUTS = 4

    def forward(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Energies (S,) in eV and forces (A, 3) in eV/Angstrom, without a net force on the molecule."""
        outputs_A4, turned_S33 = self.outputs(graph)
        energy_A, turned_A3 = self.scale * outputs_A4[:, 0], self.scale * outputs_A4[:, 1:]
        forces_A3 = (turned_A3[:, None] @ turned_S33[graph.structure_A].mT)[:, 0]
        atoms_S1 = graph.per_structure(forces_A3.new_ones(len(forces_A3), 1))
        mean_S3 = graph.per_structure(forces_A3) / atoms_S1
        return graph.per_structure(energy_A), forces_A3 - mean_S3[graph.structure_A]
