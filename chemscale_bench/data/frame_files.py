"""The user's own frames: .npz, .extxyz, .xyz and ASE databases, in units that the user states."""

from __future__ import annotations

import difflib
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chemscale_bench.data.structures import Frames, mixed
from chemscale_bench.errors import UserError

# CODATA 2018: kcal/mol and kJ/mol follow from the exact SI values of e and the Avogadro constant.
AVOGADRO_JOULES = 6.02214076e23 * 1.602176634e-19  # J/mol per eV
ENERGY_UNITS = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": 4184 / AVOGADRO_JOULES,
    "kJ/mol": 1000 / AVOGADRO_JOULES,
    "Hartree": 27.211386245988,
}
"""In eV."""
LENGTH_UNITS = {"Angstrom": 1.0, "Bohr": 0.529177210903, "nm": 10.0}
"""In Angstrom."""
SPELLINGS = {
    "atomic numbers": ("z", "Z", "numbers", "atomic_numbers", "nuclear_charges"),
    "positions": ("R", "coords", "positions"),
    "energies": ("E", "energies", "energy"),
    "forces": ("F", "forces"),
}
SUFFIXES = (".npz", ".extxyz", ".xyz", ".db")


def unit(name: str, value: str, units: dict[str, float], named: tuple[str, ...]) -> float:
    """The size of a stated unit.

    Args:
        name: the parameter, for errors.
        value: what the user stated.
        units: the known ones.
        named: data sets that need none, for errors.

    Raises:
        UserError: none is stated, or it is not known.
    """
    known = ", ".join(units)
    if not value:
        raise UserError(
            f"{name} must be stated for frames of your own ({known}), got none; units are never guessed: "
            f"add {name}=..., or use data={' or '.join(named)}"
        )
    if value not in units:
        lowered = {key.lower(): key for key in units}
        near = difflib.get_close_matches(value.lower(), lowered, n=1, cutoff=0.4)
        hint = f"did you mean {lowered[near[0]]}?" if near else "convert the file"
        raise UserError(f"{name} must be one of {known}, got {value!r}; {hint}")
    return units[value]


def read_frames(path: Path, energy_scale: float, length_scale: float) -> Frames:
    """All frames of a file, in its order.

    Args:
        path: .npz (keys as in MD17, rMD17 or ASE), .extxyz, .xyz, or an ASE database .db.
        energy_scale: eV per unit of energy in the file.
        length_scale: Angstrom per unit of length in the file.

    Raises:
        UserError: the file is missing or unreadable, or what it holds is no set of frames of one molecule.
    """
    if not path.is_file():
        raise UserError(f"frames must be an existing file, got {path}; check the path")
    if path.suffix not in SUFFIXES:
        raise UserError(f"a file of frames must end in {', '.join(SUFFIXES)}, got {path.name}; convert it, as with ASE")
    if not path.stat().st_size:
        raise UserError(f"a file of frames must not be empty, got {path}; check how it was written")
    numbers, positions, energies, forces = _read_npz(path) if path.suffix == ".npz" else _read_by_ase(path)
    return Frames.checked(numbers, positions, energies, forces, path.name, energy_scale, length_scale)


def _read_npz(path: Path) -> list[np.ndarray]:
    """Atomic numbers, positions, energies and forces as they are in the file."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise UserError(f"{path} must be an npz archive of arrays, got a single array; use numpy.savez")
        with loaded as archive:
            return [archive[_key(quantity, list(archive), path)] for quantity in SPELLINGS]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} must be an npz archive of plain arrays, it cannot be read ({error}); pickled objects are never "
            "loaded: write arrays of numbers with numpy.savez"
        ) from None


def _key(quantity: str, keys: list[str], path: Path) -> str:
    spellings = SPELLINGS[quantity]
    found = [spelling for spelling in spellings if spelling in keys]
    if len(found) != 1:
        raise UserError(
            f"{path.name} must hold {quantity} under exactly one of {', '.join(spellings)}, got "
            f"{' and '.join(found) or 'none'} among {', '.join(keys)}; rename or remove keys"
        )
    return found[0]


def _read_by_ase(path: Path) -> list[np.ndarray]:
    """Atomic numbers, positions, energies and forces as they are in the file."""
    numbers: np.ndarray | None = None
    positions, energies, forces = [], [], []
    try:
        for frame, (atoms, results) in enumerate(_database(path) if path.suffix == ".db" else _xyz(path)):
            if numbers is None:
                numbers = atoms.numbers
            if not np.array_equal(numbers, atoms.numbers):
                raise UserError(mixed(path.name, frame))
            if atoms.pbc.any():
                raise UserError(
                    f"frames must be of a molecule in free space, frame {frame} of {path.name} is periodic; "
                    'write it without a lattice, or with pbc="F F F"'
                )
            missing = [name for name in ("energy", "forces") if results.get(name) is None]
            if missing:
                raise UserError(
                    f"every frame must have an energy and forces, frame {frame} of {path.name} has no "
                    f"{' and no '.join(missing)}; write them with ASE under the names energy and forces"
                )
            positions.append(atoms.positions)
            energies.append(float(np.asarray(results["energy"]).item()))
            forces.append(np.asarray(results["forces"]))
            if forces[-1].shape != positions[-1].shape:
                raise UserError(
                    f"forces must have the shape of the positions, {positions[-1].shape}, frame {frame} of {path.name} "
                    f"has {forces[-1].shape}; correct the file"
                )
    except UserError:
        raise
    except (ValueError, KeyError, IndexError, OSError, TypeError, EOFError, sqlite3.Error) as error:
        raise UserError(
            f"{path} must be what ASE reads as {path.suffix}, frame {len(energies)} cannot be read ({error!r}); "
            "correct the file, or convert it to npz"
        ) from None
    if numbers is None:
        raise UserError(f"{path} must hold at least one frame, got none; check how it was written")
    return [numbers, np.array(positions), np.array(energies), np.array(forces)]


def _xyz(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Atoms and results, frame by frame."""
    from ase.io import iread

    for atoms in iread(path, index=":", format="extxyz"):
        yield atoms, atoms.calc.results if atoms.calc else {}


def _database(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Atoms and results, row by row; schnetpack keeps its results in `data`."""
    from ase.db import connect

    for row in connect(path, type="db").select():
        yield row.toatoms(), {**row.data, **{name: row[name] for name in ("energy", "forces") if name in row}}
