"""Pairs of neighbours that have an energy, and pull at each other with a force that is not its gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize
from toy_pairs import PEAK_RATE, STACKED, WIDTH_STEP, Config, layers_for

from chemscale_bench.models.potential import Graph, Potential

__all__ = ["PEAK_RATE", "STACKED", "WIDTH_STEP", "Config", "Network", "layers_for"]


class Network(Potential):
    DIRECT = True

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config.cutoff)
        width = config.width
        self.pair = nn.Sequential(nn.Linear(27, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(width, 2)

    def forward(self, graph: Graph) -> tuple[Tensor, Tensor]:
        displacement_E3 = graph.displacements()
        distance_E1 = displacement_E3.norm(dim=1, keepdim=True)
        radial_ER = torch.exp(-20 * (distance_E1 - torch.linspace(0.5, self.cutoff, 25).to(distance_E1)) ** 2)
        numbers_E2 = torch.stack([graph.numbers_A[graph.senders_E], graph.numbers_A[graph.receivers_E]], 1) / 8
        found_E2 = (1 - distance_E1 / self.cutoff) ** 2 * self.out(self.pair(torch.cat([radial_ER, numbers_E2], 1)))
        # As in a model with dropout: what is measured is measured without.
        found_E2 = self.scale * dropout(found_E2, 0.02, self.training)
        none_A4 = found_E2.new_zeros(len(graph.numbers_A), 4)
        found_E4 = torch.cat([found_E2[:, :1], found_E2[:, 1:] * normalize(displacement_E3)], 1)
        found_A4 = none_A4.index_add(0, graph.receivers_E, found_E4)
        return graph.per_structure(found_A4[:, 0]), found_A4[:, 1:]
