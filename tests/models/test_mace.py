"""MACE gives what mace-torch's own model gives with the same weights."""

import copy

import pytest
import torch
from graphs import ELEMENTS, frames, graph_of
from library_mace import library_model

from chemscale_bench.models.force_fields import build
from chemscale_bench.models.mace import Config, Network
from chemscale_bench.models.mace_file import library_inputs, names_of
from chemscale_bench.models.potential import energy_and_forces


@pytest.mark.parametrize(
    "config", [Config(width=16), Config(width=8, layers=3, max_L=2, max_ell=2), Config(width=8, self_connected=False)]
)
def test_energies_forces_and_gradients_are_those_of_the_library(config: Config) -> None:
    network = build("mace", config, ELEMENTS, seed=0).double()
    assert isinstance(network, Network)
    model = library_model(network, ELEMENTS)
    assert dict(model.named_parameters()).keys() == dict(names_of(network)).keys()
    for dtype, tolerance in [(torch.float64, 1e-10), (torch.float32, 1e-5)]:
        network.to(dtype), model.to(dtype)
        graph = graph_of([*frames("ethanol", 2), *frames("aspirin", 2)], config.cutoff, dtype)
        outputs = model(library_inputs(graph, ELEMENTS), training=True)
        theirs = outputs["energy"], outputs["forces"]
        ours = energy_and_forces(network, graph, differentiable=True)
        for energy_S, forces_A3 in (theirs, ours):
            (energy_S.square().mean() + forces_A3.square().mean()).backward()
        gradients = copy.deepcopy(network)  # holds our gradients as if they were weights
        for slot, weight in zip(gradients.parameters(), network.parameters(), strict=True):
            assert weight.grad is not None
            slot.data = weight.grad
        by_name = dict(model.named_parameters())
        pairs = [(by_name[name].grad.flatten(), value.flatten()) for name, value in names_of(gradients)]
        for expected, value in [*pairs, *zip(theirs, ours, strict=True)]:
            assert expected.abs().max() > 0
            assert (value - expected).abs().max() < tolerance * expected.abs().max()
        network.zero_grad(), model.zero_grad()
