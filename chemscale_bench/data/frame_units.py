"""Units of the user's frames: as stated, as the file declares them, and what they are worth."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

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
FORCE_UNITS = {f"{e}/{x}": size / length for e, size in ENERGY_UNITS.items() for x, length in LENGTH_UNITS.items()}
"""In eV/Angstrom."""
TABLES: dict[str, Mapping[str, float]] = {
    "energy_unit": ENERGY_UNITS,
    "length_unit": LENGTH_UNITS,
    "force_unit": FORCE_UNITS,
}
DECLARED = {
    "energy_unit": ("e_unit", "energy_unit", "energy_units", "unit_energy"),
    "length_unit": ("r_unit", "length_unit", "length_units", "distance_unit", "_distance_unit", "position_unit"),
    "force_unit": ("f_unit", "force_unit", "force_units", "forces_unit", "unit_forces"),
}
"""Names under which files tell their units: sGDML's, schnetpack's and others."""
OTHER_NAMES = {
    "ang": "Angstrom", "a": "Angstrom", "\u00e5": "Angstrom", "angstroms": "Angstrom", "a0": "Bohr", "ha": "Hartree",
    "eh": "Hartree", "hartrees": "Hartree", "kcal mol-1": "kcal/mol", "kj mol-1": "kJ/mol", "nanometer": "nm",
}  # fmt: skip


class Units(NamedTuple):
    """What the user says of a file; nothing where the file says so itself."""

    energy_unit: str = ""
    length_unit: str = ""
    force_unit: str = ""


def size_of(name: str, value: str) -> float:
    """The size of a stated unit.

    Args:
        name: the parameter, for errors.
        value: what the user stated.

    Raises:
        UserError: it is not known.
    """
    units = TABLES[name]
    known = ", ".join(units)
    if value not in units:
        lowered = {key.lower(): key for key in units}
        near = difflib.get_close_matches(value.lower(), lowered, n=1, cutoff=0.4)
        hint = f"did you mean {lowered[near[0]]}?" if near else "convert the file"
        raise UserError(f"{name} must be one of {known}, got {value!r}; {hint}")
    return units[value]


def refuse_unstated(units: Units, named: tuple[str, ...]) -> None:
    """Refuse frames whose energies or positions are in a unit that nobody tells; both at once, if both are missing.

    Args:
        units: those that the user states or the file declares.
        named: data sets that need none, for the error.

    Raises:
        UserError: naming what is missing.
    """
    missing = [name for name in ("energy_unit", "length_unit") if not getattr(units, name)]
    if missing:
        known = "; ".join(", ".join(TABLES[name]) for name in missing)
        raise UserError(
            f"{' and '.join(missing)} must be stated for frames of your own ({known}), got none; units are never "
            f"guessed: add {' and '.join(f'{name}=...' for name in missing)}, or use data={' or '.join(named)}"
        )


def agreed(name: str, stated: str, about: Mapping[str, Any], origin: str, notes: list[str]) -> str:
    """The unit that the user states or the file declares.

    Args:
        name: the parameter, one of `Units`.
        stated: what the user states; nothing where it is left to the file.
        about: what the file says besides its numbers.
        origin: for errors.
        notes: gets a remark on a unit that is not known here.

    Raises:
        UserError: the two are not the same.
    """
    known = TABLES[name]
    keys = [key for key in DECLARED[name] if about.get(key) is not None]
    if not keys:
        return stated
    said = str(about[keys[0]]).strip()
    lowered = {key.lower(): key for key in known} | {key: value for key, value in OTHER_NAMES.items() if value in known}
    if name == "force_unit" and "/" in said:
        energy, _, length = said.rpartition("/")
        said = f"{OTHER_NAMES.get(energy.lower(), energy)}/{OTHER_NAMES.get(length.lower(), length)}"
    declared = lowered.get(said.lower())
    if declared is None:
        notes.append(f"{origin} declares the {name} {said!r}, which is not known here: {stated or 'none'} counts")
        return stated
    if stated and not np.isclose(known[stated], known[declared]):
        raise UserError(
            f"{name} must be what the file says, {origin} declares {declared} ({keys[0]}), got {stated}; "
            "leave it out, or correct the file"
        )
    return declared
