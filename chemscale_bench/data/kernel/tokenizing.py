"""SELFIES bytes to ids, by a hash table of the vocabulary's symbols."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from chemscale_bench.data.kernel.compiling import compiled
from chemscale_bench.data.kernel.tables import hash_of


class SymbolTable(NamedTuple):
    """A vocabulary as the kernel reads it."""

    slots: np.ndarray  # int32 [power of two], hash table of symbols -> place, -1 where empty
    text: np.ndarray  # uint8 [N], the symbols one after another
    ends: np.ndarray  # int32 [V], the end of each
    ids: np.ndarray  # uint16 [V]


def symbol_table(ids: dict[str, int]) -> SymbolTable:
    """Build the table of some symbols and their ids."""
    symbols = [symbol.encode() for symbol in ids]
    slots = np.full(1 << (4 * len(symbols) + 1).bit_length(), -1, np.int32)
    for place, symbol in enumerate(symbols):
        slot = hash_of(symbol) & (slots.size - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (slots.size - 1)
        slots[slot] = place
    ends = np.cumsum([len(symbol) for symbol in symbols], dtype=np.int32)
    return SymbolTable(slots, np.frombuffer(b"".join(symbols), np.uint8), ends, np.array([*ids.values()], np.uint16))


@compiled
def tokenize(text: np.ndarray, table: SymbolTable, unknown: int, out: np.ndarray, lengths: np.ndarray) -> int:
    """Write the ids of lines of SELFIES.

    A symbol is a bracket or a dot; what stands between symbols is one unknown.

    Args:
        text: uint8 [N], strings that each end in a line break.
        table: the vocabulary.
        unknown: id of what is not in the table.
        out: uint16 [N], receives the ids.
        lengths: int64 [M], receives the ids of each line.

    Returns:
        The number of ids.
    """
    at, line, line_start, i = 0, 0, 0, 0
    while i < text.size:
        if text[i] == ord("\n"):
            lengths[line] = at - line_start
            line, line_start = line + 1, at
            i += 1
            continue
        start, first = i, text[i]
        value = np.uint64(14695981039346656037)
        while i < text.size:
            c = text[i]
            if c == ord("\n") or (i > start and first != ord("[") and (c == ord("[") or c == ord("."))):
                break
            value = (value ^ np.uint64(c)) * np.uint64(1099511628211)
            i += 1
            if (first == ord("[") and c == ord("]")) or first == ord("."):
                break
        out[at] = unknown
        slot = np.int64(value & np.uint64(table.slots.size - 1))
        while table.slots[slot] >= 0:
            place = table.slots[slot]
            key = table.ends[place - 1] if place else 0
            if table.ends[place] - key == i - start:
                same = True
                for k in range(i - start):
                    same &= table.text[key + k] == text[start + k]
                if same:
                    out[at] = table.ids[place]
                    break
            slot = (slot + 1) & (table.slots.size - 1)
        at += 1
    return at
