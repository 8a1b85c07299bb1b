"""MACE (Batatia et al., NeurIPS 2022): mace-torch's network behind the interface of all force fields.

Shapes: A atoms, E directed edges, Z elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chemscale_bench.models.compat import import_mace
from chemscale_bench.models.potential import Graph, Potential


@dataclass(frozen=True)
class Config:
    """Size and constants of a MACE."""

    layers: int = 2
    """Message-passing layers."""
    width: int = 32
    """Channels of each degree."""
    cutoff: float = 5.0
    """Angstrom."""
    max_L: int = 1
    """Degree of the messages: 0 invariant, 1 with vectors, 2 with quadrupoles."""
    max_ell: int = 3
    """Degree of the spherical harmonics."""
    correlation: int = 3
    """Body order of a message, less one."""
    radial_functions: int = 8
    """Bessel functions."""
    average_neighbors: float = 12.0
    """Divides the sum over neighbors; fixed, so that a network does not depend on its training set."""


def layers_for(params: int) -> int:
    """Depth of the ladder: that of the paper at every size."""
    return 2


class Network(Potential):
    """mace-torch's `MACE` without reference energies."""

    ELEMENT_TABLES = ("mace.node_embedding.",)

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        modules, o3 = import_mace("mace.modules"), import_mace("e3nn.o3")
        degrees = range(config.max_L + 1)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            self.mace = modules.MACE(
                r_max=config.cutoff,
                num_bessel=config.radial_functions,
                num_polynomial_cutoff=5,
                max_ell=config.max_ell,
                interaction_cls=modules.RealAgnosticResidualInteractionBlock,
                interaction_cls_first=modules.RealAgnosticResidualInteractionBlock,
                num_interactions=config.layers,
                num_elements=len(elements),
                hidden_irreps=o3.Irreps([(config.width, (degree, (-1) ** degree)) for degree in degrees]),
                MLP_irreps=o3.Irreps("16x0e"),
                atomic_energies=np.zeros(len(elements)),
                avg_num_neighbors=config.average_neighbors,
                atomic_numbers=list(elements),
                correlation=config.correlation,
                gate=torch.nn.functional.silu,
                use_reduced_cg=False,
            ).to(before)
        finally:
            torch.set_default_dtype(before)

    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energy of each atom (A,) in units of `scale`."""
        mace = self.mace
        elements_AZ = (graph.numbers_A[:, None] == mace.atomic_numbers).to(graph.positions_A3.dtype)
        edges = torch.stack([graph.senders_E, graph.receivers_E])
        displacement_E3 = -graph.displacements()  # from sender to receiver
        harmonics = mace.spherical_harmonics(displacement_E3)
        distance_E1 = displacement_E3.norm(dim=1, keepdim=True)
        radial, _ = mace.radial_embedding(distance_E1, elements_AZ, edges, mace.atomic_numbers)
        features = mace.node_embedding(elements_AZ)
        energies_A = torch.zeros_like(graph.positions_A3[:, 0])
        for interaction, product, readout in zip(mace.interactions, mace.products, mace.readouts, strict=True):
            messages, skip = interaction(elements_AZ, features, harmonics, radial, edges)
            features = product(messages, skip, elements_AZ)
            energies_A = energies_A + readout(features)[:, 0]
        return energies_A
