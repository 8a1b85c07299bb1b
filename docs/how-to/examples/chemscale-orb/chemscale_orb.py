"""Orb v3, conservative (Rhodes et al. 2025): a network of orb-models that is told of no symmetry but that of atoms.

Shapes: A atoms, E directed edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import torch
from orb_models.forcefield.angular import SphericalHarmonics
from orb_models.forcefield.gns import MoleculeGNS
from orb_models.forcefield.rbf import BesselBasis
from torch import Tensor

from chemscale_bench.models.potential import Graph, Potential

PEAK_RATE = (2e-3, 64)
STACKED = False
WIDTH_STEP = 1
RADIUS = 6.0  # Angstrom at which the library's envelope ends; lengths are scaled to it


@dataclass(frozen=True)
class Config:
    """Size and constants of an Orb; its authors' has 5 layers of 256."""

    layers: int = 3
    width: int = 64
    cutoff: float = 5.0
    """Angstrom."""


def layers_for(params: int) -> int:
    """Depth of the ladder, the same at every size."""
    return 3


def random_rotations(number: int) -> Tensor:
    """Rotations (S, 3, 3), half of them with a reflection, each as likely as any other."""
    q_S33, r_S33 = torch.linalg.qr(torch.randn(number, 3, 3, dtype=torch.float64))
    return q_S33 * r_S33.diagonal(dim1=1, dim2=2).sign()[:, None]


class Network(Potential):
    """The network with outputs for each atom: its energy."""

    ELEMENT_TABLES = ("atom_emb",)
    OUTPUTS = 1

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        self.gns = MoleculeGNS(
            latent_dim=config.width,
            num_message_passing_steps=config.layers,
            num_mlp_layers=2,
            mlp_hidden_dim=4 * config.width,
            rbf_transform=BesselBasis(r_max=RADIUS, num_bases=8),
            angular_transform=SphericalHarmonics(lmax=3, normalize=True, normalization="component"),
            outer_product_with_cutoff=True,
            use_embedding=True,
            interaction_params={"distance_cutoff": True, "attention_gate": "sigmoid"},
            num_node_out_features=self.OUTPUTS,
            activation="silu",
            mlp_norm="rms_norm",
        )

    def outputs(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """(A, `OUTPUTS`), and how each structure was turned (S, 3, 3): at random in training, else not at all."""
        turned_S33 = torch.eye(3).to(self.scale).expand(graph.structures, 3, 3)
        if self.training:
            turned_S33 = random_rotations(graph.structures).to(self.scale)
        turned_E33 = turned_S33[graph.structure_A[graph.receivers_E]]
        vectors_E13 = graph.displacements()[:, None] @ turned_E33 * (RADIUS / self.cutoff)
        batch = SimpleNamespace(
            node_features={"atomic_numbers": graph.numbers_A, "atomic_numbers_embedding": None},
            edge_features={"vectors": vectors_E13[:, 0]},
            senders=graph.senders_E,
            receivers=graph.receivers_E,
        )
        return self.gns(batch)["pred"], turned_S33

    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energy of each atom (A,) in units of `scale`."""
        return self.outputs(graph)[0][:, 0]
