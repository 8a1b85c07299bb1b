"""ANI-1x: five million structures of organic molecules; here a random sample of them, tested on other formulas."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
from filelock import FileLock

from chemscale_bench.data.cache import home, writing
from chemscale_bench.data.download import fetch
from chemscale_bench.data.frame_units import ENERGY_UNITS
from chemscale_bench.data.mixtures import Mixture
from chemscale_bench.data.structures import formula_of
from chemscale_bench.errors import UserError
from chemscale_bench.progress import progress_bar

FILE_NAME = "ani1x-release.h5"
URLS = ("https://ndownloader.figshare.com/files/18112775",)  # Figshare article 10047041 (CC0), 5.6 GB
SHA256 = "fe0ba06198ee72cf1003deebab2652097f6ab518337784dc811fa7da0c3bf5ac"
WITHOUT = "use task=rmd17-joint-ff, or data=/path/to/frames.npz with energy_unit and length_unit"
FRAMES = {"train": 100_000, "validation": 1_000, "test": 10_000}
"""How many of each are kept."""
HELD_OUT = {"test": 0.05, "validation": 0.05}
"""Shares of the chemical formulas, no structure of which is in another part."""
COLUMNS = ("coordinates", "wb97x_dz.energy", "wb97x_dz.forces")
"""Angstrom, Hartree, Hartree/Angstrom (wB97X/6-31G*), a row for each structure."""
KEPT = ("sizes", "numbers", "positions", "energies", "forces", "names")


def ani1x_frames() -> tuple[Mixture, Mixture]:
    """The pool, training frames and then those that validate, and the test frames.

    The first n of each part are a uniform sample of its formulas' structures, for every n. The sample is made once, a
    few minutes, and kept in the cache; the download is not read again.

    Raises:
        UserError: no download, or files that aren't what they should be.

    Source:
        Smith, Zubatyuk, Nebgen et al., Sci. Data 7, 134 (2020); a sample by formulas, as its authors have no split.
    """
    files = kept()
    folder = files[0].parent
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # workers of a study begin at once
        if not all(file.exists() for file in files):
            parts = _sample(fetch(FILE_NAME, URLS, SHA256, WITHOUT))
            pool = Mixture.joined([parts["train"], parts["validation"]])
            for file, mixture in zip(files, (pool, parts["test"]), strict=True):
                _keep(file, mixture)
    try:
        pool, test = (_read(file) for file in files)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"the files in {folder} must be a sample of ANI-1x, they are damaged ({error}); delete it"
        ) from None
    return pool, test


def check_validation(frames: int) -> None:
    """Refuse another number of validation frames than there are with formulas of their own.

    Raises:
        UserError: it would take training frames, or train on frames set apart.
    """
    if frames != FRAMES["validation"]:
        raise UserError(f"validation_frames must be {FRAMES['validation']} in ani1x, got {frames}; mend the task")


def kept() -> list[Path]:
    """Where the pool and the test frames are, once they are drawn."""
    sizes = "-".join(str(frames) for frames in FRAMES.values())
    return [home() / "frames" / "ani1x" / f"{name}-{sizes}.npz" for name in ("pool", "test")]


def part_of(formula: str) -> str:
    """Which part a formula's structures belong to, by its hash alone."""
    share = int.from_bytes(hashlib.sha256(formula.encode()).digest()[:8]) / 2**64
    for part, bound in HELD_OUT.items():
        if share < bound:
            return part
        share -= bound
    return "train"


def _sample(archive: Path) -> dict[str, Mixture]:
    """Random structures of each part, in random order."""
    try:
        with h5py.File(archive, "r") as file:
            rows: dict[str, dict[str, np.ndarray]] = {part: {} for part in FRAMES}
            total = 0
            for name, group in sorted(file.items()):  # one for each formula
                energies, forces = (group[column][()] for column in COLUMNS[1:])
                labelled = np.isfinite(energies) & np.isfinite(forces).all(axis=(1, 2))
                rows[part_of(formula_of(group["atomic_numbers"][()]))][name] = np.flatnonzero(labelled)
                total += len(labelled)
            usable = sum(len(found) for of_part in rows.values() for found in of_part.values())
            print(
                f"ANI-1x: {total - usable:,} of {total:,} structures have no energy or no forces by this method and "
                "are left out",
                file=sys.stderr,
            )
            return {part: _part(file, part, found) for part, found in rows.items()}
    except (OSError, KeyError) as error:
        raise UserError(
            f"{archive} must be the HDF5 file of ANI-1x, it cannot be read ({error}); delete it to download it again"
        ) from None


def _part(file: h5py.File, part: str, rows: dict[str, np.ndarray]) -> Mixture:
    """As many as are kept of the rows of each group."""
    ends = np.cumsum([len(found) for found in rows.values()])
    total = int(ends[-1]) if rows else 0
    if total < FRAMES[part]:
        raise UserError(
            f"{file.filename} must have {FRAMES[part]:,} structures for {part}, it has {total:,}; delete it"
        )
    chosen = np.random.RandomState(1).permutation(total)[: FRAMES[part]]
    group = np.searchsorted(ends, chosen, side="right")
    mixtures = []
    for at, (name, found) in enumerate(progress_bar(rows.items(), desc=f"ANI-1x, {part}")):
        of_group = np.sort(chosen[group == at]) - (ends[at] - len(found))
        if len(of_group):
            mixtures.append(_structures(file, name, found[of_group]))
    return Mixture.joined(mixtures).take(np.argsort(np.argsort(chosen)))


def _structures(file: h5py.File, name: str, rows: np.ndarray) -> Mixture:
    """Some structures of one formula, rows ascending."""
    group = file[name]
    numbers = group["atomic_numbers"][()]
    positions, energies, forces = (group[column][()][rows] for column in COLUMNS)
    return Mixture.checked(
        np.full(len(rows), len(numbers)), np.tile(numbers, len(rows)), positions.reshape(-1, 3), energies,
        forces.reshape(-1, 3), f"{FILE_NAME} {name}", ENERGY_UNITS["Hartree"],
    )  # fmt: skip


def _keep(file: Path, mixture: Mixture) -> None:
    """Write a sample to a temporary name and rename it."""
    with writing(file.parent):
        draft = file.with_name(f".{file.name}")
        np.savez(draft, allow_pickle=False, **{column: np.array(getattr(mixture, column)) for column in KEPT})
        draft.replace(file)


def _read(file: Path) -> Mixture:
    """A sample as it was kept."""
    with np.load(file, allow_pickle=False) as arrays:
        columns = {column: arrays[column] for column in KEPT}
    return Mixture(**{**columns, "names": tuple(columns["names"].tolist())})
