"""The force objective: frames in their training order, batches that stay on the device, energy and force errors.

Legend: F frames of the data set, A atoms of the molecule, B frames of a batch, P = A (A - 1) ordered pairs, K members
of a stack. mixed_frames.py has frames of several molecules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from chemscale_bench.data.structures import Frames
from chemscale_bench.models.potential import Graph, Potential, energy_and_forces, frames_graph

EVALUATION_ATOMS = 1024  # of one forward pass while the error is measured
LITTLE_LEARNED = 0.95  # of the error of zero forces


class ForceBatch(NamedTuple):
    """Frames to learn from or to measure on."""

    graph: Graph
    energy_B: Tensor  # eV, relative to the reference
    forces_A3: Tensor  # eV/Angstrom; here A counts the atoms of all frames of the batch
    frames: float  # for how many of average size its atoms count


class OnDevice(Protocol):
    """Frames on a device, of one molecule or of several (mixed_frames.py)."""

    digest: str
    uniform: bool
    """Whether all frames have the same atoms: such batches have equal shapes, and can be stacked."""

    @property
    def atoms(self) -> float:
        """Of a frame, in the mean."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray, neighbours_only: bool = False) -> ForceBatch:
        """The frames at `indices` (B,) as one graph."""

    def cut(self, indices: np.ndarray, limit: int) -> Iterator[np.ndarray]:
        """The indices in parts of at most `limit` atoms, or of one frame."""

    def summary(self, differences: Iterator[tuple[Tensor, Tensor]]) -> ForceErrors:
        """Of absolute errors of energies (B,) and forces (A, 3), batch after batch over all frames in order."""


class FramesOnDevice:
    """Frames as tensors on a device, with the pairs of atoms nearer than the cutoff found once.

    On a GPU every pair of atoms is an edge: those beyond the cutoff add nothing, since every model's envelope is zero
    there, and batches of equal shapes can be replayed as a CUDA graph.

    Args:
        frames: of one molecule.
        cutoff: in Angstrom.
        reference_ev: energy to subtract, in float64: the labels lie near -4,000 eV.
        device: where the batches are wanted.
        dtype: of positions, energies and forces.
    """

    def __init__(
        self, frames: Frames, cutoff: float, reference_ev: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.atoms, self.digest = len(frames.numbers), frames.digest
        centred = frames.positions - frames.positions.mean(1, keepdims=True)  # float32 keeps its digits near the origin
        self.positions_FA3 = torch.as_tensor(centred).to(device, dtype)
        self.forces_FA3 = torch.as_tensor(frames.forces).to(device, dtype)
        self.energy_F = torch.as_tensor(frames.energies - reference_ev).to(device, dtype)
        self.near_FP = torch.as_tensor(frames.within(cutoff)).to(device)
        self.numbers_A = torch.as_tensor(frames.numbers).to(device)
        self.uniform = True
        self.every_pair, self.electrons = device.type == "cuda", (frames.charge, frames.unpaired)

    def __len__(self) -> int:
        return len(self.energy_F)

    def batch(self, indices: np.ndarray, neighbours_only: bool = False) -> ForceBatch:
        """The frames at `indices` (B,) as one graph, all of it made on the device."""
        index_B = torch.as_tensor(indices).to(self.energy_F.device)
        near_BP = None if self.every_pair and not neighbours_only else self.near_FP[index_B]
        graph = frames_graph(self.numbers_A, self.positions_FA3[index_B], near_BP, *self.electrons)
        return ForceBatch(graph, self.energy_F[index_B], self.forces_FA3[index_B].reshape(-1, 3), len(index_B))

    def cut(self, indices: np.ndarray, limit: int) -> Iterator[np.ndarray]:
        """The indices in parts of at most `limit` atoms, or of one frame."""
        size = max(1, limit // self.atoms)
        for start in range(0, len(indices), size):
            yield indices[start : start + size]

    def summary(self, differences: Iterator[tuple[Tensor, Tensor]]) -> ForceErrors:
        """Of absolute errors of energies (B,) and forces (A, 3), batch after batch over all frames in order."""
        force_A, energy = torch.zeros(self.atoms, dtype=torch.float64), 0.0
        for energy_B, force_A3 in differences:
            energy += float(energy_B.double().sum())
            force_A += force_A3.double().cpu().reshape(-1, self.atoms, 3).mean(2).sum(0)
        force_A *= 1000 / len(self)
        numbers = self.numbers_A.cpu().numpy()
        by_element = {int(number): float(force_A[numbers == number].mean()) for number in np.unique(numbers)}
        return ForceErrors(float(force_A.mean()), 1000 * energy / len(self), by_element, {})


class ForceLoss(nn.Module):
    """The summed loss of a batch: squared errors of forces and energy in units of the training forces' mean square.

    With zero forces it is about `force_weight` per frame. Every component of force has the same weight, and every
    frame's energy, however large its molecule. A stacked one gives each member's loss (K,).
    """

    def __init__(self, potential: Potential, force_weight: float, energy_weight: float) -> None:
        super().__init__()
        self.potential, self.force_weight, self.energy_weight = potential, force_weight, energy_weight

    def forward(self, batch: ForceBatch) -> Tensor:
        """Summed over the frames of the batch."""
        energy_B, forces_A3 = energy_and_forces(self.potential, batch.graph, differentiable=True)
        force = (forces_A3 - batch.forces_A3).square().mean((-2, -1)) * batch.frames
        energy = (energy_B - batch.energy_B).square().sum(-1)
        return (self.force_weight * force + self.energy_weight * energy) / self.potential.scale.square()


class ForceObjective:
    """Frames in a random order that depends on the seed and the epoch only; the unit is a frame.

    Args:
        frames: the training split on its device.
        seed: of the order.
        batch_frames: frames of an optimizer step.
        diverged_loss: where training has diverged; far above the losses of no force and of random weights.
    """

    def __init__(self, frames: OnDevice, seed: int, batch_frames: int, diverged_loss: float) -> None:
        self.frames, self.seed, self.batch_frames, self.diverged_loss = frames, seed, batch_frames, diverged_loss
        self.order = lru_cache(maxsize=1)(self.order_of)

    def order_of(self, epoch: int) -> np.ndarray:
        """Order (F,) of the frames in one epoch."""
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.frames))

    def take(self, cursor: tuple[int, int] | None, amount: int) -> tuple[list[int], tuple[int, int]]:
        """Indices of the next `amount` frames, and the (epoch, index) behind them."""
        epoch, index = cursor or (0, 0)
        taken: list[int] = []
        while len(taken) < amount:
            if index == len(self.frames):
                epoch, index = epoch + 1, 0
            ahead = self.order(epoch)[index : index + amount - len(taken)]
            taken += ahead.tolist()
            index += len(ahead)
        return taken, (epoch, index)

    def passes(self, items: list[int], limit: int) -> Iterator[ForceBatch]:
        """The frames as forward passes of at most `limit` atoms."""
        for part in self.frames.cut(np.array(items), limit):
            yield self.frames.batch(part)

    def batch_amount(self, position: int) -> int:
        """Frames of every optimizer step."""
        return self.batch_frames

    @property
    def unit_size(self) -> int:
        """Atoms of a frame."""
        return math.ceil(self.frames.atoms)

    @property
    def stacks(self) -> bool:
        """Whether `stacked` can be: frames of one molecule."""
        return self.frames.uniform

    def stacked(self, others: list[Self], items: list[list[int]]) -> ForceBatch:
        """Equally many frames of each member's own, with (K, A, 3) positions; every pair is an edge."""
        own = [each.frames for each in others if isinstance(each.frames, FramesOnDevice)]
        first, one_set = own[0], all(frames.digest == own[0].digest for frames in own)
        assert len(own) == len(others)
        assert all((frames.atoms, frames.electrons) == (first.atoms, first.electrons) for frames in own)
        index_KB = torch.tensor(items).to(first.energy_F.device, non_blocking=True)

        def of_all(name: str) -> Tensor:
            if one_set:
                taken: Tensor = getattr(first, name)[index_KB]
                return taken
            return torch.stack([getattr(frames, name)[index_B] for frames, index_B in zip(own, index_KB, strict=True)])

        positions_KBA3 = of_all("positions_FA3")
        graph = frames_graph(first.numbers_A, positions_KBA3[0], None, *first.electrons)
        return ForceBatch(
            graph._replace(positions_A3=positions_KBA3.flatten(1, 2)), of_all("energy_F"),
            of_all("forces_FA3").flatten(1, 2), index_KB.shape[1],
        )  # fmt: skip


class ForceErrors(NamedTuple):
    """Mean absolute errors over a split; those of the forces are NaN where it has energies only."""

    force_mae: float  # meV/Angstrom, over all components
    energy_mae: float  # meV per molecule
    force_mae_of: dict[int, float]  # by atomic number
    force_mae_in: dict[str, float]  # by molecule, where there are several

    def metrics(self, split: str) -> dict[str, float]:
        """Named and with units."""
        from ase.data import chemical_symbols

        by_element = {
            f"{split}/force_mae_mev_per_angstrom_{chemical_symbols[number]}": error
            for number, error in self.force_mae_of.items()
        }
        by_molecule = {f"{split}/force_mae_mev_per_angstrom/{name}": error for name, error in self.force_mae_in.items()}
        own = {f"{split}/force_mae_mev_per_angstrom": self.force_mae, f"{split}/energy_mae_mev": self.energy_mae}
        return {name: error for name, error in (own | by_element | by_molecule).items() if not math.isnan(error)}

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """Of the baseline's errors, named after what it takes."""
        return {
            name.replace("force_mae", "zero_force_mae").replace("energy_mae", "mean_energy_mae"): error
            for name, error in self.metrics("baseline").items()
        }

    def doubts(self, nothing: ForceErrors) -> list[str]:
        """What to say of forces that are hardly better than none, whose errors are given."""
        if not self.force_mae > LITTLE_LEARNED * nothing.force_mae:
            return []
        return [
            f"forces are off by {self.force_mae:.0f} meV/Angstrom, zeros by {nothing.force_mae:.0f}: next to nothing "
            "was learned; take more steps, or a lower learning_rate"
        ]


def measure(potential: nn.Module, frames: OnDevice) -> ForceErrors:
    """Errors of a potential on a split."""

    def differences() -> Iterator[tuple[Tensor, Tensor]]:
        for part in frames.cut(np.arange(len(frames)), EVALUATION_ATOMS):
            batch = frames.batch(part)
            energy_B, forces_A3 = energy_and_forces(potential, batch.graph, differentiable=False)
            yield (energy_B - batch.energy_B).abs(), (forces_A3 - batch.forces_A3).abs()

    return frames.summary(differences())


def energies_of(potential: Potential, frames: OnDevice) -> np.ndarray:
    """What a potential gives for each frame (F,), in eV."""
    energy_F = np.zeros(len(frames))
    for part in frames.cut(np.arange(len(frames)), EVALUATION_ATOMS):
        with torch.no_grad():
            found = potential(frames.batch(part).graph)
        energy_F[part] = (found[0] if potential.DIRECT else found).cpu().numpy()
    return energy_F


def baseline(train: Frames, test: Frames) -> ForceErrors:
    """Errors of the baseline: zero forces, and the mean energy of the training frames."""
    force_A = 1000 * np.abs(test.forces).mean((0, 2))
    energy = 1000 * float(np.abs(test.energies - train.energies.mean()).mean())
    by_element = {int(number): float(force_A[test.numbers == number].mean()) for number in np.unique(test.numbers)}
    return ForceErrors(float(force_A.mean()), energy, by_element, {})
