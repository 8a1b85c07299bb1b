"""Frames of several molecules on a device: batches of structures whose numbers of atoms differ.

Legend: F frames, N atoms of all of them, B frames of a batch, A its atoms, E directed edges.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from chemscale_bench.data.mixtures import FrameSet, Mixture, spans
from chemscale_bench.data.references import ReferenceEnergies
from chemscale_bench.models.potential import Graph
from chemscale_bench.training.forces import ForceBatch, ForceErrors, FramesOnDevice, OnDevice, baseline

MOST_MOLECULES = 30  # whose errors are told one by one, the most frequent ones


class MixtureOnDevice:
    """A mixture as tensors on a device, with the pairs of atoms nearer than the cutoff found once.

    Args:
        mixture: the frames.
        cutoff: in Angstrom.
        reference: to subtract, in float64.
        device: where the batches are wanted.
        dtype: of positions, energies and forces.
    """

    def __init__(
        self, mixture: Mixture, cutoff: float, reference: ReferenceEnergies, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.mixture, self.device, self.uniform = mixture, device, False
        self.digest, self.atoms = mixture.digest, float(mixture.sizes.mean())
        mean_F3 = np.add.reduceat(mixture.positions, mixture.starts) / mixture.sizes[:, None]
        centred = mixture.positions - np.repeat(mean_F3, mixture.sizes, axis=0)  # float32 keeps its digits
        self.positions_N3 = torch.as_tensor(centred).to(device, dtype)
        self.forces_N3 = torch.as_tensor(mixture.forces).to(device, dtype)
        self.energy_F = torch.as_tensor(mixture.energies - reference.energies(mixture)).to(device, dtype)
        self.numbers_N = torch.as_tensor(mixture.numbers).to(device)
        self.unpaired_F = torch.as_tensor(np.add.reduceat(mixture.numbers, mixture.starts) % 2).to(device)
        self.edges_F, self.receivers, self.senders = mixture.within(cutoff)
        self.first_edge_F = np.cumsum(self.edges_F) - self.edges_F

    def __len__(self) -> int:
        return len(self.mixture)

    def batch(self, indices: np.ndarray, neighbours_only: bool = False) -> ForceBatch:
        """The frames at `indices` (B,) as one graph, whose edges are always the neighbours."""
        size_B, edges_B = self.mixture.sizes[indices], self.edges_F[indices]
        atom_A = self.place(spans(self.mixture.starts[indices], size_B))
        edge_E = spans(self.first_edge_F[indices], edges_B)
        first_E = np.repeat(np.cumsum(size_B) - size_B, edges_B)
        index_B = self.place(indices)
        unpaired_B = self.unpaired_F[index_B]
        graph = Graph(
            self.numbers_N[atom_A], self.positions_N3[atom_A], self.place(np.repeat(np.arange(len(indices)), size_B)),
            self.place(first_E + self.receivers[edge_E]), self.place(first_E + self.senders[edge_E]),
            torch.zeros_like(unpaired_B), unpaired_B,
        )  # fmt: skip
        return ForceBatch(graph, self.energy_F[index_B], self.forces_N3[atom_A], len(atom_A) / self.atoms)

    def place(self, values: np.ndarray) -> Tensor:
        """Whole numbers on the device."""
        return torch.as_tensor(values).to(self.device)

    def cut(self, indices: np.ndarray, limit: int) -> Iterator[np.ndarray]:
        """The indices in parts of at most `limit` atoms, or of one frame; all count as the largest: SpookyNet pads."""
        start, largest = 0, 0
        for end, size in enumerate(self.mixture.sizes[indices].tolist()):
            if end > start and (end + 1 - start) * max(largest, size) > limit:
                yield indices[start:end]
                start, largest = end, 0
            largest = max(largest, size)
        yield indices[start:]

    def summary(self, differences: Iterator[tuple[Tensor, Tensor]]) -> ForceErrors:
        """Of absolute errors of energies (B,) and forces (A, 3), batch after batch over all frames in order."""
        energy, parts = 0.0, []
        for energy_B, force_A3 in differences:
            energy += float(energy_B.double().sum())
            parts.append(force_A3.double().cpu().mean(1))
        force_N, mixture = 1000 * torch.cat(parts).numpy(), self.mixture
        by_element = {int(number): float(force_N[mixture.numbers == number].mean())
                      for number in np.unique(mixture.numbers)}  # fmt: skip
        names, which_F, counts = np.unique(mixture.names, return_inverse=True, return_counts=True)
        which_N = np.repeat(which_F, mixture.sizes)
        means = np.bincount(which_N, force_N) / np.bincount(which_N)
        told = np.argsort(-counts, kind="stable")[:MOST_MOLECULES]
        by_molecule = {str(names[name]): float(means[name]) for name in told}
        return ForceErrors(float(force_N.mean()), 1000 * energy / len(self), by_element, by_molecule)


def on_device(
    frames: FrameSet, cutoff: float, reference: ReferenceEnergies, device: torch.device, dtype: torch.dtype
) -> OnDevice:
    """Frames of one molecule or of several, ready for batches; see `MixtureOnDevice`."""
    if isinstance(frames, Mixture):
        return MixtureOnDevice(frames, cutoff, reference, device, dtype)
    return FramesOnDevice(frames, cutoff, reference.of(frames.numbers), device, dtype)


def baseline_of(train: FrameSet, test: FrameSet, reference: ReferenceEnergies) -> ForceErrors:
    """Errors of the baseline: zero forces, and the mean energy, or of several molecules the reference energies."""
    if isinstance(train, Mixture):
        assert isinstance(test, Mixture)
        energy_F = np.abs(test.energies - reference.energies(test))
        nothing = iter([(torch.as_tensor(energy_F), torch.as_tensor(np.abs(test.forces)))])
        return MixtureOnDevice(test, 0.0, reference, torch.device("cpu"), torch.float64).summary(nothing)
    assert not isinstance(test, Mixture)
    return baseline(train, test)
