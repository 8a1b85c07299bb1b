"""SpookyNet agrees with its reference implementation, obeys physics, and is differentiable wherever atoms may go."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from chemscale_bench.errors import UserError
from chemscale_bench.models import force_fields, spookynet
from chemscale_bench.models.potential import Graph, energy_and_forces
from chemscale_bench.models.spookynet_blocks import silu
from chemscale_bench.models.spookynet_physics import SUBSHELLS, electron_configuration

# Made once with the authors' code (github.com/OUnke/SpookyNet, MIT) in float64: exact attention, no dispersion, random
# weights; ethanol, its cation, the anion of uracil, aspirin, and six atoms at random places in a quintet state.
GOLDEN = load_file(Path(__file__).parent / "golden" / "spookynet.safetensors")
NO_EDGES = torch.zeros(0, dtype=torch.int64)  # the model works on all pairs


class Molecule(NamedTuple):
    numbers: Tensor
    positions: Tensor
    charge: int = 0
    unpaired: int = 0


def graph_of(*molecules: Molecule) -> Graph:
    return Graph(
        torch.cat([molecule.numbers for molecule in molecules]).long(),
        torch.cat([molecule.positions for molecule in molecules]),
        torch.arange(len(molecules)).repeat_interleave(torch.tensor([len(molecule.numbers) for molecule in molecules])),
        NO_EDGES,
        NO_EDGES,
        torch.tensor([molecule.charge for molecule in molecules]),
        torch.tensor([molecule.unpaired for molecule in molecules]),
    )


def golden_molecules() -> list[Molecule]:
    sizes = GOLDEN["atoms"].tolist()
    atoms = zip(GOLDEN["numbers"].split(sizes), GOLDEN["positions"].split(sizes), strict=True)
    state = zip(GOLDEN["charge"].tolist(), GOLDEN["unpaired"].tolist(), strict=True)
    return [Molecule(*one, *other) for one, other in zip(atoms, state, strict=True)]


MOLECULES = golden_molecules()
ETHANOL = MOLECULES[0]
ELEMENTS = tuple(sorted(set(GOLDEN["numbers"].tolist())))


@pytest.fixture(scope="module")
def network() -> spookynet.Network:
    """Random weights also where training starts with zeros, so that every part contributes."""
    network = force_fields.build("spookynet", spookynet.Config(layers=2, width=12), ELEMENTS, seed=3).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.startswith("repulsion"):
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        network.scale.fill_(1.3)
    assert isinstance(network, spookynet.Network)
    return network


def close(value: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def test_the_reference_implementation_gives_the_same() -> None:
    network = spookynet.Network(spookynet.Config(layers=2, width=8), ELEMENTS).double()
    weights = {name.removeprefix("weights."): value for name, value in GOLDEN.items() if name.startswith("weights.")}
    network.load_state_dict(weights)
    energy_S, forces_A3 = energy_and_forces(network, graph_of(*MOLECULES), differentiable=False)
    close(energy_S, GOLDEN["energy"])
    close(forces_A3, GOLDEN["forces"])
    close(network.partial_charges(graph_of(*MOLECULES)), GOLDEN["charges"])


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "with reflection"])
def test_rotation_and_translation(network: spookynet.Network, sign: int) -> None:
    generator = torch.Generator().manual_seed(1)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    rotation *= sign * torch.linalg.det(rotation).sign()
    shift = torch.tensor([3.0, -20.0, 7.0])
    turned = [molecule._replace(positions=molecule.positions @ rotation.T + shift) for molecule in MOLECULES]
    energy_S, forces_A3 = energy_and_forces(network, graph_of(*MOLECULES), differentiable=False)
    turned_energy_S, turned_forces_A3 = energy_and_forces(network, graph_of(*turned), differentiable=False)
    close(turned_energy_S, energy_S)
    close(turned_forces_A3, forces_A3 @ rotation.T)


def test_permutation(network: spookynet.Network) -> None:
    order = torch.randperm(len(ETHANOL.numbers), generator=torch.Generator().manual_seed(2))
    shuffled = ETHANOL._replace(numbers=ETHANOL.numbers[order], positions=ETHANOL.positions[order])
    energy_S, forces_A3 = energy_and_forces(network, graph_of(ETHANOL), differentiable=False)
    shuffled_energy_S, shuffled_forces_A3 = energy_and_forces(network, graph_of(shuffled), differentiable=False)
    close(shuffled_energy_S, energy_S)
    close(shuffled_forces_A3, forces_A3[order])


def test_a_batch_of_different_sizes_gives_what_each_molecule_gives_alone(network: spookynet.Network) -> None:
    batch = energy_and_forces(network, graph_of(*MOLECULES), differentiable=False)
    alone = [energy_and_forces(network, graph_of(molecule), differentiable=False) for molecule in MOLECULES]
    close(batch[0], torch.cat([energy_S for energy_S, _ in alone]))
    close(batch[1], torch.cat([forces_A3 for _, forces_A3 in alone]))


def test_forces_are_the_negative_gradient(network: spookynet.Network) -> None:
    forces_A3 = energy_and_forces(network, graph_of(ETHANOL), differentiable=False)[1]
    step = 1e-4
    shifts = step * torch.eye(27, dtype=torch.float64).view(27, 9, 3)
    energies = [
        network(graph_of(*(ETHANOL._replace(positions=ETHANOL.positions + sign * shift) for shift in shifts))).detach()
        for sign in (1, -1)
    ]
    numeric = -(energies[0] - energies[1]).view(9, 3) / (2 * step)
    torch.testing.assert_close(forces_A3, numeric, rtol=1e-6, atol=1e-6 * float(numeric.abs().max()))


def test_the_gradient_of_a_force_loss_is_exact(network: spookynet.Network) -> None:
    """It needs the second derivatives that are written by hand."""
    graph = graph_of(*MOLECULES[:3])

    def loss() -> Tensor:
        energy_S, forces_A3 = energy_and_forces(network, graph, differentiable=True)
        return energy_S.square().sum() + forces_A3.square().sum()

    parameters = dict(network.named_parameters())
    names = ("layers.0.branches.beta", "layers.1.local.weight", "layers.1.radial", "raw_decay", "electronic.key")
    gradients = torch.autograd.grad(loss(), [parameters[name] for name in names])
    generator = torch.Generator().manual_seed(4)
    for name, gradient in zip(names, gradients, strict=True):
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameters[name] += step * direction
            values.append(loss().detach())
            with torch.no_grad():
                parameters[name] -= step * direction
        slope = (gradient * direction).sum()
        torch.testing.assert_close((values[0] - values[1]) / 2e-5, slope, rtol=1e-6, atol=1e-6)


def test_silu_has_the_derivatives_of_torch() -> None:
    u = torch.linspace(-30, 30, 41, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(silu, u)
    torch.testing.assert_close(silu(u), torch.nn.functional.silu(u))


def test_an_atom_that_crosses_the_cutoff_meets_no_step(network: spookynet.Network) -> None:
    numbers, spacing = torch.tensor([8, 6, 1]), 1e-3
    distances = torch.arange(-500, 501, dtype=torch.float64) * spacing + network.cutoff
    frames = torch.zeros(len(distances), 3, 3, dtype=torch.float64)
    frames[:, 1, 1] = 1.2
    frames[:, 2, 0] = distances  # the hydrogen leaves the oxygen; from the carbon it is a little farther
    energy_S, forces_A3 = energy_and_forces(
        network, graph_of(*(Molecule(numbers, positions) for positions in frames)), differentiable=False
    )
    force = forces_A3.view(-1, 3, 3)[:, 2, 0]
    work = -(spacing / 3) * (force[:-2:2] + 4 * force[1:-1:2] + force[2::2])  # Simpson's rule
    torch.testing.assert_close(energy_S[2::2] - energy_S[:-2:2], work, rtol=0, atol=1e-10)
    steps = force.diff().abs()
    assert steps[400:].max() < steps[:400].max(), "the force changes most slowly where the interaction fades"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_infinite_for_atoms_at_one_place_or_alone(network: spookynet.Network, dtype: torch.dtype) -> None:
    network = force_fields.build("spookynet", spookynet.Config(layers=2, width=8), ELEMENTS, seed=0).to(dtype)
    at_the_cutoff = torch.tensor([[0.0, 0, 0], [network.cutoff, 0, 0], [0, network.cutoff - 1e-6, 0], [40.0, 0, 0]])
    graph = graph_of(
        Molecule(torch.tensor([6, 8, 1]), torch.zeros(3, 3, dtype=dtype)),
        Molecule(torch.tensor([6, 8, 1, 1]), at_the_cutoff.to(dtype)),
        Molecule(torch.tensor([8]), torch.zeros(1, 3, dtype=dtype), charge=-1, unpaired=1),
    )
    energy_S, forces_A3 = energy_and_forces(network, graph, differentiable=True)
    loss = energy_S.clamp(-10, 10).sum() + forces_A3.square().sum()
    gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    for value in (energy_S, forces_A3, *(gradient for gradient in gradients if gradient is not None)):
        assert value.isfinite().all()
    assert forces_A3[-1].abs().max() == 0


def test_partial_charges_add_up(network: spookynet.Network) -> None:
    graph = graph_of(*MOLECULES)
    charges_A = network.partial_charges(graph)
    torch.testing.assert_close(graph.per_structure(charges_A), graph.charge_S.double(), rtol=0, atol=1e-9)
    assert charges_A.std() > 0.1


def test_charge_and_spin_change_the_energy_and_interact_at_any_distance(network: spookynet.Network) -> None:
    states = [ETHANOL._replace(charge=charge, unpaired=spin) for charge, spin in [(0, 0), (1, 0), (-1, 0), (0, 2)]]
    assert len(set(network(graph_of(*states)).detach().round(decimals=6).tolist())) == 4
    far = torch.tensor([0.0, 0.0, 200.0], dtype=torch.float64)
    pair = Molecule(ETHANOL.numbers.repeat(2), torch.cat([ETHANOL.positions, ETHANOL.positions + far]), charge=2)
    forces_A3 = energy_and_forces(network, graph_of(pair), differentiable=False)[1]
    repulsion = 14.399645 / 200**2  # of two unit charges in eV / Angstrom
    assert forces_A3[9:, 2].sum().item() == pytest.approx(repulsion, rel=1e-2)


def test_single_precision_is_close() -> None:
    single, double = (force_fields.build("spookynet", spookynet.Config(), ELEMENTS, seed=1) for _ in range(2))
    double.double()
    exact_A3 = energy_and_forces(double, graph_of(ETHANOL), differentiable=False)[1]
    lower = ETHANOL._replace(positions=ETHANOL.positions.float())
    forces_A3 = energy_and_forces(single, graph_of(lower), differentiable=False)[1]
    torch.testing.assert_close(forces_A3.double(), exact_A3, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("params", [10_000, 30_000, 100_000, 300_000, 1_000_000, 4_300_000, 20_000_000])
def test_ladder(params: int) -> None:
    config = force_fields.config_for("spookynet", params, (1, 6, 8))
    polynomial = force_fields.size_polynomial("spookynet", (1, 6, 8), layers=config.layers)
    assert polynomial(config.width) == pytest.approx(params, rel=0.05)
    if params <= 1_000_000:
        network = spookynet.Network(config, (1, 6, 8))
        assert network.non_embedding_params == polynomial(config.width)


def test_the_ladder_deepens_with_size() -> None:
    depths = [spookynet.layers_for(params) for params in (10**4, 10**5, 10**6, 10**7)]
    assert all(shallow < deep for shallow, deep in pairwise(depths))


@pytest.mark.parametrize(
    ("number", "shells", "valence"),
    [
        (1, "1s1", (1, 0, 0, 0)),
        (8, "1s2 2s2 2p4", (2, 4, 0, 0)),
        (11, "1s2 2s2 2p6 3s1", (1, 0, 0, 0)),
        (24, "1s2 2s2 2p6 3s2 3p6 4s1 3d5", (1, 0, 5, 0)),
        (35, "1s2 2s2 2p6 3s2 3p6 4s2 3d10 4p5", (2, 5, 10, 0)),
        (46, "1s2 2s2 2p6 3s2 3p6 4s2 3d10 4p6 4d10", (0, 0, 10, 0)),
        (64, "1s2 2s2 2p6 3s2 3p6 4s2 3d10 4p6 5s2 4d10 5p6 6s2 4f7 5d1", (2, 0, 1, 7)),
        (79, "1s2 2s2 2p6 3s2 3p6 4s2 3d10 4p6 5s2 4d10 5p6 6s1 4f14 5d10", (1, 0, 10, 14)),
    ],
)
def test_electron_configuration(number: int, shells: str, valence: tuple[int, ...]) -> None:
    expected = {part[:2]: int(part[2:]) for part in shells.split()}
    numbers = electron_configuration(number)
    assert numbers == [number, *(expected.get(subshell, 0) for subshell in SUBSHELLS), *valence]


def test_every_atom_has_all_its_electrons() -> None:
    for number in range(1, 87):
        assert sum(electron_configuration(number)[1 : 1 + len(SUBSHELLS)]) == number


def test_elements_that_it_does_not_know() -> None:
    with pytest.raises(UserError, match=r"from 1 .* to 86 .* got 92"):
        spookynet.Network(spookynet.Config(layers=1, width=8), (1, 92))
    hydrocarbons = spookynet.Network(spookynet.Config(layers=1, width=8), (1, 6)).double()
    with pytest.raises(IndexError):
        hydrocarbons(graph_of(ETHANOL))


def test_a_checkpoint_gives_the_same_network(network: spookynet.Network, tmp_path: Path) -> None:
    force_fields.save(tmp_path, "spookynet", network, spookynet.Config(layers=2, width=12), ELEMENTS, {})
    loaded, _ = force_fields.load(tmp_path)
    assert torch.equal(loaded(graph_of(ETHANOL)), network(graph_of(ETHANOL)))
