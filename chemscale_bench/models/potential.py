"""The one interface of all force fields: atoms in, an energy per molecule out, forces by autograd or beside it.

Shapes: A atoms, S structures, E directed edges; F frames of a molecule, P = A (A - 1) ordered pairs of its atoms.
Units: Angstrom, eV, e.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from chemscale_bench.data.structures import all_pairs, pair_distances
from chemscale_bench.errors import UserError


class Graph(NamedTuple):
    """Molecules as one graph; atoms of a molecule nearer than the cutoff share an edge in each direction."""

    numbers_A: Tensor  # atomic numbers, int64
    positions_A3: Tensor  # Angstrom
    structure_A: Tensor  # the structure of each atom, ascending, int64
    receivers_E: Tensor  # atom that gets the message (i), ascending, int64
    senders_E: Tensor  # atom that it comes from (j), int64
    charge_S: Tensor  # total charge in e, int64
    unpaired_S: Tensor  # unpaired electrons, int64

    @property
    def structures(self) -> int:
        """S."""
        return len(self.charge_S)

    def displacements(self) -> Tensor:
        """From receiver to sender, r_j - r_i (E, 3) in Angstrom."""
        return self.positions_A3[self.senders_E] - self.positions_A3[self.receivers_E]

    def pairs(self) -> tuple[Tensor, Tensor]:
        """The two atoms of each pair of neighbours (P,), P = E / 2, for what does not depend on the direction."""
        forward_P = (self.receivers_E > self.senders_E).argsort(stable=True)[: len(self.receivers_E) // 2]
        return self.receivers_E[forward_P], self.senders_E[forward_P]

    def per_structure(self, values_A: Tensor) -> Tensor:
        """Sum atoms' values (A, ...) over each structure (S, ...)."""
        total = values_A.new_zeros(self.structures, *values_A.shape[1:])
        return total.index_add(0, self.structure_A, values_A)


@lru_cache(maxsize=8)
def layout(frames: int, atoms: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The structure of each atom (F A,), receivers and senders of all pairs (F P,)."""
    receivers_P, senders_P = (torch.as_tensor(index, device=device) for index in all_pairs(atoms))
    structure_F = torch.arange(frames, device=device)
    first_F1 = atoms * structure_F[:, None]
    return (
        structure_F.repeat_interleave(atoms), (first_F1 + receivers_P).flatten(), (first_F1 + senders_P).flatten(),
    )  # fmt: skip


@lru_cache(maxsize=8)
def same_for_all(value: int, frames: int, device: torch.device) -> Tensor:
    """A whole number for each frame (F,), made once."""
    return torch.full((frames,), value, device=device)


def frames_graph(
    numbers_A: Tensor, positions_FA3: Tensor, near_FP: Tensor | None, charge: int = 0, unpaired: int = 0
) -> Graph:
    """Frames of one molecule as a graph; every pair is an edge unless `near_FP` says which are."""
    frames, atoms, _ = positions_FA3.shape
    device = positions_FA3.device
    structure_A, receivers_E, senders_E = layout(frames, atoms, device)
    if near_FP is not None:
        near_E = near_FP.flatten()
        receivers_E, senders_E = receivers_E[near_E], senders_E[near_E]
    numbers, positions = numbers_A.repeat(frames), positions_FA3.reshape(-1, 3)
    electrons = same_for_all(charge, frames, device), same_for_all(unpaired, frames, device)
    return Graph(numbers, positions, structure_A, receivers_E, senders_E, *electrons)


def molecule_graph(
    numbers: np.ndarray, positions: np.ndarray, cutoff: float, like: Tensor, charge: int = 0, unpaired: int = 0
) -> Graph:
    """One molecule as a graph.

    Args:
        numbers: atomic numbers (A,).
        positions: in Angstrom (A, 3).
        cutoff: in Angstrom.
        like: gives dtype and device.
        charge: of the molecule in e.
        unpaired: electrons without a partner.
    """
    near_1P = torch.as_tensor(pair_distances(positions[None]) < cutoff, device=like.device)
    numbers_A = torch.as_tensor(numbers, dtype=torch.int64, device=like.device)
    return frames_graph(numbers_A, torch.as_tensor(positions[None]).to(like), near_1P, charge, unpaired)


class Potential(nn.Module):
    """A force field's network. A model defines `atomic_energies`, or overrides `forward` if energy is not per atom.

    If forces are outputs as well, its class has `DIRECT = True` and its `forward` gives energies (S,) in eV and forces
    (A, 3) in eV/Angstrom.

    Attributes:
        cutoff: distance in Angstrom beyond which atoms share no edge.
        scale: eV per unit of the network's output, from the forces of the training set.
    """

    scale: Tensor
    ELEMENT_TABLES: tuple[str, ...] = ()
    """Parts of the names of parameters that belong to single elements: left out of the size, as embeddings are."""
    WAITS = False
    """Whether a forward pass reads numbers back from the device, so that it can't be part of a CUDA graph."""

    DIRECT = False
    """Whether forces are predicted beside the energy and not its gradient: a simulation does not conserve it."""

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("scale", torch.ones(()))

    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energy of each atom (A,) in units of `scale`."""
        raise NotImplementedError

    def forward(self, graph: Graph) -> Any:
        """Energy (S,) in eV, relative to the reference of the training set."""
        return graph.per_structure(self.scale * self.atomic_energies(graph))

    @property
    def non_embedding_params(self) -> int:
        """Trainable parameters outside the tables of elements."""
        return sum(
            parameter.numel()
            for name, parameter in self.named_parameters()
            if parameter.requires_grad and not set(self.ELEMENT_TABLES) & set(name.split("."))
        )


def check_outputs(potential: Potential, graph: Graph) -> None:
    """Refuse a network that gives something else than it has to: an error inside the training would not say so.

    Raises:
        UserError: naming the method, what it has to give, and what it gives.
    """
    atomwise = type(potential).forward is Potential.forward
    method, energies = ("atomic_energies", len(graph.numbers_A)) if atomwise else ("forward", graph.structures)
    given = getattr(potential, method)(graph)
    found = given if isinstance(given, tuple) else (given,)
    wanted = [(energies,), (len(graph.numbers_A), 3)] if potential.DIRECT else [(energies,)]
    where = f"{method} of {type(potential).__module__}.{type(potential).__name__}"
    if (shapes := [tuple(getattr(each, "shape", ())) for each in found]) != wanted:
        outputs = " and ".join(f"{what} {shape}" for what, shape in zip(("energies", "forces"), wanted, strict=False))
        hint = ", or declare DIRECT = True" if len(found) == 2 and not potential.DIRECT else ""
        raise UserError(f"{where} must give {outputs}, got {' and '.join(map(str, shapes))}; change it there{hint}")
    if not all(bool(each.isfinite().all()) for each in found):
        raise UserError(f"{where} must give finite numbers before any training, got others; change it there")


def energy_of(potential: Potential, graph: Graph) -> Tensor:
    """Energy (S,) in eV alone."""
    found = potential(graph)
    energy_S: Tensor = found[0] if potential.DIRECT else found
    return energy_S


def energy_and_forces(potential: nn.Module, graph: Graph, differentiable: bool) -> tuple[Tensor, Tensor]:
    """Energy (S,) in eV and forces (A, 3) in eV/Angstrom, F = -dE/dx unless the potential is `DIRECT`.

    Args:
        potential: a `Potential`, or one stacked.
        graph: the molecules.
        differentiable: keep the graph of the forces, for a loss that holds them.
    """
    if getattr(potential, "DIRECT", False):
        with torch.set_grad_enabled(differentiable):
            energy_S, forces_A3 = potential(graph)
        return energy_S, forces_A3
    positions_A3 = graph.positions_A3.detach().requires_grad_()
    with torch.enable_grad():
        # A view, because torch's counter of FLOPs can't follow a gradient that is asked for at a leaf.
        energy_S = potential(graph._replace(positions_A3=positions_A3.view_as(positions_A3)))
        (gradient_A3,) = torch.autograd.grad(energy_S.sum(), positions_A3, create_graph=differentiable)
    return (energy_S if differentiable else energy_S.detach()), -gradient_A3
