from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from chemscale_bench.errors import UserError
from chemscale_bench.models import force_fields
from chemscale_bench.models.allegro import Config, Network, tensor_tracks
from chemscale_bench.models.potential import Graph, energy_and_forces

GOLDEN = load_file(Path(__file__).parent / "golden" / "allegro.safetensors")
NUMBERS_A, POSITIONS_A3, STRUCTURE_A = (GOLDEN[name] for name in ("numbers", "positions", "structure"))
ELEMENTS = (1, 6, 7, 8)
CONFIGS = [Config(layers=3, width=16, cutoff=4.0, l_max=l_max) for l_max in range(4)]
CLOSE = {"rtol": 0.0, "atol": 1e-9}


def graph_of(numbers_A: Tensor, positions_A3: Tensor, structure_A: Tensor, reach: float = 4.0) -> Graph:
    near = torch.cdist(positions_A3, positions_A3) < reach
    receivers_E, senders_E = (near & (structure_A[:, None] == structure_A)).fill_diagonal_(False).nonzero(as_tuple=True)
    zeros = torch.zeros(int(structure_A.max()) + 1, dtype=torch.int64)
    return Graph(numbers_A, positions_A3, structure_A, receivers_E, senders_E, zeros, zeros)


def molecules(positions_A3: Tensor = POSITIONS_A3) -> Graph:
    """Two frames of ethanol and one of uracil."""
    return graph_of(NUMBERS_A, positions_A3, STRUCTURE_A)


def line(*places: float) -> Graph:
    """Carbon atoms on a line."""
    positions = torch.zeros(len(places), 3, dtype=torch.float64)
    positions[:, 0] = torch.tensor(places)
    return graph_of(torch.full((len(places),), 6), positions, torch.zeros(len(places), dtype=torch.int64))


def network(config: Config = CONFIGS[2]) -> Network:
    made = force_fields.build("allegro", config, ELEMENTS, seed=1).double()
    assert isinstance(made, Network)
    return made


def orthogonal(determinant: int) -> Tensor:
    matrix = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    return matrix * determinant * torch.det(matrix).sign()


def test_the_reference_implementation_s_energies_and_forces() -> None:
    """Computed once with the authors' code as of the paper (0.1.0), float64, weights copied."""
    golden = Network(CONFIGS[3], ELEMENTS).double()
    golden.load_state_dict({k.removeprefix("weights."): v for k, v in GOLDEN.items() if k.startswith("weights.")})
    energy_S, forces_A3 = energy_and_forces(golden, molecules(), differentiable=False)
    torch.testing.assert_close(energy_S, GOLDEN["energies"], **CLOSE)
    torch.testing.assert_close(forces_A3, GOLDEN["forces"], **CLOSE)


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"l_max {config.l_max}")
def test_rotations_and_reflections(config: Config, determinant: int) -> None:
    turn = orthogonal(determinant)
    energy_S, forces_A3 = energy_and_forces(network(config), molecules(), differentiable=False)
    turned_S, turned_A3 = energy_and_forces(network(config), molecules(POSITIONS_A3 @ turn.T), differentiable=False)
    torch.testing.assert_close(turned_S, energy_S, **CLOSE)
    torch.testing.assert_close(turned_A3, forces_A3 @ turn.T, **CLOSE)


def test_translation_and_permutation() -> None:
    order = torch.argsort(STRUCTURE_A * 100 + torch.arange(len(NUMBERS_A)).flip(0))
    moved = graph_of(NUMBERS_A[order], POSITIONS_A3[order] + torch.tensor([3.0, -20.0, 7.0]), STRUCTURE_A[order])
    energy_S, forces_A3 = energy_and_forces(network(), molecules(), differentiable=False)
    moved_S, moved_A3 = energy_and_forces(network(), moved, differentiable=False)
    torch.testing.assert_close(moved_S, energy_S, **CLOSE)
    torch.testing.assert_close(moved_A3, forces_A3[order], **CLOSE)


def test_a_molecule_in_a_batch_is_the_molecule_alone() -> None:
    energy_S, forces_A3 = energy_and_forces(network(), molecules(), differentiable=False)
    for index in range(3):
        mine = index == STRUCTURE_A
        alone = graph_of(NUMBERS_A[mine], POSITIONS_A3[mine], torch.zeros(int(mine.sum()), dtype=torch.int64))
        alone_S, alone_A3 = energy_and_forces(network(), alone, differentiable=False)
        torch.testing.assert_close(alone_S[0], energy_S[index], **CLOSE)
        torch.testing.assert_close(alone_A3, forces_A3[mine], **CLOSE)


def test_forces_are_the_gradient_of_the_energy() -> None:
    _, forces_A3 = energy_and_forces(network(), molecules(), differentiable=False)
    direction = torch.randn(POSITIONS_A3.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-4
    near, far = (
        (network()(molecules(POSITIONS_A3 + h * direction)) - network()(molecules(POSITIONS_A3 - h * direction))).sum()
        for h in (step, 2 * step)
    )
    slope = (8 * near - far) / (12 * step)
    torch.testing.assert_close(slope, -(forces_A3 * direction).sum(), **CLOSE)


def test_a_loss_on_forces_reaches_every_parameter_with_the_right_gradient() -> None:
    trained = network()

    def loss() -> Tensor:
        return energy_and_forces(trained, molecules(), differentiable=True)[1].square().sum()

    loss().backward()
    for name, parameter in trained.named_parameters():
        assert parameter.grad is not None, name
        steepest = int(parameter.grad.abs().argmax())
        gradient = parameter.grad.flatten()[steepest]
        values = []
        for step in (1e-4, -2e-4):
            with torch.no_grad():
                parameter.view(-1)[steepest] += step
            values.append(loss().detach())
        with torch.no_grad():
            parameter.view(-1)[steepest] += 1e-4
        torch.testing.assert_close((values[0] - values[1]) / 2e-4, gradient, rtol=1e-5, atol=1e-9, msg=name)


def test_the_energy_goes_to_zero_smoothly_at_the_cutoff() -> None:
    energies = [network()(line(0.0, 4.0 - gap)) for gap in (2e-3, 1e-3)]
    assert energies[0] != 0
    torch.testing.assert_close(energies[0] / energies[1], torch.full((1,), 8.0).double(), rtol=0.01, atol=0.0)
    torch.testing.assert_close(network()(line(0.0, 4.0 - 1e-6)), torch.zeros(1).double(), **CLOSE)


def test_edges_beyond_the_cutoff_change_nothing() -> None:
    farther = graph_of(NUMBERS_A, POSITIONS_A3, STRUCTURE_A, reach=20.0)
    assert len(farther.receivers_E) > len(molecules().receivers_E)
    for a, b in zip(
        energy_and_forces(network(), farther, differentiable=False),
        energy_and_forces(network(), molecules(), differentiable=False),
        strict=True,
    ):
        torch.testing.assert_close(a, b, **CLOSE)


def test_an_atom_feels_only_what_lies_within_its_cutoff() -> None:
    energies, moved = (network().atomic_energies(line(0.0, 3.0, last)) for last in (5.0, 5.5))
    torch.testing.assert_close(moved[0], energies[0], rtol=0.0, atol=0.0)
    assert abs(moved[1] - energies[1]) > 1e-6


def test_an_atom_without_neighbours_has_no_energy() -> None:
    lonely = network()
    for graph in (line(0.0), line(0.0, 1.5, 30.0)):
        energy_S, forces_A3 = energy_and_forces(lonely, graph, differentiable=True)
        assert lonely.atomic_energies(graph)[-1] == 0
        assert torch.isfinite(energy_S).all()
        assert forces_A3[-1].tolist() == [0, 0, 0]


def test_single_precision_and_the_scale() -> None:
    single = network().float()
    single.scale.fill_(2)
    graph = molecules()._replace(positions_A3=POSITIONS_A3.float())
    energy_S, forces_A3 = energy_and_forces(single, graph, differentiable=False)
    double_S, double_A3 = energy_and_forces(network(), molecules(), differentiable=False)
    assert energy_S.dtype == torch.float32
    torch.testing.assert_close(energy_S.double(), 2 * double_S, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(forces_A3.double(), 2 * double_A3, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layers", "l_max", "between"),
    [(1, 2, []), (2, 1, [[(0, 1), (1, -1)]]), (3, 1, [[(0, 1), (1, 1), (1, -1)], [(0, 1), (1, -1)]])],
)
def test_tracks_hold_what_can_still_become_a_scalar(
    layers: int, l_max: int, between: list[list[tuple[int, int]]]
) -> None:
    tracks = tensor_tracks(layers, l_max)
    assert tracks[1:-1] == between
    assert tracks[-1] == [(0, 1)]


@pytest.mark.parametrize("params", [10_000, 100_000, 1_000_000, 10_000_000])
def test_sizes(params: int) -> None:
    config = force_fields.config_for("allegro", params, ELEMENTS)
    size = force_fields.build("allegro", config, ELEMENTS, seed=0).non_embedding_params
    assert size == force_fields.size_polynomial("allegro", ELEMENTS, layers=config.layers)(config.width)
    assert abs(size / params - 1) < 0.05


@pytest.mark.parametrize("wrong", [{"width": 30}, {"l_max": 4}, {"l_max": -1}])
def test_a_config_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"must be .* got {next(iter(wrong.values()))}; "):
        replace(Config(), **wrong)
