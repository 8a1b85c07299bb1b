"""The named data sets: how large, under which licence, and what of them is already in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chemscale_bench.data import ani1x, rmd17
from chemscale_bench.data.cache import home
from chemscale_bench.data.sources import DOWNLOADS, WHEELS
from chemscale_bench.data.store import Manifest


class DataSet(NamedTuple):
    """A data set that tasks name."""

    size: str
    licence: str
    here: Callable[[], str]
    """What of it is in the cache, in words."""


def molecules_here(name: str) -> str:
    """What is here of a set of molecules."""
    known = (Manifest.read(folder) for folder in (home() / "tokens").glob(f"{name}-*"))
    tokens = max((manifest.total("train")[1] for manifest in known if manifest), default=0)
    if tokens:
        return f"{tokens:.2g} training tokens prepared"
    if name in WHEELS:
        return "downloaded" if WHEELS[name].here() else "to be downloaded, from a package index"
    if name not in DOWNLOADS:
        return "no download"
    return downloaded(DOWNLOADS[name].file_name)


def frames_here() -> str:
    """What is here of rMD17, whose archive has both labels."""
    molecules = len(list((home() / "frames" / "rmd17").glob("rmd17_*.npz")))
    if molecules:
        return f"{molecules} of 10 molecules unpacked"
    return downloaded(rmd17.FILE_NAME)


def sample_here() -> str:
    """What is here of ANI-1x."""
    return "sample drawn" if all(file.exists() for file in ani1x.kept()) else downloaded(ani1x.FILE_NAME)


def downloaded(file_name: str) -> str:
    """Whether a file is in the cache."""
    return "downloaded" if (home() / "downloads" / file_name).exists() else "to be downloaded"


DATA_SETS: dict[tuple[str, str], DataSet] = {
    ("language_model", "pubchem10m"): DataSet(
        "10,000,000 molecules", "public domain (PubChem)", lambda: molecules_here("pubchem10m")
    ),
    ("language_model", "pubchem"): DataSet(
        "all of PubChem, over 100 million molecules", "public domain (PubChem)", lambda: molecules_here("pubchem")
    ),
    ("language_model", "moses"): DataSet(
        "1,584,663 molecules and two test sets", "MIT (MOSES)", lambda: molecules_here("moses")
    ),
    ("language_model", "embedded"): DataSet(
        "about 16,000 molecules", "BSD-3-Clause (RDKit)", lambda: molecules_here("embedded")
    ),
    ("force_field", "rmd17"): DataSet("10 molecules x 100,000 frames", "CC0 (rMD17)", frames_here),
    ("force_field", "md17"): DataSet("10 molecules x 100,000 frames", "CC0 (rMD17)", frames_here),
    ("force_field", "ani1x"): DataSet("111,000 frames of 5 million, 5.6 GB to download", "CC0 (ANI-1x)", sample_here),
    ("force_field", "embedded"): DataSet("3 molecules, in the package", "MIT (this package)", lambda: "no download"),
}
"""By the family of task and the name."""
