"""Batches of several molecules: each structure counts as alone, whatever else is in the batch and in which order."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache

import numpy as np
import pytest
import torch
from small import Log

from chemscale_bench.data.frames import prepare_frames
from chemscale_bench.data.mixtures import Mixture, as_mixture
from chemscale_bench.data.references import fit_reference
from chemscale_bench.data.structures import Frames
from chemscale_bench.models import force_fields
from chemscale_bench.models.potential import Potential, energy_and_forces
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.forces import ForceLoss, ForceObjective, OnDevice, measure
from chemscale_bench.training.learner import Due
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.mixed_frames import baseline_of, on_device
from chemscale_bench.training.schedules import segments
from chemscale_bench.training.together import train_together

CUTOFF, ELEMENTS = 3.5, (1, 6, 8)  # some pairs of atoms are farther from one another
EVERY_MODEL = pytest.mark.parametrize("model", FORCE_FIELDS.modules)


@cache
def molecule(name: str) -> Frames:
    """Ten frames that the package carries."""
    return prepare_frames(
        "embedded", molecule=name, split=1, train_size=10, validation_frames=5, test_frames=5, cutoff=CUTOFF
    ).train  # type: ignore[return-value]


def mixture() -> Mixture:
    """Ten frames of each molecule, one after another."""
    return Mixture.of([molecule(name) for name in ("ethanol", "malonaldehyde", "toluene")], ["a", "b", "c"])


def split(frames: Frames | Mixture, dtype: torch.dtype = torch.float64) -> OnDevice:
    return on_device(frames, CUTOFF, fit_reference(frames)[0], torch.device("cpu"), dtype)


def network(model: str, dtype: torch.dtype = torch.float64) -> Potential:
    config = FORCE_FIELDS.family(model).Config(width=8, cutoff=CUTOFF)
    made = force_fields.build(model, config, ELEMENTS, seed=0).to(dtype)
    made.scale.fill_(1.3)
    return made


def loss_and_gradient(model: str, of: OnDevice, indices: np.ndarray) -> tuple[float, torch.Tensor]:
    module = ForceLoss(network(model), 0.99, 0.01)
    loss = module(of.batch(indices))
    loss.backward()
    gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
    return float(loss.detach()), torch.cat(gradients)


@EVERY_MODEL
def test_a_mixture_of_one_molecule_is_that_molecule(model: str) -> None:
    ethanol, indices = molecule("ethanol"), np.array([7, 2, 5])
    frames, mixed = split(ethanol), split(as_mixture(ethanol))
    for ours, theirs in zip(mixed.batch(indices).graph, frames.batch(indices).graph, strict=True):
        assert torch.equal(ours, theirs)
    loss, gradient = loss_and_gradient(model, mixed, indices)
    expected, expected_gradient = loss_and_gradient(model, frames, indices)
    assert loss == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-9)


@EVERY_MODEL
def test_the_order_of_structures_does_not_matter_and_none_sees_another(model: str) -> None:
    mixed, indices = split(mixture()), np.array([3, 27, 14, 0, 25])
    loss, gradient = loss_and_gradient(model, mixed, indices)
    shuffled, other = loss_and_gradient(model, mixed, indices[[4, 2, 0, 1, 3]])
    assert shuffled == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(other, gradient, rtol=1e-6, atol=1e-9)
    alone = [loss_and_gradient(model, mixed, indices[[place]]) for place in range(5)]
    assert sum(each for each, _ in alone) == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(torch.stack([g for _, g in alone]).sum(0), gradient, rtol=1e-6, atol=1e-8)


@EVERY_MODEL
def test_forces_of_every_structure_are_the_slope_of_its_energy(model: str) -> None:
    potential, step = network(model), 1e-5
    graph = split(mixture()).batch(np.array([1, 12, 23])).graph
    energy_S, forces_A3 = energy_and_forces(potential, graph, differentiable=False)
    for atom, axis, structure in ((4, 0, 0), (9, 1, 1), (20, 2, 2)):
        assert graph.structure_A[atom] == structure
        energies = []
        for sign in (1, -1):
            moved = graph.positions_A3.clone()
            moved[atom, axis] += sign * step
            energies.append(potential(graph._replace(positions_A3=moved)).detach())
        slope_S = (energies[0] - energies[1]) / (2 * step)
        assert float(-slope_S[structure]) == pytest.approx(float(forces_A3[atom, axis]), rel=1e-4, abs=1e-6)
        assert slope_S.count_nonzero() == 1
    assert len(energy_S) == 3


def test_every_component_of_force_has_the_same_weight() -> None:
    """A network that predicts nothing loses the mean square of all components, as many times as there are frames."""
    frames, potential = mixture(), network("schnet")
    for parameter in potential.parameters():
        torch.nn.init.zeros_(parameter)
    loss = ForceLoss(potential, 0.9, 0.0)(split(frames).batch(np.arange(len(frames))))
    assert float(loss.detach()) == pytest.approx(30 * 0.9 * np.square(frames.forces).mean() / 1.3**2)


def test_passes_split_a_step_without_changing_its_loss() -> None:
    objective = ForceObjective(split(mixture()), seed=0, batch_frames=8, diverged_loss=1.0)
    items, _ = objective.take(None, 8)
    loss = ForceLoss(network("painn"), 0.9, 0.1)
    whole = [loss(batch).item() for batch in objective.passes(items, 1000)]
    for limit, most in ((30, 30), (5, 15)):  # one frame at least, and all count as the largest of a pass
        passes = list(objective.passes(items, limit))
        assert max(len(batch.graph.numbers_A) for batch in passes) <= most
        assert sum(loss(batch).item() for batch in passes) == pytest.approx(whole[0], rel=1e-9)
    assert len(whole) == 1


def test_errors_are_those_of_all_components_and_of_each_molecule(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, potential = mixture().take(np.random.default_rng(0).permutation(30)), network("schnet")
    names = np.repeat(frames.names, frames.sizes)
    parts = [split(frames).batch(np.array([index])) for index in range(30)]
    found = [energy_and_forces(potential, part.graph, differentiable=False) for part in parts]
    force_N = np.concatenate([(f - part.forces_A3).abs().numpy() for (_, f), part in zip(found, parts, strict=True)])
    energy = np.mean([float((e - part.energy_B).abs()) for (e, _), part in zip(found, parts, strict=True)])
    for atoms in (1, 40, 1000):
        monkeypatch.setattr("chemscale_bench.training.forces.EVALUATION_ATOMS", atoms)
        errors = measure(potential, split(frames))
        assert errors.force_mae == pytest.approx(1000 * force_N.mean())
        assert errors.energy_mae == pytest.approx(1000 * energy)
        assert errors.force_mae_in == pytest.approx({name: 1000 * force_N[names == name].mean() for name in "abc"})
        assert errors.force_mae_of[8] == pytest.approx(1000 * force_N[frames.numbers == 8].mean())
    assert "test/force_mae_mev_per_angstrom/a" in errors.metrics("test")
    nothing = baseline_of(frames, frames, fit_reference(frames)[0])
    assert nothing.force_mae == pytest.approx(1000 * np.abs(frames.forces).mean())
    assert nothing.force_mae_in["b"] == pytest.approx(1000 * np.abs(frames.forces[names == "b"]).mean())


def test_errors_of_one_molecule_are_the_same_as_those_of_its_frames() -> None:
    ethanol, potential = molecule("ethanol"), network("painn")
    ours, theirs = measure(potential, split(as_mixture(ethanol))), measure(potential, split(ethanol))
    assert ours[:2] == pytest.approx(theirs[:2])
    assert ours.force_mae_of == pytest.approx(theirs.force_mae_of)
    assert ours.force_mae_in == pytest.approx({"C2H6O": ours.force_mae})


def test_members_of_a_stack_learn_a_mixture_as_if_alone() -> None:
    """Their batches have no common shape, so that each takes its own steps."""

    def trainer(seed: int) -> Trainer:
        torch.manual_seed(seed)
        loss, log = ForceLoss(network("schnet", torch.float32), 0.99, 0.01), Log()
        log.trainer = Trainer(
            Fabric(accelerator="cpu", devices=1), loss, torch.optim.AdamW(loss.parameters(), 1e-3, fused=True),
            ForceObjective(split(mixture(), torch.float32), seed, batch_frames=4, diverged_loss=1e9), log,
            plan=segments([40], 0.5), warmup=10, clip=10.0, report_every=10, save_seconds=1e9, pass_limit=4096,
        )  # fmt: skip
        return log.trainer

    together, alone = [trainer(seed) for seed in range(2)], [trainer(seed) for seed in range(2)]
    waiting = list(together)

    def start() -> Generator[Due, None, None] | None:
        return waiting.pop(0).steps_due() if waiting else None

    train_together(start, 2)
    for one, other in zip(together, alone, strict=True):
        other.run()
        for ours, theirs in zip(one.module.parameters(), other.module.parameters(), strict=True):
            assert torch.equal(ours, theirs)
    assert not torch.equal(*(next(one.module.parameters()) for one in together))


def lone_atoms(numbers: list[int], of_each: np.ndarray) -> Mixture:
    """Frames of one atom, whose molecule n occurs `of_each[n]` times and has forces of n eV/Angstrom."""
    which = np.repeat(np.arange(len(of_each)), of_each)
    count = len(which)
    forces = np.tile(which[:, None].astype(float), 3)
    atoms = np.array([numbers[molecule % len(numbers)] for molecule in which])
    names = tuple(f"m{molecule:02}" for molecule in which)
    return Mixture(np.ones(count, np.int64), atoms, np.zeros((count, 3)), np.zeros(count), forces, names)


def test_of_many_molecules_the_errors_of_the_thirty_most_frequent_are_told() -> None:
    frames = lone_atoms([1, 8], np.arange(1, 36))
    nothing = baseline_of(frames, frames, fit_reference(frames)[0])
    assert nothing.force_mae_in == pytest.approx({f"m{molecule:02}": 1000.0 * molecule for molecule in range(5, 35)})
    assert next(iter(nothing.force_mae_in)) == "m34", "the most frequent first"


def test_an_odd_electron_has_no_partner_and_a_batch_counts_by_its_atoms() -> None:
    frames = mixture().take([0, 1, 2, 29])  # of 9, 9, 9 and 15 atoms
    assert split(frames).batch(np.array([3])).frames == pytest.approx(15 / 10.5)
    objective = ForceObjective(split(frames), seed=0, batch_frames=8, diverged_loss=1.0)
    assert (objective.unit_size, objective.batch_amount(5), objective.stacks) == (11, 8, False)
    graph = split(lone_atoms([1, 8], np.array([1, 2]))).batch(np.array([2, 0, 1])).graph
    assert graph.unpaired_S.tolist() == [0, 1, 0]
    assert graph.charge_S.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        (1, [[4], [0], [1], [3], [2]]),
        (18, [[4, 0], [1], [3], [2]]),
        (27, [[4, 0, 1], [3], [2]]),
        (30, [[4, 0, 1], [3, 2]]),
        (74, [[4, 0, 1, 3], [2]]),
        (75, [[4, 0, 1, 3, 2]]),
    ],
)
def test_all_frames_of_a_pass_count_as_its_largest(limit: int, parts: list[list[int]]) -> None:
    frames = split(mixture().take([0, 1, 2, 29, 3]))  # of 9, 9, 9, 15 and 9 atoms
    assert [part.tolist() for part in frames.cut(np.array([4, 0, 1, 3, 2]), limit)] == parts
