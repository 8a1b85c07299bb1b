"""SMILES to SELFIES symbols, at many times the speed of `selfies.encoder` and symbol for symbol equal to it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import product

import numpy as np
import selfies
from filelock import FileLock
from selfies.bond_constraints import get_bonding_capacity
from selfies.constants import AROMATIC_VALENCES, INDEX_ALPHABET, VALENCE_ELECTRONS
from selfies.utils.smiles_utils import atom_to_smiles, smiles_to_atom

from chemscale_bench.data.kernel import tables
from chemscale_bench.data.kernel.batch import encode_batch
from chemscale_bench.data.kernel.compiling import FOLDER

LETTERS = ("B", "C", "N", "O", "S", "P", "F", "I", "b", "c", "n", "o", "s", "p")
TWO_LETTERS = {1: "Cl", 2: "Br"}
MAX_KINDS = 6000  # brackets beyond this many (atom maps, isotopes) go to selfies itself, so that memory stays bounded
SLOTS = 16_384


@dataclass(frozen=True)
class Encoded:
    """A batch of molecules as symbol numbers of one codec (see `Codec.symbols`)."""

    symbols: np.ndarray
    """int32 [N], the molecules one after another."""
    lengths: np.ndarray
    """int64 [M], symbols of each molecule; 0 where selfies cannot encode it."""


class Codec:
    """Encoder that numbers SELFIES symbols in the order in which it meets them.

    The numbers mean nothing outside one codec: `symbols[number]` is the symbol.

    Example:
        >>> codec = Codec()
        >>> encoded = codec.encode(["C=CF"])
        >>> [codec.symbols[number] for number in encoded.symbols]
        ['[C]', '[=C]', '[F]']
    """

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self._number: dict[str, int] = {}
        self._of_code = np.full(tables.ATOM + tables.PER_ATOM * MAX_KINDS, -1, np.int32)
        self._brackets: dict[str, int] = {}
        self._kinds = 0
        self._graph = tables.scratch()
        self._table = tables.empty_table(MAX_KINDS, SLOTS)
        self._name_fixed_codes()
        for letter in LETTERS:
            self._table.letter[ord(letter)] = self._add_kind(letter)
        for code, letters in TWO_LETTERS.items():
            self._table.letter[code] = self._add_kind(letters)

    def encode(self, smiles: list[str]) -> Encoded:
        """Encode SMILES strings (ASCII, without line breaks) to exactly the symbols that `selfies.encoder` gives."""
        if not smiles:
            return Encoded(np.zeros(0, np.int32), np.zeros(0, np.int64))
        codes, ends, status = self._run(smiles)
        unknown = np.flatnonzero(status == tables.UNKNOWN_ATOM)
        if unknown.size and self._learn_brackets([smiles[m] for m in unknown]):
            codes, ends, status = self._run(smiles)
        numbers = self._of_code[codes]
        lengths = np.diff(ends, prepend=0)
        left = np.flatnonzero(status != tables.DONE)
        if not left.size:
            return Encoded(numbers, lengths)
        pieces: list[np.ndarray] = []
        done = 0
        for m in left:
            pieces += [numbers[done : ends[m]], self._encode_with_selfies(smiles[m])]
            lengths[m] = pieces[-1].size
            done = ends[m]
        return Encoded(np.concatenate([*pieces, numbers[done:]]), lengths)

    def _run(self, smiles: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Codes int32 [N], ends int64 [M] and status int8 [M] of the compiled kernel."""
        text = np.frombuffer(("\n".join(smiles) + "\n").encode("ascii"), np.uint8)
        starts = np.concatenate([[0], np.flatnonzero(text == ord("\n")) + 1])
        # No character stands for more than four symbols: a ring digit or a bracket gives one and at most three index
        # symbols.
        out = np.empty(4 * text.size, np.int32)
        ends = np.zeros(len(smiles), np.int64)
        status = np.zeros(len(smiles), np.int8)
        written = encode_batch(text, starts, self._table, self._graph, out, ends, status)
        return out[:written], ends, status

    def _encode_with_selfies(self, smiles: str) -> np.ndarray:
        """Symbol numbers of one molecule by the reference; none where it refuses."""
        try:
            symbols = selfies.split_selfies(selfies.encoder(smiles))
            return np.array([self._number_of(symbol) for symbol in symbols], np.int32)
        except (selfies.EncoderError, RecursionError, LookupError, AssertionError):
            return np.zeros(0, np.int32)

    def _number_of(self, symbol: str) -> int:
        number = self._number.setdefault(symbol, len(self.symbols))
        if number == len(self.symbols):
            self.symbols.append(symbol)
        return number

    def _name_fixed_codes(self) -> None:
        orders, digits, stereo = ("", "=", "#"), (1, 2, 3), ("-", "/", "\\")
        names = {tables.DOT: "."}
        for (o, order), count in product(enumerate(orders), digits):
            names[tables.BRANCH + 3 * o + count - 1] = f"[{order}Branch{count}]"
            names[tables.RING + 3 * o + count - 1] = f"[{order}Ring{count}]"
        for (a, left), (b, right), count in product(enumerate(stereo), enumerate(stereo), digits):
            names[tables.STEREO_RING + 3 * (3 * a + b) + count - 1] = f"[{left}{right}Ring{count}]"
        names |= {tables.INDEX + i: symbol for i, symbol in enumerate(INDEX_ALPHABET)}
        for code, name in names.items():
            self._of_code[code] = self._number_of(name)

    def _learn_brackets(self, smiles: list[str]) -> bool:
        """Add the bracket atoms of these molecules to the table; whether any was new."""
        before = self._kinds
        for text in smiles:
            for piece in text.split("[")[1:]:
                bracket = piece.partition("]")[0]
                if len(bracket) <= tables.KEY_BYTES and self._kinds + 2 <= MAX_KINDS:
                    self._add_bracket(bracket)
        return self._kinds > before

    def _add_bracket(self, bracket: str) -> int:
        if bracket in self._brackets:
            return self._brackets[bracket]
        kind = self._brackets[bracket] = self._add_kind(f"[{bracket}]")
        key = np.frombuffer(bracket.encode("ascii"), np.uint8)
        self._table.key[kind, : key.size] = key
        self._table.key_length[kind] = key.size
        slot = tables.hash_of(bracket.encode("ascii")) & (SLOTS - 1)
        while self._table.slots[slot] >= 0:
            slot = (slot + 1) & (SLOTS - 1)
        self._table.slots[slot] = kind
        if "@" in bracket and self._table.valid[kind]:
            # A swap of @@ and @ keeps the rest; it cannot recurse further because the partner is registered already.
            partner = bracket.replace("@@", "?").replace("@", "@@").replace("?", "@")
            self._table.inverse[kind] = self._add_bracket(partner)
        return kind

    def _add_kind(self, text: str) -> int:
        """Add an atom, given as SMILES writes it, to the table; its kind."""
        kind, table = self._kinds, self._table
        self._kinds += 1
        atom = smiles_to_atom(text)
        if atom is None:
            return kind
        hydrogens = 0 if atom.h_count is None else atom.h_count
        table.valid[kind] = True
        table.aromatic[kind] = atom.is_aromatic
        table.capacity[kind] = get_bonding_capacity(atom.element, atom.charge) - hydrogens
        table.hydrogens[kind] = -1 if atom.h_count is None else atom.h_count
        table.charge[kind] = atom.charge
        if atom.is_aromatic:
            valences = AROMATIC_VALENCES[atom.element]
            table.electrons[kind] = VALENCE_ELECTRONS[atom.element]
            table.valence[kind] = valences[0], valences[-1]
        atom.is_aromatic = False
        name = atom_to_smiles(atom, brackets=False)
        for i, bond in enumerate(("", "=", "#", "/", "\\")):
            self._of_code[tables.ATOM + tables.PER_ATOM * kind + i] = self._number_of(f"[{bond}{name}]")
        return kind


def warm_up() -> None:
    """Compile the kernel, or load it; of processes that start together one compiles and the others wait."""
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        lock = FileLock(FOLDER / "compiling.lock")
        lock.acquire()
    except OSError:
        Codec().encode(["C"])
        return
    try:
        if not any(FOLDER.rglob("*.nbi")):
            print("compiling the SMILES codec, once for this version (about 15 s)", file=sys.stderr)
        Codec().encode(["C"])
    finally:
        lock.release()
