"""A kekulized graph to SELFIES symbol codes, as selfies 2.x writes them (`selfies.encoder`)."""

from __future__ import annotations

import numpy as np

from chemscale_bench.data.kernel.compiling import compiled
from chemscale_bench.data.kernel.tables import (
    ATOM,
    BRANCH,
    INDEX,
    MAX_ATOMS,
    MAX_BONDS,
    PER_ATOM,
    RING,
    STEREO_RING,
    AtomTable,
    Graph,
)


@compiled
def restore_chirality(table: AtomTable, graph: Graph, atoms: int) -> None:
    """Swap @ and @@ where SELFIES closes rings in an odd permutation (selfies: `_should_invert_chirality`)."""
    rank = np.zeros(MAX_BONDS, np.int64)
    for a in range(atoms):
        inverse = table.inverse[graph.kind[a]]
        rings = False
        for k in range(graph.out_count[a]):
            rings |= graph.back[a, k] >= 0
            # Rings that close here keep their order, then rings that open here by their end, then chains.
            if graph.back[a, k] < 0:
                rank[k] = 4 * MAX_ATOMS + k
            elif a < graph.target[a, k]:
                rank[k] = MAX_ATOMS + graph.target[a, k]
            else:
                rank[k] = k
        if inverse < 0 or not rings:
            continue
        odd = False
        for k in range(graph.out_count[a]):
            for m in range(k + 1, graph.out_count[a]):
                odd ^= rank[k] > rank[m]
        if odd:
            graph.kind[a] = inverse


@compiled
def digits(index: int) -> int:
    """How many base-16 index symbols a number takes."""
    count = 1
    while index >= 16:
        index //= 16
        count += 1
    return count


@compiled
def write_index(out: np.ndarray, at: int, symbol: int, index: int) -> int:
    """Write a branch or ring symbol and its index symbols; the position behind them."""
    count = digits(index)
    out[at] = symbol + count - 1
    for k in range(count):
        out[at + count - k] = INDEX + index % 16
        index //= 16
    return at + count + 1


@compiled
def measure_chains(graph: Graph, atoms: int) -> bool:
    """Count the symbols of the chain that starts at each atom; False where an index needs more than three digits."""
    for a in range(atoms - 1, -1, -1):
        total = 1
        for k in range(graph.out_count[a]):
            b = graph.target[a, k]
            if graph.back[a, k] >= 0:
                if b < a:
                    total += 1 + digits(a - b - 1)
            elif k == graph.out_count[a] - 1:
                total += graph.length[b]
            else:
                count = digits(graph.length[b] - 1)
                if count > 3:
                    return False
                total += 1 + count + graph.length[b]
        graph.length[a] = total
    return True


@compiled
def write_atom(graph: Graph, out: np.ndarray, at: int, a: int, order: int, stereo: int) -> int:
    """Write an atom with the bond that leads into it; the position behind it."""
    bond = order // 2 - 1
    if bond == 0 and stereo:
        bond = 2 + stereo
    out[at] = ATOM + graph.kind[a] * PER_ATOM + bond
    graph.cursor[a] = 0
    return at + 1


@compiled
def write_chain(graph: Graph, root: int, out: np.ndarray, at: int) -> int:
    """Write the fragment that starts at a root atom; the position behind it."""
    at = write_atom(graph, out, at, root, 2, 0)
    depth = 1
    graph.stack[0] = root
    while depth:
        a = graph.stack[depth - 1]
        k = graph.cursor[a]
        if k == graph.out_count[a]:
            depth -= 1
            continue
        graph.cursor[a] += 1
        b, order = graph.target[a, k], graph.order[a, k]
        if graph.back[a, k] >= 0:
            if b < a:
                left, right = graph.stereo[b, graph.back[a, k]], graph.stereo[a, k]
                symbol = RING + 3 * (order // 2 - 1)
                if order == 2 and (left or right):
                    symbol = STEREO_RING + 3 * (3 * left + right)
                at = write_index(out, at, symbol, a - b - 1)
            continue
        if k < graph.out_count[a] - 1:
            at = write_index(out, at, BRANCH + 3 * (order // 2 - 1), graph.length[b] - 1)
        else:
            depth -= 1
        at = write_atom(graph, out, at, b, order, graph.stereo[a, k])
        graph.stack[depth] = b
        depth += 1
    return at
