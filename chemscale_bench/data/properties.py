"""Measured properties of molecules that probes are taught: MoleculeNet's small sets by name (Wu et al. 2018)."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from chemscale_bench.data.download import fetch
from chemscale_bench.data.listing import Labelled, labelled
from chemscale_bench.errors import UserError

URL = "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/"


class PropertySet(NamedTuple):
    """A table that is downloaded once."""

    file_name: str
    target: str
    """Its column of values."""
    sha256: str
    """Of its SMILES and values as they are read: copies of the file differ in other columns and in names of these."""


SETS = {
    "esol": PropertySet(
        "delaney-processed.csv",
        "measured log solubility in mols per litre",
        "35a0bac53fc7ff79249436341ad8b5f7a875e7459d9c60c1faef4835b970a838",
    ),
    "freesolv": PropertySet("SAMPL.csv", "expt", "19b6b440ad3cadaa687bdd0848b6d6f03c320a41f4221a4f8ae24dffae58e125"),
    "lipophilicity": PropertySet(
        "Lipophilicity.csv", "exp", "b9ad0f995da7975456626dda9500dba7b56d51503f8237fecd2403a9f597c08f"
    ),
    "bbbp": PropertySet("BBBP.csv", "p_np", "336fcffb6511a94356e6f30248f012206f865abeeee044b57cd0e9dcceed727a"),
    "bace": PropertySet("bace.csv", "Class", "15d6f80bff76c9d990cb9850854b9c35ce0bcd2c34e263fdaf64b7ea71952648"),
}


def read(name: str) -> Labelled:
    """The molecules of a set and their values.

    Raises:
        UserError: if there is no such set, it could not be downloaded, or what is there is not the set.
    """
    if name not in SETS:
        raise UserError(
            f"tasks must be of {', '.join(SETS)}, got {name!r}; for a table of your own give data and target"
        )
    wanted = SETS[name]
    otherwise = "give a table of your own as data, with its target"
    file = fetch(wanted.file_name, (URL + wanted.file_name,), None, otherwise)
    table = labelled(file, wanted.target)
    if (found := digest(table)) != wanted.sha256:
        raise UserError(
            f"{name} must hold the molecules and values with the sha256 {wanted.sha256}, got {found} of {file}; delete "
            "the file to download it again, or give it as data, with its target"
        )
    return table


def digest(table: Labelled) -> str:
    """The sha256 of molecules and values, a line each."""
    lines = (f"{smiles} {value!r}\n" for smiles, value in zip(table.smiles, table.values.tolist(), strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
