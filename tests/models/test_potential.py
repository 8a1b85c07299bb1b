"""What holds for every force field."""

import pytest
import torch
from graphs import ELEMENTS, Molecule, frames, graph_of

from chemscale_bench.data.structures import pair_distances
from chemscale_bench.models.force_fields import build, config_for, size_polynomial
from chemscale_bench.models.potential import Potential, energy_and_forces, frames_graph, molecule_graph
from chemscale_bench.models.registry import FORCE_FIELDS

CUTOFF = 4.0  # below the size of aspirin, so that neighbourhoods differ
ISOLATED: Molecule = (torch.tensor([8, 1]), torch.tensor([[0.0, 0, 0], [0, 0, 9]]).double())
MOLECULES = [*frames("ethanol", 2), ISOLATED, *frames("aspirin", 1)]


@pytest.fixture(params=["schnet", "painn", "mace", "nequip-l0", "nequip-l2"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def network(name: str) -> Potential:
    return build(name, FORCE_FIELDS.family(name).Config(width=16, cutoff=CUTOFF), ELEMENTS, seed=1).double()


@pytest.mark.parametrize("count", [1, 3])
def test_graphs_are_those_of_brute_force(count: int) -> None:
    molecules = frames("aspirin", count)
    numbers_A, positions_FA3 = molecules[0][0], torch.stack([positions for _, positions in molecules])
    near_FP = torch.as_tensor(pair_distances(positions_FA3.numpy()) < CUTOFF)
    made = [frames_graph(numbers_A, positions_FA3, near_FP)]
    if count == 1:
        made.append(molecule_graph(numbers_A.numpy(), positions_FA3[0].numpy(), CUTOFF, positions_FA3))
    for graph in made:
        assert all(map(torch.equal, graph, graph_of(molecules, CUTOFF)))


def test_rotation_reflection_and_translation_leave_the_energy(network: Potential) -> None:
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())
    moved = [(numbers, 3 + positions @ turn) for numbers, positions in MOLECULES]
    energy, forces = energy_and_forces(network, graph_of(MOLECULES, CUTOFF), differentiable=False)
    energy_moved, forces_moved = energy_and_forces(network, graph_of(moved, CUTOFF), differentiable=False)
    torch.testing.assert_close(energy_moved, energy, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(forces_moved, forces @ turn, rtol=1e-9, atol=1e-9)
    assert forces.abs().max() > 1e-3


def test_the_order_of_atoms_does_not_matter(network: Potential) -> None:
    numbers, positions = MOLECULES[-1]
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0))
    energy, forces = energy_and_forces(network, graph_of([MOLECULES[-1]], CUTOFF), differentiable=False)
    permuted = graph_of([(numbers[order], positions[order])], CUTOFF)
    energy_permuted, forces_permuted = energy_and_forces(network, permuted, differentiable=False)
    torch.testing.assert_close(energy_permuted, energy, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(forces_permuted, forces[order], rtol=1e-10, atol=1e-10)


def test_a_molecule_in_a_batch_is_as_alone(network: Potential) -> None:
    energy, forces = energy_and_forces(network, graph_of(MOLECULES, CUTOFF), differentiable=False)
    alone = [energy_and_forces(network, graph_of([one], CUTOFF), differentiable=False) for one in MOLECULES]
    torch.testing.assert_close(energy, torch.cat([one for one, _ in alone]), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(forces, torch.cat([one for _, one in alone]), rtol=1e-10, atol=1e-10)


def test_forces_are_finite_differences_of_the_energy(network: Potential) -> None:
    numbers, positions = MOLECULES[0]
    _, forces = energy_and_forces(network, graph_of([(numbers, positions)], CUTOFF), differentiable=False)
    step = 1e-4
    for atom, axis in [(0, 0), (4, 1), (8, 2)]:
        energies = []
        for sign in (1, -1):
            moved = positions.clone()
            moved[atom, axis] += sign * step
            energies.append(energy_and_forces(network, graph_of([(numbers, moved)], CUTOFF), False)[0].item())
        assert forces[atom, axis].item() == pytest.approx((energies[1] - energies[0]) / (2 * step), rel=1e-4, abs=1e-6)


def test_a_loss_of_forces_has_the_gradient_of_finite_differences(network: Potential) -> None:
    graph = graph_of(MOLECULES, CUTOFF)
    generator = torch.Generator().manual_seed(0)

    def loss() -> torch.Tensor:
        energy_S, forces_A3 = energy_and_forces(network, graph, differentiable=True)
        return energy_S.square().sum() + forces_A3.square().sum()

    parameters = list(network.parameters())
    directions = [torch.randn(p.shape, generator=generator).double() * p.detach().abs().mean() for p in parameters]
    gradients = torch.autograd.grad(loss(), parameters)
    slope = sum((gradient * direction).sum() for gradient, direction in zip(gradients, directions, strict=True))
    step, losses = 1e-5, []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += sign * step * direction
        losses.append(loss().item())
    assert float(slope) == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-4)


def test_isolated_atoms_have_an_energy_and_no_force(network: Potential) -> None:
    energy, forces = energy_and_forces(network, graph_of([ISOLATED], CUTOFF), differentiable=True)
    assert energy.isfinite().all()
    assert (forces == 0).all()
    gradients = torch.autograd.grad(energy.sum() + forces.square().sum(), list(network.parameters()), allow_unused=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("every", [*FORCE_FIELDS.modules, *FORCE_FIELDS.of_degrees])
def test_tables_of_elements_do_not_count(every: str) -> None:
    config = FORCE_FIELDS.family(every).Config(width=8)
    few, many = (build(every, config, elements, seed=0) for elements in (ELEMENTS, (*ELEMENTS, 9, 16)))
    assert few.non_embedding_params == many.non_embedding_params
    parts = {part for name, _ in few.named_parameters() for part in name.split(".")}
    assert set(few.ELEMENT_TABLES) <= parts
    energy, forces = energy_and_forces(few, graph_of(MOLECULES[:2], CUTOFF, torch.float32), differentiable=False)
    assert energy.isfinite().all()
    assert forces.abs().max() > 0


@pytest.mark.parametrize("params", [1e5, 1e6])
def test_sizes_are_a_quadratic_in_the_width_and_within_5_percent(name: str, params: float) -> None:
    config = config_for(name, int(params), ELEMENTS)
    size = build(name, config, ELEMENTS, seed=0).non_embedding_params
    assert size == size_polynomial(name, ELEMENTS, layers=config.layers)(config.width)
    assert size == pytest.approx(params, rel=0.05)
    assert config.layers == FORCE_FIELDS.family(name).layers_for(int(params))
