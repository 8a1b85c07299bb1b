"""SchNet and PaiNN give what schnetpack's own model gives with the same weights."""

import pytest
import torch
from graphs import ELEMENTS, frames, graph_of
from torch import nn

from chemscale_bench.models.compat import import_schnetpack
from chemscale_bench.models.force_fields import build
from chemscale_bench.models.potential import Graph, Potential, energy_and_forces
from chemscale_bench.models.registry import FORCE_FIELDS


def library_model(network: Potential) -> nn.Module:
    """`NeuralNetworkPotential` around the same representation and readout: the same parameters, not copies."""
    atomistic = import_schnetpack("schnetpack.atomistic")
    atomwise = atomistic.Atomwise(network.representation.n_atom_basis, output_key="energy")
    atomwise.outnet = network.readout
    model: nn.Module = import_schnetpack("schnetpack.model").NeuralNetworkPotential(
        representation=network.representation,
        input_modules=[atomistic.PairwiseDistances()],
        output_modules=[atomwise, atomistic.Forces()],
    )
    return model


def library_inputs(graph: Graph) -> dict[str, torch.Tensor]:
    return {
        "_atomic_numbers": graph.numbers_A,
        "_positions": graph.positions_A3.clone(),
        "_offsets": torch.zeros(len(graph.receivers_E), 3, dtype=graph.positions_A3.dtype),
        "_idx_i": graph.receivers_E,
        "_idx_j": graph.senders_E,
        "_idx_m": graph.structure_A,
        "_n_atoms": torch.bincount(graph.structure_A),
    }


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", ["schnet", "painn"])
def test_energies_forces_and_gradients_are_those_of_the_library(
    name: str, dtype: torch.dtype, tolerance: float
) -> None:
    config = FORCE_FIELDS.family(name).Config()
    network = build(name, config, ELEMENTS, seed=0).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():  # schnetpack starts biases at zero
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    graph = graph_of([*frames("ethanol", 3), *frames("aspirin", 3)], config.cutoff, dtype)
    model = library_model(network)
    theirs = model(library_inputs(graph))
    ours = energy_and_forces(network, graph, differentiable=True)
    parameters = list(network.parameters())
    gradients = []
    for energy_S, forces_A3 in [(theirs["energy"], theirs["forces"]), ours]:
        loss = energy_S.square().mean() + forces_A3.square().mean()
        gradients.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)]))
    for expected, value in [(theirs["energy"], ours[0]), (theirs["forces"], ours[1]), tuple(gradients)]:
        assert expected.abs().max() > 1e-3
        assert (value - expected).abs().max() < tolerance * expected.abs().max()
