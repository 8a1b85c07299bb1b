"""Revised MD17 and the original labels of the same frames: one archive, official splits, and how to recognise them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from tqdm import tqdm

from chemscale_bench.data.cache import home, writing
from chemscale_bench.data.download import fetch
from chemscale_bench.data.frame_units import ENERGY_UNITS
from chemscale_bench.data.mixtures import FrameSet
from chemscale_bench.data.structures import Frames
from chemscale_bench.errors import UserError, did_you_mean
from chemscale_bench.progress import watched

FILE_NAME = "rmd17.tar.bz2"
# Figshare article 12672038 (CC0), and its twin in the Materials Cloud Archive, doi 10.24435/materialscloud:wy-kn.
URLS = (
    "https://figshare.com/ndownloader/files/23950376",
    "https://archive.materialscloud.org/records/pfffs-fff86/files/rmd17.tar.bz2?download=1",
)
SHA256 = "cddeea2ec2c4b22a9de16a9a65a3eeedac5b29da9c99c20bbff0153912bf922b"
WITHOUT = "use task=embedded-ff, or data=/path/to/frames.npz with test_data, energy_unit and length_unit"
LABELS = {"rmd17": ("energies", "forces"), "md17": ("old_energies", "old_forces")}
MOLECULES = (
    "aspirin",
    "azobenzene",
    "benzene",
    "ethanol",
    "malonaldehyde",
    "naphthalene",
    "paracetamol",
    "salicylic",
    "toluene",
    "uracil",
)
SPLITS = range(1, 6)


class Official(NamedTuple):
    """An official split."""

    data: str
    """rmd17 or md17."""
    molecule: str
    split: int


def split_digest(pool: FrameSet, test: FrameSet) -> str:
    """What identifies a split, whatever train_size is taken: sha256 over both digests of frames, `"<test> <pool>"`."""
    return hashlib.sha256(f"{test.digest} {pool.digest}".encode()).hexdigest()


def official(digest: str) -> Official | None:
    """The official split with this `split_digest`, if it is one: all molecules, both labels, splits 1 to 5."""
    return _pinned().get(digest)


def official_frames(data: str, molecule: str, split: int) -> tuple[Frames, Frames]:
    """The official training and test frames, both in the order of the archive.

    Args:
        data: rmd17 for the revised labels (PBE/def2-SVP), md17 for the original ones (PBE+vdW-TS).
        molecule: one of `MOLECULES`.
        split: 1 to 5.

    Raises:
        UserError: unknown molecule or split, no download, or a cached file that isn't what it should be.

    Source:
        Christensen and von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020).
    """
    check_choice("molecule", molecule, MOLECULES, data)
    if split not in SPLITS:
        raise UserError(f"split must be from 1 to {SPLITS[-1]} in {data}, got {split}; choose one of the official ones")
    folder = home() / "frames" / "rmd17"
    names = [f"npz_data/rmd17_{molecule}.npz", f"splits/index_train_0{split}.csv", f"splits/index_test_0{split}.csv"]
    missing = [name for name in names if not (folder / Path(name).name).exists()]
    if missing:
        _extract(fetch(FILE_NAME, URLS, SHA256, WITHOUT), missing, folder)
    try:
        pool, test = _read(data, *(folder / Path(name).name for name in names))
    except (ValueError, IndexError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"the files in {folder} must be those of rMD17, they are damaged ({error}); delete it"
        ) from None
    pinned = {frames: digest for digest, frames in _pinned().items()}.get(Official(data, molecule, split))
    if pinned not in (None, split_digest(pool, test)):
        raise UserError(
            f"the frames of {data} {molecule} split {split} must have the digest {pinned}, those in {folder} have "
            f"{split_digest(pool, test)}; delete the folder to extract them again"
        )
    return pool, test


def check_choice(name: str, value: str, known: tuple[str, ...], data: str) -> None:
    """Refuse what is not among the known.

    Raises:
        UserError: naming the nearest.
    """
    if value not in known:
        hint = did_you_mean(value, known, "choose one of them, or give your own frames as data")
        raise UserError(f"{name} must be one of {', '.join(known)} in {data}, got {value!r}; {hint}")


@cache
def _pinned() -> dict[str, Official]:
    tables = json.loads((Path(__file__).parent / "official_frames.json").read_text())
    return {
        digest: Official(data, molecule, split)
        for data, molecules in tables.items()
        for molecule, digests in molecules.items()
        for split, digest in enumerate(digests, 1)
    }


def _read(data: str, arrays: Path, *splits: Path) -> list[Frames]:
    """Training and test frames of one file of the archive, kcal/mol converted to eV."""
    energies, forces = LABELS[data]
    with np.load(arrays, allow_pickle=False) as file:
        numbers, positions = file["nuclear_charges"], file["coords"]
        energies, forces = file[energies], file[forces]
    # The frames' own order is random in time. Ascending makes the result independent of how the lists are written.
    rows = [np.sort(np.loadtxt(split).astype(np.int64).ravel()) for split in splits]
    scale = ENERGY_UNITS["kcal/mol"]
    return [Frames.checked(numbers, positions[at], energies[at], forces[at], arrays.name, scale) for at in rows]


def _extract(archive: Path, names: list[str], folder: Path) -> None:
    """Copy single members out of the archive, each to a temporary name and renamed; no path of the archive is used."""
    missing = {f"rmd17/{name}" for name in names}
    shown: dict[str, Any] = {"desc": f"extracting from {FILE_NAME}", "file": sys.stderr, "disable": not watched()}
    with (
        writing(folder),
        archive.open("rb") as raw,
        tqdm.wrapattr(raw, "read", total=archive.stat().st_size, **shown) as stream,
        tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|bz2") as members,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for member in members:
            content = members.extractfile(member) if member.isfile() and member.name in missing else None
            if content is None:
                continue
            with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
                try:
                    shutil.copyfileobj(content, part)
                except BaseException:
                    os.unlink(part.name)
                    raise
            os.replace(part.name, folder / Path(member.name).name)
            missing.remove(member.name)
            if not missing:
                return
    raise UserError(f"{archive} must hold {', '.join(sorted(missing))}, it does not; delete it to download it again")
