"""The user's own frames: .npz, .extxyz, .xyz and ASE databases, in units that the user or the file states."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chemscale_bench.data.frame_units import DECLARED, Units, agreed, size_of
from chemscale_bench.data.structures import Frames, mixed
from chemscale_bench.errors import UserError

SPELLINGS = {
    "atomic numbers": ("z", "Z", "numbers", "atomic_numbers", "nuclear_charges"),
    "positions": ("R", "coords", "positions"),
    "energies": ("E", "energies", "energy"),
    "forces": ("F", "forces"),
}
CHARGE, MULTIPLICITY = ("charge", "total_charge"), ("spin", "multiplicity", "spin_multiplicity")
SUFFIXES = (".npz", ".extxyz", ".xyz", ".db")


@dataclass
class Raw:
    """What a file holds, in its own units."""

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    forces: np.ndarray | None
    about: dict[str, Any] = field(default_factory=dict)
    """What else it says: units, charge, multiplicity."""
    atoms: dict[int, float] = field(default_factory=dict)
    """Energies of single atoms by atomic number."""
    notes: list[str] = field(default_factory=list)


def read_frames(
    path: Path, stated: Units, named: tuple[str, ...], forces: bool = True
) -> tuple[Frames, Units, list[str]]:
    """All frames of a file in its order, the units that it is in, and what a reader should know of it.

    Args:
        path: .npz (keys as in MD17, rMD17 or ASE), .extxyz, .xyz, or an ASE database .db.
        stated: units; the file may tell those that are not.
        named: data sets that need no units, for errors.
        forces: whether every frame must have forces.

    Raises:
        UserError: the file is missing or unreadable, what it holds is no set of frames of one molecule, or a unit is
            not told, not known, or not the one that the file tells.
    """
    if not path.is_file():
        raise UserError(f"frames must be an existing file, got {path}; check the path")
    if path.suffix not in SUFFIXES:
        raise UserError(f"a file of frames must end in {', '.join(SUFFIXES)}, got {path.name}; convert it, as with ASE")
    if not path.stat().st_size:
        raise UserError(f"a file of frames must not be empty, got {path}; check how it was written")
    for name, value in stated._asdict().items():
        if value:  # a wrong word of the user's is told before a large file is read
            size_of(name, value, named)
    raw = _read_npz(path, forces) if path.suffix == ".npz" else _read_by_ase(path)
    told = {name: agreed(name, value, raw.about, path.name, raw.notes) for name, value in stated._asdict().items()}
    units = Units(**told)
    energy = size_of("energy_unit", units.energy_unit, named)
    length = size_of("length_unit", units.length_unit, named)
    force = size_of("force_unit", units.force_unit, named) if units.force_unit else None
    if forces and raw.forces is None:
        raise UserError(
            f"every frame to train on must have forces, {path.name} has energies only; give it as test_data, or with "
            "forces"
        )
    frames = Frames.checked(raw.numbers, raw.positions, raw.energies, raw.forces, path.name, energy, length, force)
    frames = _with_electrons(frames, raw, path.name)
    if frames.charge or frames.unpaired:
        raw.notes.append(f"{path.name}: charge {frames.charge:+d} e, unpaired electrons: {frames.unpaired}")
    if set(frames.numbers.tolist()) <= set(raw.atoms):
        bound = frames.energies.mean() - energy * sum(raw.atoms[int(number)] for number in frames.numbers)
        raw.notes.append(f"{path.name}: mean energy {bound:.4f} eV relative to its {len(raw.atoms)} single atoms")
    elif raw.atoms:
        raw.notes.append(f"{path.name}: {len(raw.atoms)} single atoms are not among the frames")
    if raw.forces is None:
        raw.notes.append(f"{path.name} has no forces: the test measures energies only")
    return frames, units, raw.notes


def _with_electrons(frames: Frames, raw: Raw, origin: str) -> Frames:
    """The frames with the charge and the unpaired electrons that the file tells."""
    charge, spin = (
        next((raw.about[key] for key in keys if raw.about.get(key) is not None), None)
        for keys in (CHARGE, MULTIPLICITY)
    )
    values = []
    for name, value in (("charge", charge), ("multiplicity", spin)):
        found = np.unique(np.asarray(0 if value is None else value, float))
        if len(found) != 1 or found[0] != round(found[0]):
            raise UserError(
                f"all frames must have one {name}, a whole number, {origin} has {', '.join(map(str, found[:4]))}; "
                "write one file for each state"
            )
        values.append(int(found[0]))
    electrons = int(frames.numbers.sum()) - values[0]
    unpaired = electrons % 2 if spin is None else values[1] - 1
    if not 0 <= unpaired <= electrons or (electrons - unpaired) % 2:
        raise UserError(
            f"charge and multiplicity (2S + 1) must go together, {origin} has charge {values[0]} and multiplicity "
            f"{values[1]} with {electrons} electrons; correct the file"
        )
    return replace(frames, charge=values[0], unpaired=unpaired)


def _read_npz(path: Path, forces: bool) -> Raw:
    """The arrays as they are in the file, which need not hold forces if none are wanted."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise UserError(f"{path} must be an npz archive of arrays, got a single array; use numpy.savez")
        with loaded as archive:
            keys = list(archive)
            forces = forces or not {*SPELLINGS["forces"]}.isdisjoint(keys)
            wanted = [quantity for quantity in SPELLINGS if forces or quantity != "forces"]
            found = {quantity: archive[_key(quantity, keys, path)] for quantity in wanted}
            told = {*CHARGE, *MULTIPLICITY, *(key for names in DECLARED.values() for key in names)}
            about = {key: archive[key] for key in keys if key in told}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} must be an npz archive of plain arrays, it cannot be read ({error}); pickled objects are never "
            "loaded: write arrays of numbers with numpy.savez"
        ) from None
    return Raw(found["atomic numbers"], found["positions"], found["energies"], found.get("forces"), about)


def _key(quantity: str, keys: list[str], path: Path) -> str:
    spellings = SPELLINGS[quantity]
    found = [spelling for spelling in spellings if spelling in keys]
    if len(found) != 1:
        raise UserError(
            f"{path.name} must hold {quantity} under exactly one of {', '.join(spellings)}, got "
            f"{' and '.join(found) or 'none'} among {', '.join(keys)}; rename or remove keys"
        )
    return found[0]


class Row(NamedTuple):
    """A frame as ASE reads it."""

    atoms: Any
    results: dict[str, Any]
    """Energies and forces, under whatever names."""
    about: dict[str, Any]


def _read_by_ase(path: Path) -> Raw:
    """The frames as they are in the file; single atoms are kept apart."""
    rows, atoms, notes = 0, dict[int, float](), list[str]()
    frames: list[tuple[Any, float, Any]] = []
    about: dict[str, Any] = {}
    electrons: dict[str, list[Any]] = {}
    names: tuple[str, str] | None = None
    try:
        for row in _database(path) if path.suffix == ".db" else _xyz(path):
            single = len(row.atoms) == 1
            if frames and not single and not np.array_equal(frames[0][0].numbers, row.atoms.numbers):
                raise UserError(mixed(path.name, rows))
            if row.atoms.pbc.any():
                raise UserError(
                    f"frames must be of a molecule in free space, frame {rows} of {path.name} is periodic; "
                    'write it without a lattice, or with pbc="F F F"'
                )
            energy_name, force_name = _names(row.results, rows, path)
            energy = float(np.asarray(row.results[energy_name]).item())
            if single:
                atoms[int(row.atoms.numbers[0])] = energy
            else:
                names = names or (energy_name, force_name)
                if names != (energy_name, force_name):
                    raise UserError(
                        f"every frame must have its labels under the same names, frame {rows} of {path.name} has "
                        f"{_in_words(energy_name, force_name)}, earlier ones {_in_words(*names)}; write all alike"
                    )
                forces = np.asarray(row.results[force_name]) if force_name else None
                if forces is not None and forces.shape != row.atoms.positions.shape:
                    raise UserError(
                        f"forces must have the shape of the positions, {row.atoms.positions.shape}, frame {rows} of "
                        f"{path.name} has {forces.shape}; correct the file"
                    )
                frames.append((row.atoms, energy, forces))
                about = about or row.about
                for key in (*CHARGE, *MULTIPLICITY):
                    electrons.setdefault(key, []).append(row.about.get(key))
            rows += 1
    except UserError:
        raise
    except (ValueError, KeyError, IndexError, OSError, TypeError, EOFError, sqlite3.Error) as error:
        raise UserError(
            f"{path} must be what ASE reads as {path.suffix}, frame {rows} cannot be read ({error!r}); "
            "correct the file, or convert it to npz"
        ) from None
    if not frames or names is None:
        raise UserError(f"{path} must hold at least one frame, got none; check how it was written")
    # A frame that does not tell its charge among others that do is neutral, one without a multiplicity is unclear.
    told = {
        key: [0 if value is None and key in CHARGE else value for value in values]
        for key, values in electrons.items()
        if any(value is not None for value in values)
    }
    for key, values in told.items():
        if any(value is None for value in values):
            raise UserError(f"every frame must tell its {key}, {path.name} has frames that do not; add it to all")
    if names != ("energy", "forces"):
        notes.append(f"{path.name} has {_in_words(*names)}")
    return Raw(
        frames[0][0].numbers, np.array([each.positions for each, _, _ in frames]),
        np.array([energy for _, energy, _ in frames]),
        np.array([forces for _, _, forces in frames]) if names[1] else None, about | told, atoms, notes,
    )  # fmt: skip


def _names(results: dict[str, Any], frame: int, path: Path) -> tuple[str, str]:
    """Under which names a frame has its energy and forces (`REF_energy`, say); no name where there are no forces.

    Raises:
        UserError: there is no energy, or more than one.
    """
    found = [name for name in results if name == "energy"] or [name for name in results if name.endswith("_energy")]
    found = [name for name in found if name != "free_energy"] or found
    if len(found) != 1:
        missing = "no energy" if any(name.endswith("forces") for name in results) else "no energy and no forces"
        raise UserError(
            f"every frame must have one energy, frame {frame} of {path.name} has {' and '.join(found) or missing}; "
            "write it with ASE under the name energy, or as one REF_energy"
        )
    forces = found[0].removesuffix("energy") + "forces"
    if forces not in results and any(name.endswith("forces") for name in results):
        others = ", ".join(name for name in results if name.endswith("forces"))
        raise UserError(
            f"energy and forces must have names that belong together, frame {frame} of {path.name} has {found[0]} and "
            f"{others}; rename one to {forces}"
        )
    return found[0], forces if forces in results else ""


def _in_words(energy: str, forces: str) -> str:
    return f"{energy} and {forces or 'no forces'}"


def _xyz(path: Path) -> Iterator[Row]:
    """Frame by frame; ASE takes energy and forces for results of a calculator, other names as they are."""
    from ase.io import iread

    for atoms in iread(path, index=":", format="extxyz"):
        others = {name: values for name, values in {**atoms.info, **atoms.arrays}.items() if _is_label(name)}
        yield Row(atoms, others | (atoms.calc.results if atoms.calc else {}), atoms.info)


def _database(path: Path) -> Iterator[Row]:
    """Row by row; schnetpack keeps its results in `data`, and its units in the metadata."""
    from ase.db import connect

    database = connect(path, type="db")
    units = database.metadata.get("_property_unit_dict", {})
    declared = {"energy_unit": units.get("energy"), "force_unit": units.get("forces")}
    declared["length_unit"] = database.metadata.get("_distance_unit")
    for row in database.select():
        labels = {name: value for name, value in {**row.data, **row.key_value_pairs}.items() if _is_label(name)}
        results = labels | {name: row[name] for name in ("energy", "forces") if name in row}
        yield Row(row.toatoms(), results, declared | row.data | row.key_value_pairs)


def _is_label(name: str) -> bool:
    return name in ("energy", "forces") or name.endswith(("_energy", "_forces"))
