"""SMILES bytes to a molecular graph, atom by atom as selfies 2.x reads them (`selfies.utils.smiles_utils`)."""

from __future__ import annotations

import numpy as np

from chemscale_bench.data.kernel.compiling import compiled
from chemscale_bench.data.kernel.tables import FALLBACK, KEY_BYTES, MAX_ATOMS, MAX_BONDS, UNKNOWN_ATOM, AtomTable, Graph


@compiled
def find_bracket(text: np.ndarray, start: int, end: int, table: AtomTable) -> int:
    """Kind of the bracket atom whose text is `text[start:end]`; -1 where it is not in the table."""
    value = np.uint64(14695981039346656037)
    for i in range(start, end):
        value = (value ^ np.uint64(text[i])) * np.uint64(1099511628211)
    slot = np.int64(value & np.uint64(table.slots.size - 1))
    while table.slots[slot] >= 0:
        kind = table.slots[slot]
        if table.key_length[kind] == end - start:
            same = True
            for i in range(end - start):
                if table.key[kind, i] != text[start + i]:
                    same = False
                    break
            if same:
                return int(kind)
        slot = (slot + 1) & (table.slots.size - 1)
    return -1


@compiled
def doubled_order(bond: int) -> int:
    """Doubled order that a bond character stands for; 0 (no character) is single."""
    if bond == ord("="):
        return 4
    if bond == ord("#"):
        return 6
    return 3 if bond == ord(":") else 2


@compiled
def stereo_of(bond: int) -> int:
    """1 for /, 2 for a backslash, 0 otherwise."""
    if bond == ord("/"):
        return 1
    return 2 if bond == ord("\\") else 0


@compiled
def join_pi(graph: Graph, a: int, b: int) -> None:
    """Note an aromatic bond between two atoms."""
    graph.pi[a, graph.pi_count[a]] = b
    graph.pi[b, graph.pi_count[b]] = a
    graph.pi_count[a] += 1
    graph.pi_count[b] += 1


@compiled
def slot_of(graph: Graph, a: int, b: int) -> int:
    """Slot of the bond a -> b; -1 where there is none."""
    for k in range(graph.out_count[a]):
        if graph.target[a, k] == b:
            return int(k)
    return -1


@compiled
def read_graph(text: np.ndarray, start: int, end: int, table: AtomTable, graph: Graph) -> int:
    """Read one SMILES into the graph; the number of atoms, or minus the status that stops it."""
    ring_atom = np.full(110, -1, np.int32)
    ring_slot = np.zeros(110, np.int32)
    ring_bond = np.zeros(110, np.int32)
    atoms, depth, previous, open_rings = 0, 0, -1, 0
    chain_start = True
    i = start
    while i < end:
        c = text[i]
        if c == ord("."):
            if chain_start or depth or open_rings:
                return -FALLBACK
            previous, chain_start = -1, True
            i += 1
            continue
        bond = 0
        if c == ord("-") or c == ord("/") or c == ord("\\") or c == ord(":") or c == ord("=") or c == ord("#"):
            bond = int(c)
            i += 1
            if i == end:
                return -FALLBACK
            c = text[i]
        if c == ord("(") or c == ord(")"):
            if bond or chain_start:
                return -FALLBACK
            if c == ord("("):
                graph.stack[depth] = previous
                depth += 1
                chain_start = True
            else:
                if depth == 0:
                    return -FALLBACK
                depth -= 1
                previous = graph.stack[depth]
            i += 1
            continue
        if c == ord("%") or ord("0") <= c <= ord("9"):
            number = np.int64(c) - 48
            if c == ord("%"):
                if i + 2 >= end or not (48 <= text[i + 1] <= 57 and 48 <= text[i + 2] <= 57):
                    return -FALLBACK
                number = 10 + (np.int64(text[i + 1]) - 48) * 10 + np.int64(text[i + 2]) - 48
                i += 2
            i += 1
            if chain_start or graph.out_count[previous] >= MAX_BONDS - 1:
                return -FALLBACK
            if ring_atom[number] < 0:
                slot = graph.out_count[previous]
                graph.target[previous, slot] = -1
                graph.out_count[previous] += 1
                ring_atom[number], ring_slot[number], ring_bond[number] = previous, slot, bond
                open_rings += 1
                continue
            first, slot, first_bond = ring_atom[number], ring_slot[number], ring_bond[number]
            ring_atom[number] = -1
            open_rings -= 1
            if first == previous or slot_of(graph, first, previous) >= 0 or slot_of(graph, previous, first) >= 0:
                return -FALLBACK
            if bond and first_bond and bond != first_bond and not (stereo_of(bond) and stereo_of(first_bond)):
                return -FALLBACK
            order = max(doubled_order(bond), doubled_order(first_bond))
            aromatic = table.aromatic[graph.kind[first]] and table.aromatic[graph.kind[previous]]
            if aromatic and not bond and not first_bond:
                order = 3
            if order == 3:
                if not aromatic:
                    return -FALLBACK
                join_pi(graph, first, previous)
            end_slot = graph.out_count[previous]
            graph.out_count[previous] += 1
            graph.target[first, slot], graph.target[previous, end_slot] = previous, first
            graph.order[first, slot], graph.order[previous, end_slot] = order, order
            graph.stereo[first, slot], graph.stereo[previous, end_slot] = stereo_of(first_bond), stereo_of(bond)
            graph.back[first, slot], graph.back[previous, end_slot] = end_slot, slot
            graph.degree[first] += order
            graph.degree[previous] += order
            continue
        if c == ord("["):
            close = i + 1
            while close < end and text[close] != ord("]"):
                close += 1
            if close == end or close - i - 1 > KEY_BYTES:
                return -FALLBACK
            kind = find_bracket(text, i + 1, close, table)
            if kind < 0:
                return -UNKNOWN_ATOM
            i = close + 1
        else:
            kind = table.letter[c]
            i += 1
            # The two-letter atoms of the organic subset, Cl and Br, sit under the control codes 1 and 2.
            if i < end and c == ord("C") and text[i] == ord("l"):
                kind = table.letter[1]
                i += 1
            elif i < end and c == ord("B") and text[i] == ord("r"):
                kind = table.letter[2]
                i += 1
        if kind < 0 or not table.valid[kind] or atoms == MAX_ATOMS:
            return -FALLBACK
        graph.kind[atoms] = kind
        graph.root[atoms] = previous < 0
        graph.degree[atoms] = 0
        graph.out_count[atoms] = 0
        graph.pi_count[atoms] = 0
        if previous >= 0:
            order = doubled_order(bond)
            aromatic = table.aromatic[graph.kind[previous]] and table.aromatic[kind]
            if aromatic and not bond:
                order = 3
            slot = graph.out_count[previous]
            if slot >= MAX_BONDS - 1 or (order == 3 and not aromatic):
                return -FALLBACK
            graph.target[previous, slot] = atoms
            graph.order[previous, slot] = order
            graph.stereo[previous, slot] = stereo_of(bond)
            graph.back[previous, slot] = -1
            graph.out_count[previous] += 1
            graph.degree[previous] += order
            graph.degree[atoms] += order
            if order == 3:
                join_pi(graph, previous, atoms)
        previous, chain_start = atoms, False
        atoms += 1
    if chain_start or depth or open_rings:
        return -FALLBACK
    return atoms
