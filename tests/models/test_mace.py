"""MACE gives what mace-torch's own model gives with the same weights."""

import copy

import numpy as np
import pytest
import torch
from graphs import ELEMENTS, frames, graph_of
from torch import nn

from chemscale_bench.models.compat import import_mace
from chemscale_bench.models.force_fields import build
from chemscale_bench.models.mace import CUTOFF_POWER, READOUT_WIDTH, Config, Network, symmetric_couplings
from chemscale_bench.models.potential import Graph, energy_and_forces


def same_weights(network: Network, config: Config) -> list[tuple[str, torch.Tensor]]:
    """Our weights by the names that mace-torch has for them."""
    named = [("node_embedding.linear.weight", network.embedding)]
    for index, layer in enumerate(network.layers):
        interaction, product = f"interactions.{index}", f"products.{index}"
        named += [(f"{interaction}.conv_tp_weights.layer{step}.weight", w) for step, w in enumerate(layer.radial)]
        named += [
            (f"{interaction}.linear_up.weight", layer.up),
            (f"{interaction}.linear.weight", layer.mix),
            (f"{interaction}.skip_tp.weight", layer.skip),
            (f"{product}.linear.weight", layer.out),
        ]
        for degree, weights in enumerate(layer.contraction):
            by_order = torch.split(weights, symmetric_couplings(config.max_ell, degree)[1], dim=1)
            prefix = f"{product}.symmetric_contractions.contractions.{degree}"
            names = ["weights_max", "weights.0", "weights.1"]
            named += [(f"{prefix}.{name}", part) for name, part in zip(names, by_order, strict=True)]
    named += [(f"readouts.{index}.linear.weight", weight) for index, weight in enumerate(network.readouts)]
    last = len(network.readouts)
    return [*named, *((f"readouts.{last}.linear_{step}.weight", w) for step, w in enumerate(network.last, start=1))]


def library_model(config: Config, weights: list[tuple[str, torch.Tensor]]) -> nn.Module:
    modules, o3 = import_mace("mace.modules"), import_mace("e3nn.o3")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # for its constants
    try:
        model: nn.Module = modules.MACE(
            r_max=config.cutoff,
            num_bessel=config.radial_functions,
            num_polynomial_cutoff=CUTOFF_POWER,
            max_ell=config.max_ell,
            interaction_cls=modules.RealAgnosticResidualInteractionBlock,
            interaction_cls_first=modules.RealAgnosticResidualInteractionBlock,
            num_interactions=config.layers,
            num_elements=len(ELEMENTS),
            hidden_irreps=o3.Irreps([(config.width, (degree, (-1) ** degree)) for degree in range(config.max_L + 1)]),
            MLP_irreps=o3.Irreps([(READOUT_WIDTH, (0, 1))]),
            atomic_energies=np.zeros(len(ELEMENTS)),
            avg_num_neighbors=config.average_neighbors,
            atomic_numbers=list(ELEMENTS),
            correlation=3,
            gate=nn.functional.silu,
            use_reduced_cg=False,
        )
    finally:
        torch.set_default_dtype(before)
    parameters = dict(model.named_parameters())
    assert set(parameters) == {name for name, _ in weights}
    with torch.no_grad():
        for name, weight in weights:
            parameters[name].copy_(weight.reshape(parameters[name].shape))
    return model


def library_inputs(graph: Graph) -> dict[str, torch.Tensor]:
    dtype = graph.positions_A3.dtype
    return {
        "positions": graph.positions_A3.clone().requires_grad_(),
        "node_attrs": (graph.numbers_A[:, None] == torch.tensor(ELEMENTS)).to(dtype),
        "edge_index": torch.stack([graph.senders_E, graph.receivers_E]),
        "batch": graph.structure_A,
        "ptr": torch.cat([torch.tensor([0]), torch.bincount(graph.structure_A).cumsum(0)]),
        "shifts": torch.zeros(len(graph.senders_E), 3, dtype=dtype),
        "unit_shifts": torch.zeros(len(graph.senders_E), 3, dtype=dtype),
        "cell": torch.zeros(3 * graph.structures, 3, dtype=dtype),
    }


@pytest.mark.parametrize("config", [Config(width=16), Config(width=8, layers=3, max_L=2, max_ell=2)])
def test_energies_forces_and_gradients_are_those_of_the_library(config: Config) -> None:
    network = build("mace", config, ELEMENTS, seed=0).double()
    assert isinstance(network, Network)
    model = library_model(config, same_weights(network, config))
    for dtype, tolerance in [(torch.float64, 1e-10), (torch.float32, 1e-5)]:
        network.to(dtype), model.to(dtype)
        graph = graph_of([*frames("ethanol", 2), *frames("aspirin", 2)], config.cutoff, dtype)
        outputs = model(library_inputs(graph), training=True)
        theirs = outputs["energy"], outputs["forces"]
        ours = energy_and_forces(network, graph, differentiable=True)
        for energy_S, forces_A3 in (theirs, ours):
            (energy_S.square().mean() + forces_A3.square().mean()).backward()
        gradients = copy.deepcopy(network)  # holds our gradients as if they were weights
        for slot, weight in zip(gradients.parameters(), network.parameters(), strict=True):
            assert weight.grad is not None
            slot.data = weight.grad
        by_name = dict(model.named_parameters())
        pairs = [(by_name[name].grad.flatten(), value.flatten()) for name, value in same_weights(gradients, config)]
        for expected, value in [*pairs, *zip(theirs, ours, strict=True)]:
            assert expected.abs().max() > 0
            assert (value - expected).abs().max() < tolerance * expected.abs().max()
        network.zero_grad(), model.zero_grad()
