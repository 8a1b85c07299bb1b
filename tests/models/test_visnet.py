"""The example of an installed package: what torch_geometric's ViSNet gives for its own graphs, ours give with ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from graphs import ELEMENTS, frames, graph_of

from chemscale_bench.models.potential import energy_and_forces

pytest.importorskip("torch_geometric")
EXAMPLE = Path(__file__).parents[2] / "docs" / "how-to" / "examples" / "chemscale-visnet"


def test_energies_are_those_of_the_library_and_do_not_depend_on_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import chemscale_visnet as visnet

    torch.manual_seed(0)
    config = visnet.Config(width=16, layers=2, cutoff=4.0)
    network = visnet.Network(config, ELEMENTS).double()
    molecules = [*frames("ethanol", 2), *frames("aspirin", 1)]
    graph = graph_of(molecules, config.cutoff, torch.float64)
    energy_S, forces_A3 = energy_and_forces(network, graph, differentiable=False)

    class Dense(torch.nn.Module):
        """What the library's search finds: all pairs in a molecule nearer than the cutoff, loops included."""

        def forward(self, positions: torch.Tensor, structure: torch.Tensor) -> tuple[torch.Tensor, ...]:
            near = (torch.cdist(positions, positions) < config.cutoff) & (structure[:, None] == structure)
            ends = near.nonzero().T
            apart = positions[ends[0]] - positions[ends[1]]
            length = torch.where(ends[0] == ends[1], 0, apart.square().sum(1).clamp(min=1e-30).sqrt())
            return ends, length, apart

    monkeypatch.setitem(network.representation._modules, "distance", Dense())
    scalars, vectors = network.representation(graph.numbers_A, graph.positions_A3, graph.structure_A)
    atomic = network.readout.pre_reduce(scalars, vectors)
    torch.testing.assert_close(energy_S, graph.per_structure(atomic)[:, 0].detach(), rtol=1e-10, atol=1e-10)
    monkeypatch.undo()
    network.representation.distance = visnet.Edges()

    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())
    moved = graph_of(
        [(numbers, 3 + positions @ turn) for numbers, positions in molecules], config.cutoff, torch.float64
    )
    energy_moved_S, forces_moved_A3 = energy_and_forces(network, moved, differentiable=False)
    torch.testing.assert_close(energy_moved_S, energy_S, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(forces_moved_A3, forces_A3 @ turn, rtol=1e-8, atol=1e-8)
    step = torch.zeros_like(graph.positions_A3)
    step[4, 1] = 1e-5
    up, down = (network(graph._replace(positions_A3=graph.positions_A3 + sign * step)).sum() for sign in (1, -1))
    assert float((down - up) / 2e-5) == pytest.approx(float(forces_A3[4, 1]), rel=1e-6)
    sys.modules.pop("chemscale_visnet")
