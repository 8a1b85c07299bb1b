"""Pairs of neighbours that have an energy, and pull at each other with a force that is not its gradient."""

from __future__ import annotations

import toy_pairs
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize
from toy_pairs import PEAK_RATE, STACKED, WIDTH_STEP, Config, layers_for

from chemscale_bench.models.potential import Graph

__all__ = ["PEAK_RATE", "STACKED", "WIDTH_STEP", "Config", "Network", "layers_for"]


class Network(toy_pairs.Network):
    DIRECT = True

    def __init__(self, config: Config, elements: tuple[int, ...]) -> None:
        super().__init__(config, elements)
        self.out = nn.Linear(config.width, 2)

    def forward(self, graph: Graph) -> tuple[Tensor, Tensor]:
        # As a model with dropout would be: what is measured is measured without.
        energy_E, pull_E = (dropout(self.scale * self.of_pairs(graph), 0.02, self.training)).unbind(1)
        force_E3 = pull_E[:, None] * normalize(graph.displacements())
        none_A = energy_E.new_zeros(len(graph.numbers_A))
        energy_A = none_A.index_add(0, graph.receivers_E, energy_E)
        forces_A3 = graph.positions_A3.new_zeros(graph.positions_A3.shape).index_add(0, graph.receivers_E, force_E3)
        return graph.per_structure(energy_A), forces_A3
