"""The force objective on a molecule of springs, whose energies and forces are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from chemscale_bench.data.structures import Frames
from chemscale_bench.models import force_fields
from chemscale_bench.models.potential import Graph, Potential, energy_and_forces
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.training.forces import ForceErrors, ForceLoss, ForceObjective, FramesOnDevice, baseline, measure

CPU = torch.device("cpu")


class Springs(Potential):
    """Every pair nearer than the cutoff is a spring of length 1 Angstrom, softened towards the cutoff."""

    def __init__(self, stiffness: float = 1.0) -> None:
        super().__init__(cutoff=3.0)
        self.stiffness = torch.nn.Parameter(torch.tensor(stiffness, dtype=torch.float64))

    def atomic_energies(self, graph: Graph) -> Tensor:
        distance_E = graph.displacements().norm(dim=1)
        energy_E = self.stiffness / 4 * ((distance_E - 1) * (1 - distance_E / self.cutoff) ** 2) ** 2
        return energy_E.new_zeros(len(graph.numbers_A)).index_add(0, graph.receivers_E, energy_E)


def frames(count: int = 12, seed: int = 0) -> Frames:
    """Frames of three atoms with the springs' energies (plus a large offset) and forces."""
    positions = np.random.default_rng(seed).normal(size=(count, 3, 3))
    empty = Frames(np.array([8, 1, 1]), positions, np.zeros(count), np.zeros_like(positions))
    batch = FramesOnDevice(empty, 3.0, 0.0, CPU, torch.float64).batch(np.arange(count))
    energy, forces = energy_and_forces(Springs(), batch.graph, differentiable=False)
    return Frames(empty.numbers, positions, energy.numpy() - 4200, forces.reshape(count, 3, 3).numpy())


def on_device(of: Frames, cutoff: float = 3.0) -> FramesOnDevice:
    return FramesOnDevice(of, cutoff, -4200.0, CPU, torch.float64)


def test_a_batch_holds_each_frame_with_its_own_pairs() -> None:
    springs = frames()
    batch = on_device(springs).batch(np.array([7, 2]))
    graph = batch.graph
    assert graph.structure_A.tolist() == [0, 0, 0, 1, 1, 1]
    assert graph.numbers_A.tolist() == [8, 1, 1] * 2
    assert torch.equal(graph.structure_A[graph.receivers_E], graph.structure_A[graph.senders_E])
    assert (graph.receivers_E.diff() >= 0).all()
    near = springs.within(3.0)[[7, 2]]
    assert len(graph.receivers_E) == near.sum()
    assert (graph.displacements().norm(dim=1) < 3).all()
    assert batch.energy_B.numpy() == pytest.approx(springs.energies[[7, 2]] + 4200)


def test_the_loss_is_zero_for_the_truth_and_the_weight_for_nothing() -> None:
    springs = frames()
    batch = on_device(springs).batch(np.arange(12))
    scale = float(np.sqrt(np.square(springs.forces).mean()))
    for stiffness, expected in ((1.0, 0.0), (0.0, 12 * 0.9 * 1.0)):
        model = Springs(stiffness)
        model.scale = torch.tensor(scale, dtype=torch.float64)
        model.atomic_energies = lambda graph, m=model: Springs.atomic_energies(m, graph) / scale  # type: ignore[method-assign]
        assert float(ForceLoss(model, 0.9, 0.0)(batch)) == pytest.approx(expected, abs=1e-12)
    energy_only = ForceLoss(model, 0.0, 0.5)(batch)
    assert float(energy_only) == pytest.approx(0.5 * float(np.square(springs.energies + 4200).sum()) / scale**2)


def test_measure_counts_every_frame_once_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    springs = frames(11)
    wrong = Springs(0.5)  # half of the energies and forces
    for atoms in (3, 15, 1000):
        monkeypatch.setattr("chemscale_bench.training.forces.EVALUATION_ATOMS", atoms)
        errors = measure(wrong, on_device(springs))
        assert errors.force_mae == pytest.approx(500 * np.abs(springs.forces).mean())
        assert errors.energy_mae == pytest.approx(500 * np.abs(springs.energies + 4200).mean())
        assert errors.force_mae_of[8] == pytest.approx(500 * np.abs(springs.forces[:, 0]).mean())
    metrics = errors.metrics("test")
    assert {"test/force_mae_mev_per_angstrom", "test/energy_mae_mev", "test/force_mae_mev_per_angstrom_O"} < set(
        metrics
    )


def test_errors_of_forces_that_are_not_there_are_not_told() -> None:
    nan = float("nan")
    assert ForceErrors(nan, 2.0, {1: nan}, {"a": nan}).metrics("val") == {"val/energy_mae_mev": 2.0}
    assert ForceErrors(3.0, 2.0, {17: 4.0}, {"a": 5.0}).metrics("test") == {
        "test/force_mae_mev_per_angstrom": 3.0, "test/energy_mae_mev": 2.0, "test/force_mae_mev_per_angstrom_Cl": 4.0,
        "test/force_mae_mev_per_angstrom/a": 5.0,
    }  # fmt: skip


def test_forces_hardly_better_than_none_are_told() -> None:
    nothing, nan = ForceErrors(838.0, 200.0, {}, {}), float("nan")
    assert (
        ForceErrors(837.0, 190.0, {}, {}).doubts(nothing)[0].startswith("forces are off by 837 meV/Angstrom, zeros by")
    )
    assert not ForceErrors(500.0, 190.0, {}, {}).doubts(nothing)
    assert not ForceErrors(nan, 190.0, {}, {}).doubts(nothing)  # a test set of energies only


def test_the_baseline_predicts_no_force_and_the_mean_energy() -> None:
    train, test = frames(8), frames(5, seed=1)
    errors = baseline(train, test)
    assert errors.force_mae == pytest.approx(1000 * np.abs(test.forces).mean())
    assert errors.energy_mae == pytest.approx(1000 * np.abs(test.energies - train.energies.mean()).mean())
    assert set(errors.force_mae_of) == {1, 8}


def test_every_epoch_takes_each_frame_once_in_an_order_of_its_own() -> None:
    objective = ForceObjective(on_device(frames(12)), seed=3, batch_frames=5, diverged_loss=1.0)
    taken, cursor = [], None
    for _ in range(12):
        items, cursor = objective.take(cursor, 5)
        assert len(items) == 5
        taken += items
    epochs = [taken[start : start + 12] for start in range(0, 60, 12)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5
    again, _ = objective.take((1, 0), 12)
    assert again == epochs[1]


def test_passes_split_a_step_without_changing_its_loss() -> None:
    objective = ForceObjective(on_device(frames(12)), seed=0, batch_frames=7, diverged_loss=1.0)
    items, _ = objective.take(None, 7)
    loss = ForceLoss(Springs(0.3), 0.9, 0.1)
    whole = [loss(batch) for batch in objective.passes(items, 1000)]
    parts = [loss(batch) for batch in objective.passes(items, 7)]
    assert (len(whole), len(parts)) == (1, 4)
    assert float(sum(parts)) == pytest.approx(float(whole[0]), rel=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["schnet", "painn", "mace", "allegro"])
def test_pairs_beyond_the_cutoff_add_nothing(model: str) -> None:
    """A GPU gets every pair, so that its batches have one shape."""
    scattered = frames()
    network = force_fields.build(model, FORCE_FIELDS.family(model).Config(cutoff=1.5), (1, 8), seed=0).double()
    near, every = on_device(scattered, 1.5), on_device(scattered, 1.5)
    every.every_pair = True
    few, all_of_them = near.batch(np.arange(12)), every.batch(np.arange(12))
    assert len(few.graph.receivers_E) < 0.8 * len(all_of_them.graph.receivers_E)
    for ours, theirs in zip(
        energy_and_forces(network, few.graph, differentiable=False),
        energy_and_forces(network, all_of_them.graph, differentiable=False), strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
