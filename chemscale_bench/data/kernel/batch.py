"""A batch of SMILES strings to symbol codes.

What selfies would refuse, and what these functions do not cover, is left to `selfies.encoder` (status FALLBACK).
"""

from __future__ import annotations

import numpy as np

from chemscale_bench.data.kernel.compiling import compiled
from chemscale_bench.data.kernel.kekulization import kekulize
from chemscale_bench.data.kernel.reading import read_graph
from chemscale_bench.data.kernel.tables import DONE, DOT, FALLBACK, UNKNOWN_ATOM, AtomTable, Graph
from chemscale_bench.data.kernel.writing import measure_chains, restore_chirality, write_chain


@compiled
def encode_batch(
    text: np.ndarray,
    starts: np.ndarray,
    table: AtomTable,
    graph: Graph,
    out: np.ndarray,
    ends: np.ndarray,
    status: np.ndarray,
) -> int:
    """Encode SMILES strings one after another.

    Args:
        text: uint8 [N], the strings joined by one separator byte.
        starts: int64 [M + 1], where each string starts; the last entry is one behind the last separator.
        table: the known atom kinds.
        graph: scratch space.
        out: int32 [4 N], receives the symbol codes.
        ends: int64 [M], receives the position behind each molecule's codes.
        status: int8 [M], receives DONE, FALLBACK or UNKNOWN_ATOM; a molecule that is not DONE has no codes.

    Returns:
        The number of codes written.
    """
    at = 0
    for m in range(status.size):
        atoms = read_graph(text, starts[m], starts[m + 1] - 1, table, graph)
        state = DONE if atoms > 0 else (UNKNOWN_ATOM if atoms == -UNKNOWN_ATOM else FALLBACK)
        if state == DONE and not kekulize(table, graph, atoms):
            state = FALLBACK
        if state == DONE:
            for a in range(atoms):
                if graph.degree[a] // 2 > table.capacity[graph.kind[a]]:
                    state = FALLBACK
        if state == DONE and not measure_chains(graph, atoms):
            state = FALLBACK
        if state == DONE:
            restore_chirality(table, graph, atoms)
            for a in range(atoms):
                if graph.root[a]:
                    if a > 0:
                        out[at] = DOT
                        at += 1
                    at = write_chain(graph, a, out, at)
        ends[m] = at
        status[m] = state
    return at
