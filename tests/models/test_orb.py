"""The example of Orb: its symmetries, turned frames in training, forces beside the energy."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from graphs import ELEMENTS, frames, graph_of

from chemscale_bench.models.potential import Graph, energy_and_forces

pytest.importorskip("orb_models", reason="needs orb-models, which the example depends on")
EXAMPLE = Path(__file__).parents[2] / "docs" / "how-to" / "examples" / "chemscale-orb"
MOLECULES = [*frames("ethanol", 2), *frames("aspirin", 1)]


@pytest.fixture(params=["chemscale_orb", "chemscale_orb_direct"])
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return __import__(request.param)


def turned(turn: torch.Tensor, cutoff: float) -> Graph:
    """The molecules, elsewhere and turned."""
    return graph_of([(numbers, 3 + positions @ turn) for numbers, positions in MOLECULES], cutoff, torch.float64)


def test_it_is_trained_on_turned_frames_and_gives_forces_of_those_it_was_given(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = module.Config(width=12, layers=2, cutoff=4.0)
    network = module.Network(config, ELEMENTS).double().eval()
    turn, _ = torch.linalg.qr(torch.randn(3, 3).double())
    energy_S, forces_A3 = energy_and_forces(network, turned(turn, config.cutoff), differentiable=False)
    drawn = sys.modules["chemscale_orb"].random_rotations(4000)  # type: ignore[attr-defined]
    assert torch.allclose(drawn @ drawn.mT, torch.eye(3).double(), atol=1e-9)
    assert float(drawn.mean(0).abs().max()) < 0.05, "no turn is likelier than another"
    monkeypatch.setitem(
        vars(sys.modules["chemscale_orb"]), "random_rotations", lambda number: turn.expand(number, 3, 3)
    )
    graph = turned(torch.eye(3).double(), config.cutoff)
    trained_S, trained_A3 = energy_and_forces(network.train(), graph, differentiable=False)
    torch.testing.assert_close(trained_S, energy_S, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(trained_A3 @ turn, forces_A3, rtol=1e-8, atol=1e-8)
    _, plain_A3 = energy_and_forces(network.eval(), graph, differentiable=False)
    assert not torch.allclose(plain_A3, trained_A3, rtol=1e-3), "it knows nothing of rotations by itself"
    torch.testing.assert_close(graph.per_structure(plain_A3), torch.zeros(3, 3).double(), atol=1e-9, rtol=0)
    if not network.DIRECT:
        step = torch.zeros_like(graph.positions_A3)
        step[4, 1] = 1e-5
        up, down = (network(graph._replace(positions_A3=graph.positions_A3 + sign * step)).sum() for sign in (1, -1))
        assert float((down - up) / 2e-5) == pytest.approx(float(plain_A3[4, 1]), rel=1e-6)
