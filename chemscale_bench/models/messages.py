"""What MACE and NequIP share: neighbours in slots, and the messages that they send, degree by degree.

Radial networks run once per pair of atoms, and messages are summed by batched products instead of being written out for
every edge.

Shapes: A atoms ordered by element, K most neighbours of an atom, P pairs of atoms, R radial functions, U channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from chemscale_bench.models.equivariant import spherical_harmonics
from chemscale_bench.models.mace_couplings import constant
from chemscale_bench.models.potential import Graph

Path = tuple[int, int, int]  # degrees of the sender, of the harmonic, of the message


def paths(sender: int, harmonic: int, message: int) -> list[Path]:
    """Degrees up to these that couple with natural parity, by the message's."""
    return [
        (one, other, both)
        for both in range(message + 1)
        for one in range(sender + 1)
        for other in range(harmonic + 1)
        if abs(one - other) <= both <= one + other and (one + other + both) % 2 == 0
    ]


class Neighbourhoods(NamedTuple):
    """What the layers share; an atom has K slots, and an empty slot couples to nothing."""

    pair_AK: Tensor  # flat
    senders_AK: Tensor  # flat
    radial_PR: Tensor
    couplings: dict[Path, Tensor]  # by path: harmonics times Clebsch-Gordan (A, K * sender, message)


def neighbourhoods(
    graph: Graph, order_A: Tensor, couple: Sequence[Path], radial_functions: Callable[[Tensor], Tensor]
) -> Neighbourhoods:
    """Radial functions per pair, and tables with K slots per atom.

    Args:
        graph: the molecules.
        order_A: the atom of the graph at each place.
        couple: the paths of all layers.
        radial_functions: from distances (P,) in Angstrom to (P, R).
    """
    atoms, edges = len(order_A), len(graph.receivers_E)
    place_A = torch.empty_like(order_A).index_copy(0, order_A, torch.arange(atoms, device=order_A.device))
    degree_A = torch.bincount(graph.receivers_E, minlength=atoms)
    slots = int(degree_A.max()) if edges else 0
    start_A = degree_A.cumsum(0) - degree_A
    rank_E = torch.arange(edges, device=order_A.device) - start_A[graph.receivers_E]
    slot_E = place_A[graph.receivers_E] * slots + rank_E

    lower_E = torch.minimum(graph.receivers_E, graph.senders_E)
    upper_E = torch.maximum(graph.receivers_E, graph.senders_E)
    by_pair_E = (lower_E * atoms + upper_E).argsort(stable=True)  # the two directions of a pair are neighbours
    pair_E = torch.empty_like(by_pair_E).index_copy(
        0, by_pair_E, torch.arange(edges, device=order_A.device).div(2, rounding_mode="floor")
    )

    largest = max(path[1] for path in couple)
    displacement_3E = -graph.displacements().T  # from sender to receiver
    distance_E = displacement_3E.norm(dim=0)
    harmonics_EC = torch.cat(spherical_harmonics(displacement_3E / distance_E, largest)).T
    table = harmonics_EC.new_zeros(atoms * slots, harmonics_EC.shape[1]).index_copy(0, slot_E, harmonics_EC)
    degrees = [2 * degree + 1 for degree in range(largest + 1)]
    harmonics = torch.split(table.view(atoms, slots, sum(degrees)), degrees, dim=2)
    like = (table.dtype, table.device)
    couplings = {
        path: (harmonics[path[1]] @ constant(like, "clebsch_gordan", *path)).view(
            atoms, slots * (2 * path[0] + 1), 2 * path[2] + 1
        )
        for path in couple
    }

    def in_slots(values_E: Tensor) -> Tensor:
        return values_E.new_zeros(atoms * slots).index_copy(0, slot_E, values_E)

    return Neighbourhoods(
        in_slots(pair_E),
        in_slots(place_A[graph.senders_E]),
        radial_functions(distance_E.index_select(0, by_pair_E[::2])),
        couplings,
    )


def radial_network(radial: Tensor, weights: Sequence[Tensor], silu: Callable[[Tensor], Tensor]) -> Tensor:
    """A network without biases, of weights of unit variance."""
    for weight in weights[:-1]:
        radial = silu(radial @ (weight / sqrt(len(weight))))
    return radial @ (weights[-1] / sqrt(len(weights[-1])))


def messages(features_ADU: Tensor, couple: Sequence[Path], radial_PW: Tensor, shared: Neighbourhoods) -> list[Tensor]:
    """Sum over neighbours of radial weight times coupled harmonics and features.

    Args:
        features_ADU: of the senders, degree after degree.
        couple: the paths of the layer.
        radial_PW: radial weights, W = U for each path.
        shared: the neighbours.

    Returns:
        For each degree l of a message (A, 2 l + 1, U for each of its paths).
    """
    atoms, components, width = features_ADU.shape
    slots = len(shared.senders_AK) // atoms
    radial = radial_PW.index_select(0, shared.pair_AK).view(atoms, slots, 1, len(couple) * width)
    sent = features_ADU.index_select(0, shared.senders_AK).view(atoms, slots, components, width)
    sent_by_degree = torch.split(sent, [2 * degree + 1 for degree in range(round(sqrt(components)))], dim=2)
    received: list[list[Tensor]] = [[] for _ in range(couple[-1][2] + 1)]
    for path, weight in zip(couple, torch.split(radial, width, dim=3), strict=True):
        sent_KU = (weight * sent_by_degree[path[0]]).flatten(1, 2)
        received[path[2]].append(shared.couplings[path].transpose(1, 2) @ sent_KU)
    return [torch.cat(parts, dim=2) for parts in received]
