"""Frames that ASE reads: .extxyz, .xyz and databases, its own and schnetpack's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chemscale_bench.data.frame_raw import CHARGE, MULTIPLICITY, Keys, Raw
from chemscale_bench.errors import UserError


class Row(NamedTuple):
    """A frame as ASE reads it."""

    atoms: Any
    results: dict[str, Any]
    """All that it holds, energies and forces among it, under whatever names."""
    about: dict[str, Any]
    units: dict[str, str]
    """By the names of the results, where the file tells them."""


def read_by_ase(path: Path, keys: Keys, forces: bool) -> Raw:
    """The frames as they are in the file, with forces if they are wanted or there; single atoms are kept apart."""
    rows, atoms, notes = 0, dict[int, float](), list[str]()
    frames: list[tuple[Any, float, Any]] = []
    about: dict[str, Any] = {}
    electrons: dict[str, list[Any]] = {}
    names: tuple[str, str] | None = None
    try:
        for row in _database(path) if path.suffix == ".db" else _xyz(path):
            single = len(row.atoms) == 1
            if row.atoms.pbc.any():
                raise UserError(
                    f"frames must be of a molecule in free space, frame {rows} of {path.name} is periodic; "
                    'write it without a lattice, or with pbc="F F F"'
                )
            energy_name, force_name = _names(row.results, rows, path, keys, forces and not single)
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
                pull = np.asarray(row.results[force_name]) if force_name else None
                if pull is not None and pull.shape != row.atoms.positions.shape:
                    raise UserError(
                        f"forces must have the shape of the positions, {row.atoms.positions.shape}, frame {rows} of "
                        f"{path.name} has {pull.shape}; correct the file"
                    )
                frames.append((row.atoms, energy, pull))
                of_labels = {"energy_unit": row.units.get(energy_name), "force_unit": row.units.get(force_name)}
                about = about or of_labels | row.about
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
    if names != ("energy", "forces"):
        notes.append(f"{path.name} has {_in_words(*names)}")
    molecules, energies, forces_of = zip(*frames, strict=True)
    first = molecules[0].numbers
    several = not all(np.array_equal(first, each.numbers) for each in molecules)
    joined = np.concatenate if several else np.array
    return Raw(
        joined([each.numbers for each in molecules]) if several else first,
        joined([each.positions for each in molecules]), np.array(energies), joined(forces_of) if names[1] else None,
        about | _told(electrons, path), atoms, notes, np.array([len(each) for each in molecules]) if several else None,
    )  # fmt: skip


def _told(electrons: dict[str, list[Any]], path: Path) -> dict[str, list[Any]]:
    """Charges and multiplicities that frames tell.

    A frame that does not tell its charge among others that do is neutral, one without a multiplicity is unclear.

    Raises:
        UserError: if it is unclear.
    """
    told = {
        key: [0 if value is None and key in CHARGE else value for value in values]
        for key, values in electrons.items()
        if any(value is not None for value in values)
    }
    for key, values in told.items():
        if any(value is None for value in values):
            raise UserError(f"every frame must tell its {key}, {path.name} has frames that do not; add it to all")
    return told


def _names(results: dict[str, Any], frame: int, path: Path, keys: Keys, wanted: bool) -> tuple[str, str]:
    """Under which names a frame has its energy and forces (`REF_energy`, say); no name where there are no forces.

    Raises:
        UserError: there is no energy, or more than one, or nothing under a key that was stated.
    """
    present = ", ".join(name for name in results if name not in ("numbers", "positions")) or "nothing"
    for name, key in keys._asdict().items():
        if key and key not in results and (wanted or name == "energy_key"):
            raise UserError(
                f"{name} must be what every frame has, frame {frame} of {path.name} has {present}, not {key}"
            )
    labels = [name for name in results if name in ("energy", "forces") or name.endswith(("_energy", "_forces"))]
    found = [name for name in labels if name.endswith("energy")]
    if "energy" in found:  # of a calculator, perhaps beside MACE's name for what it learns
        found = [name for name in found if name in ("energy", "REF_energy")]
    found = [keys.energy_key] if keys.energy_key else [name for name in found if name != "free_energy"] or found
    if len(found) != 1:
        missing = "no energy" if any(name.endswith("forces") for name in labels) else "no energy and no forces"
        raise UserError(
            f"every frame must have one energy, frame {frame} of {path.name} has {' and '.join(found) or missing} "
            f"among {present}; say which is meant with energy_key= (and forces_key=)"
        )
    if keys.forces_key:
        return found[0], keys.forces_key if keys.forces_key in results else ""
    forces = found[0].removesuffix("energy") + "forces" if found[0].endswith("energy") else "forces"
    if forces not in results and any(name.endswith("forces") for name in labels):
        others = ", ".join(name for name in labels if name.endswith("forces"))
        raise UserError(
            f"energy and forces must have names that belong together, frame {frame} of {path.name} has {found[0]} and "
            f"{others}; say which is meant with forces_key="
        )
    return found[0], forces if forces in results else ""


def _in_words(energy: str, forces: str) -> str:
    return f"{energy} and {forces or 'no forces'}"


def _xyz(path: Path) -> Iterator[Row]:
    """Frame by frame; ASE takes energy and forces for results of a calculator, other names as they are."""
    from ase.io import iread

    for atoms in iread(path, index=":", format="extxyz"):
        yield Row(atoms, {**atoms.info, **atoms.arrays, **(atoms.calc.results if atoms.calc else {})}, atoms.info, {})


def _database(path: Path) -> Iterator[Row]:
    """Row by row; schnetpack keeps its results in `data`, and its units in the metadata."""
    from ase.db import connect

    database = connect(path, type="db")
    units = database.metadata.get("_property_unit_dict", {})
    length = {"length_unit": database.metadata.get("_distance_unit")}
    for row in database.select():
        held = {**row.data, **row.key_value_pairs}
        results = held | {name: row[name] for name in ("energy", "forces") if name in row}
        yield Row(row.toatoms(), results, length | held, units)
