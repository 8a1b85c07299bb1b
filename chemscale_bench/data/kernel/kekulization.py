"""Aromatic bonds to single and double ones, as selfies 2.x chooses them (`selfies.mol_graph`).

Which of the equivalent Kekule structures comes out follows from the order of the heap and of every neighbour list, so
both are kept. Where the greedy matching is not perfect, selfies augments it in the order of a Python set: that is
left to selfies.
"""

from __future__ import annotations

import numpy as np

from chemscale_bench.data.kernel.compiling import compiled
from chemscale_bench.data.kernel.reading import slot_of
from chemscale_bench.data.kernel.tables import MAX_ATOMS, AtomTable, Graph


@compiled
def set_order(graph: Graph, a: int, b: int, order: int) -> None:
    """Give the bond between two atoms a new doubled order."""
    low, high = min(a, b), max(a, b)
    slot = slot_of(graph, low, high)
    change = order - graph.order[low, slot]
    graph.order[low, slot] = order
    if graph.back[low, slot] >= 0:
        graph.order[high, graph.back[low, slot]] = order
    graph.degree[low] += change
    graph.degree[high] += change


@compiled
def needs_no_double_bond(table: AtomTable, graph: Graph, atom: int) -> bool:
    """Whether an aromatic atom takes no part in the matching (selfies: `_prune_from_ds`)."""
    if graph.pi_count[atom] == 0:
        return True
    kind = graph.kind[atom]
    used = (graph.degree[atom] - graph.pi_count[atom]) // 2
    low, high = table.valence[kind, 0], table.valence[kind, 1]
    charge, hydrogens = table.charge[kind], table.hydrogens[kind]
    if hydrogens < 0:
        return bool(used in (low, high))
    used += hydrogens
    bound = max(0, charge) + hydrogens + graph.degree[atom] // 2 + graph.degree[atom] % 2
    radical = max(0, table.electrons[kind] - bound) % 2
    free = high - charge - used - radical
    if used == low - charge or used == high - charge:
        return True
    return not (free >= 0 and free % 2 != 0)


@compiled
def kekulize(table: AtomTable, graph: Graph, atoms: int) -> bool:
    """Replace aromatic bonds by single and double ones; False where the greedy matching is not perfect."""
    mate, free, heap = graph.mate, graph.free, graph.heap
    waiting = 0
    for a in range(atoms):
        aromatic = table.aromatic[graph.kind[a]]
        mate[a] = -1 if aromatic and not needs_no_double_bond(table, graph, a) else -2
    for a in range(atoms):
        if mate[a] == -1:
            free[a] = 0
            for k in range(graph.pi_count[a]):
                free[a] += mate[graph.pi[a, k]] != -2
            heap[waiting] = free[a] * MAX_ATOMS + a
            waiting += 1
    while waiting:
        smallest = 0
        for k in range(1, waiting):
            if heap[k] < heap[smallest]:
                smallest = k
        node = heap[smallest] % MAX_ATOMS
        waiting -= 1
        heap[smallest] = heap[waiting]
        if mate[node] != -1 or free[node] == 0:
            continue
        for k in range(graph.pi_count[node]):
            if mate[graph.pi[node, k]] == -1:
                mate[node] = graph.pi[node, k]
                break
        mate[mate[node]] = node
        for end in (node, np.int64(mate[node])):
            for k in range(graph.pi_count[end]):
                near = graph.pi[end, k]
                if mate[near] == -2:
                    continue
                free[near] -= 1
                if mate[near] == -1 and free[near] > 0:
                    if waiting == heap.size:
                        return False
                    heap[waiting] = free[near] * MAX_ATOMS + near
                    waiting += 1
    for a in range(atoms):
        if mate[a] == -1:
            return False
    for a in range(atoms):
        for k in range(graph.pi_count[a]):
            if graph.pi[a, k] > a:
                set_order(graph, a, graph.pi[a, k], 2)
    for a in range(atoms):
        if mate[a] > a:
            set_order(graph, a, mate[a], 4)
    return True
