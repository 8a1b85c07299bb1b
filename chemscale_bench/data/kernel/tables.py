"""The arrays that the compiled functions work on, and the codes they write.

Legend: A atoms of one molecule, O bonds that leave one atom, K known atom kinds. Bond orders are stored doubled, so
that an aromatic bond is 3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MAX_ATOMS, MAX_BONDS, KEY_BYTES = 1024, 16, 24
DONE, FALLBACK, UNKNOWN_ATOM = 0, 1, 2
# Codes of symbols: the dot, branches (order, digits), rings (order, digits), stereo rings, index digits, then five
# per atom kind.
DOT, BRANCH, RING, STEREO_RING, INDEX, ATOM = 0, 1, 10, 19, 46, 64
PER_ATOM = 5  # the bond into the atom: none, =, #, /, \


class AtomTable(NamedTuple):
    """What the kernel knows of each atom kind (a bracket such as `[nH]`, or an organic-subset letter)."""

    slots: np.ndarray  # int32 [power of two], hash table of bracket texts -> kind, -1 where empty
    key: np.ndarray  # uint8 [K, KEY_BYTES], the text between the brackets
    key_length: np.ndarray  # int32 [K]
    letter: np.ndarray  # int32 [256], kind of a one-letter atom, -1 where there is none
    valid: np.ndarray  # bool [K], False where selfies refuses the atom
    aromatic: np.ndarray  # bool [K]
    capacity: np.ndarray  # int32 [K], bonds the atom may form, hydrogens taken off
    hydrogens: np.ndarray  # int32 [K], -1 where implicit
    charge: np.ndarray  # int32 [K]
    electrons: np.ndarray  # int32 [K], valence electrons
    valence: np.ndarray  # int32 [K, 2], aromatic valences, ascending
    inverse: np.ndarray  # int32 [K], the kind of opposite chirality, -1 where achiral


class Graph(NamedTuple):
    """Scratch space for one molecule."""

    kind: np.ndarray  # int32 [A]
    root: np.ndarray  # bool [A]
    degree: np.ndarray  # int32 [A], doubled
    out_count: np.ndarray  # int32 [A]
    target: np.ndarray  # int32 [A, O]
    order: np.ndarray  # int32 [A, O], doubled
    stereo: np.ndarray  # int32 [A, O], 0 none, 1 /, 2 \
    back: np.ndarray  # int32 [A, O], slot of the reverse bond at the target; -1: not a ring bond
    pi_count: np.ndarray  # int32 [A]
    pi: np.ndarray  # int32 [A, O], aromatic neighbours in the order of their bonds
    mate: np.ndarray  # int32 [A], -2 outside the matching, -1 unmatched
    free: np.ndarray  # int32 [A]
    heap: np.ndarray  # int64 [8 A]
    length: np.ndarray  # int64 [A], symbols of the chain that starts here
    cursor: np.ndarray  # int32 [A]
    stack: np.ndarray  # int32 [2 A]


def scratch() -> Graph:
    """Allocate the scratch space."""

    def flat(dtype: type = np.int32, size: int = MAX_ATOMS) -> np.ndarray:
        return np.zeros(size, dtype)

    def wide() -> np.ndarray:
        return np.zeros((MAX_ATOMS, MAX_BONDS), np.int32)

    return Graph(
        flat(), flat(np.bool_), flat(), flat(), wide(), wide(), wide(), wide(), flat(), wide(),
        flat(), flat(), flat(np.int64, 8 * MAX_ATOMS), flat(np.int64), flat(), flat(np.int32, 2 * MAX_ATOMS),
    )  # fmt: skip


def empty_table(kinds: int, slots: int) -> AtomTable:
    """Allocate the table for at most `kinds` atom kinds; `slots` is a power of two, well above `kinds`."""

    def number(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int32)

    return AtomTable(
        slots=np.full(slots, -1, np.int32), key=np.zeros((kinds, KEY_BYTES), np.uint8), key_length=number(kinds),
        letter=np.full(256, -1, np.int32), valid=np.zeros(kinds, np.bool_), aromatic=np.zeros(kinds, np.bool_),
        capacity=number(kinds), hydrogens=number(kinds), charge=number(kinds), electrons=number(kinds),
        valence=number(kinds, 2), inverse=np.full(kinds, -1, np.int32),
    )  # fmt: skip


def hash_of(text: bytes) -> int:
    """FNV-1a, 64 bits: the hash by which the kernel finds a bracket."""
    value = 14695981039346656037
    for byte in text:
        value = ((value ^ byte) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
    return value
