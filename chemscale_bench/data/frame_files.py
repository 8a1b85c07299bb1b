"""The user's own frames: .npz, .extxyz, .xyz and ASE databases, in units that the user or the file states."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chemscale_bench.data.frame_ase import read_by_ase
from chemscale_bench.data.frame_raw import CHARGE, MULTIPLICITY, USUAL, Keys, Raw
from chemscale_bench.data.frame_units import DECLARED, Units, agreed, refuse_unstated, size_of
from chemscale_bench.data.mixtures import FrameSet, Mixture
from chemscale_bench.data.references import ReferenceEnergies
from chemscale_bench.data.structures import Frames
from chemscale_bench.errors import UserError

SPELLINGS = {
    "atomic numbers": ("z", "Z", "numbers", "atomic_numbers", "nuclear_charges"),
    "positions": ("R", "coords", "positions"),
    "energies": ("E", "energies", "energy", "REF_energy"),
    "forces": ("F", "forces", "REF_forces"),
}
SUFFIXES = (".npz", ".extxyz", ".xyz", ".db")


def read_frames(
    path: Path, stated: Units, named: tuple[str, ...], forces: bool = True, keys: Keys = USUAL
) -> tuple[FrameSet, Units, list[str]]:
    """All frames of a file in its order, the units that it is in, and what a reader should know of it.

    In an npz of several molecules, rows of atomic numbers (frames, atoms) end in zeros where a molecule has fewer atoms
    than the largest one, and the other arrays have something there that is not read.

    Args:
        path: .npz (keys as in MD17, rMD17 or ASE), .extxyz, .xyz, or an ASE database .db.
        stated: units; the file may tell those that are not.
        named: data sets that need no units, for errors.
        forces: whether every frame must have forces.
        keys: of energies and forces, where they are not the usual ones.

    Raises:
        UserError: the file is missing or unreadable, what it holds is no set of frames, or a unit is not told, not
            known, or not the one that the file tells.
    """
    if not path.is_file():
        raise UserError(f"frames must be an existing file, got {path}; check the path")
    if path.suffix not in SUFFIXES:
        raise UserError(f"a file of frames must end in {', '.join(SUFFIXES)}, got {path.name}; convert it, as with ASE")
    if not path.stat().st_size:
        raise UserError(f"a file of frames must not be empty, got {path}; check how it was written")
    for name, value in stated._asdict().items():
        if value:  # a wrong word of the user's is told before a large file is read
            size_of(name, value)
    raw = _read_npz(path, keys, forces) if path.suffix == ".npz" else read_by_ase(path, keys, forces)
    told = {name: agreed(name, value, raw.about, path.name, raw.notes) for name, value in stated._asdict().items()}
    units = Units(**told)
    refuse_unstated(units, named)
    energy, length = size_of("energy_unit", units.energy_unit), size_of("length_unit", units.length_unit)
    force = size_of("force_unit", units.force_unit) if units.force_unit else None
    if forces and raw.forces is None:
        raise UserError(
            f"every frame to train on must have forces, {path.name} has energies only; give it as test_data, or with "
            "forces"
        )
    scales = path.name, energy, length, force
    frames: FrameSet
    if raw.sizes is not None:
        frames = Mixture.checked(raw.sizes, raw.numbers, raw.positions, raw.energies, raw.forces, *scales)
        _check_electrons(frames, raw, path.name)
        raw.notes.append(f"{path.name}: molecules of different atoms, or in different orders: {frames.formula}")
    else:
        frames = Frames.checked(raw.numbers, raw.positions, raw.energies, raw.forces, *scales)
        frames = _with_electrons(frames, raw, path.name)
        if frames.charge or frames.unpaired:
            raw.notes.append(f"{path.name}: charge {frames.charge:+d} e, unpaired electrons: {frames.unpaired}")
    if set(frames.numbers.tolist()) <= set(raw.atoms):
        single = ReferenceEnergies(0.0, {number: energy * of_atom for number, of_atom in raw.atoms.items()})
        bound = float((frames.energies - single.energies(frames)).mean())
        raw.notes.append(f"{path.name}: mean energy {bound:.4f} eV relative to its {len(raw.atoms)} single atoms")
    elif raw.atoms:
        raw.notes.append(f"{path.name}: {len(raw.atoms)} single atoms are not among the frames")
    if raw.forces is None:
        raw.notes.append(f"{path.name} has no forces: the test measures energies only")
    return frames, units, raw.notes


def _electrons(raw: Raw) -> tuple[Any, Any]:
    """Charge and multiplicity as the file tells them, of all frames or of each; None where it does not."""
    charge, spin = (
        next((raw.about[key] for key in keys if raw.about.get(key) is not None), None)
        for keys in (CHARGE, MULTIPLICITY)
    )
    return charge, spin


def _numbers(told: Any) -> np.ndarray:
    """Charges or multiplicities as float64, or as text if they are no numbers."""
    try:
        return np.asarray(told, float).ravel()
    except (TypeError, ValueError):
        return np.asarray(told, str).ravel()


def _check_electrons(frames: Mixture, raw: Raw, origin: str) -> None:
    """Refuse charges and high spin, which the models of several molecules are not told."""
    charge, spin = (None if value is None else _numbers(value) for value in _electrons(raw))
    lowest = 1 + np.add.reduceat(frames.numbers, frames.starts) % 2
    for name, values, wanted in (("charge", charge, 0 * lowest), ("multiplicity", spin, lowest)):
        if values is None:
            continue
        other = np.flatnonzero(values != wanted) if values.dtype.kind == "f" else np.zeros(1, int)
        if len(other):
            value = str(np.broadcast_to(values, wanted.shape)[other[0]]).removesuffix(".0")
            raise UserError(
                f"frames of several molecules must be neutral, with the fewest unpaired electrons, frame {other[0]} of "
                f"{origin} has {name} {value}; write one file for each molecule, or leave such frames out"
            )


def _with_electrons(frames: Frames, raw: Raw, origin: str) -> Frames:
    """The frames with the charge and the unpaired electrons that the file tells."""
    charge, spin = _electrons(raw)
    values = []
    for name, value in (("charge", charge), ("multiplicity", spin)):
        found = np.unique(_numbers(0 if value is None else value))
        if len(found) != 1 or found.dtype.kind != "f" or not found[0].is_integer():
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


def _read_npz(path: Path, stated: Keys, forces: bool) -> Raw:
    """The arrays as they are in the file, which need not hold forces if none are wanted."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise UserError(f"{path} must be an npz archive of arrays, got a single array; use numpy.savez")
        with loaded as archive:
            keys = list(archive)
            known = {
                **SPELLINGS,
                **{name: (key,) for name, key in zip(("energies", "forces"), stated, strict=True) if key},
            }
            forces = forces or not {*known["forces"]}.isdisjoint(keys)
            wanted = [quantity for quantity in known if forces or quantity != "forces"]
            found = {quantity: archive[_key(quantity, known[quantity], keys, path)] for quantity in wanted}
            told = {*CHARGE, *MULTIPLICITY, *(key for names in DECLARED.values() for key in names)}
            about = {key: archive[key] for key in keys if key in told}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} must be an npz archive of plain arrays, it cannot be read ({error}); pickled objects are never "
            "loaded: write arrays of numbers with numpy.savez"
        ) from None
    return _joined(
        Raw(found["atomic numbers"], found["positions"], found["energies"], found.get("forces"), about), path.name
    )


def _joined(raw: Raw, origin: str) -> Raw:
    """All atoms one after another, if the frames are of several molecules."""
    z, told = raw.numbers, [raw.positions, *([] if raw.forces is None else [raw.forces])]
    if z.ndim != 2 or not z.size or z.dtype.kind not in "iuf" or ((z == z[0]).all() and (z[0] != 0).all()):
        return raw
    if any(values.shape != (*z.shape, 3) or values.dtype.kind not in "iuf" for values in told) or (
        raw.energies.size != len(z) or raw.energies.dtype.kind not in "iuf"
    ):
        raise UserError(
            f"positions and forces must be numbers (frames, atoms, 3) and energies (frames,) where the atomic numbers "
            f"are {z.shape}, {origin} has {', '.join(str(values.shape) for values in (*told, raw.energies))}; reshape "
            "them"
        )
    there, forces = z != 0, raw.forces
    return replace(
        raw, numbers=z[there], positions=raw.positions[there], energies=raw.energies.ravel(),
        forces=None if forces is None else forces[there], sizes=there.sum(1),
    )  # fmt: skip


def _key(quantity: str, spellings: tuple[str, ...], keys: list[str], path: Path) -> str:
    found = [spelling for spelling in spellings if spelling in keys]
    if len(spellings) == 1 and not found:
        name = {"energies": "energy_key", "forces": "forces_key"}[quantity]
        raise UserError(f"{name} must be a key of {path.name}, got {spellings[0]!r}; it has {', '.join(keys)}")
    if len(found) != 1:
        hint = {"energies": ", or give energy_key=", "forces": ", or give forces_key="}.get(quantity, "")
        raise UserError(
            f"{path.name} must hold {quantity} under exactly one of {', '.join(spellings)}, got "
            f"{' and '.join(found) or 'none'} among {', '.join(keys)}; rename or remove keys{hint}"
        )
    return found[0]
