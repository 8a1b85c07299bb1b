"""What MOSES measures of one molecule, and how SELFIES are read: RDKit's work, in as many processes as there are cores.

Definitions are those of Polykovskiy et al. 2020 (arXiv 1811.12823) as the package molsets 0.3.1 computes them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import joblib
import numpy as np
import selfies
from rdkit import Chem, RDConfig, rdBase
from rdkit.Chem import QED, Crippen, Descriptors, rdFingerprintGenerator
from rdkit.Chem.Scaffolds import MurckoScaffold

from chemscale_bench.data.smiles import String

Result = TypeVar("Result")

BITS, RADIUS = 1024, 2  # of Morgan fingerprints
ALLOWED = {"C", "N", "S", "O", "F", "Cl", "Br", "H"}
SMALLEST_LARGE_RING, SCAFFOLD_RINGS = 8, 2
UNLIMITED = 1000  # bonds of an atom
CHUNK = 200  # molecules that a process takes at once
FEW = 1000  # molecules up to which further processes take longer to start than they save


class Read(NamedTuple):
    """What a string stands for."""

    smiles: str
    """Canonical SMILES; empty if it stands for no molecule."""
    raw_valid: bool
    """Whether RDKit also takes what it stands for where selfies corrects no valences; of SMILES the same."""


class Features(NamedTuple):
    """What is measured of a molecule."""

    fingerprint: np.ndarray
    """Morgan fingerprint of radius 2, 1,024 bits: uint64 [16]."""
    fragments: list[str]
    """SMILES of its BRICS fragments."""
    scaffold: str
    """SMILES of its Murcko scaffold; empty for one of fewer than two rings."""
    properties: tuple[float, ...]
    """Those of `PROPERTIES`, in this order."""
    passes: bool
    """Whether it passes MOSES' filters; True where that was not asked for."""


PROPERTIES = ("logp", "sa", "qed", "weight")
"""Crippen's logP; synthetic accessibility, 1 (easy) to 10; drug-likeness, 0 to 1; molecular weight (g/mol)."""


def in_parallel(
    work: Callable[[list[str]], list[Result]], texts: list[str], progress: Callable[[int], object]
) -> list[Result]:
    """What `work` makes of every text, in order; `progress` is told how many more are done."""
    chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
    jobs = 1 if len(texts) <= FEW else joblib.cpu_count()
    done: list[Result] = []
    # loky's processes do not import the user's main script, and end with this one.
    results: Iterator[list[Result]] = joblib.Parallel(jobs, return_as="generator")(
        joblib.delayed(work)(chunk) for chunk in chunks
    )
    for part in results:
        done += part
        progress(len(part))
    return done


def read_selfies(strings: list[str]) -> list[Read]:
    """Decode SELFIES as training data were encoded, and again with the limits of valences off."""
    smiles = [canonical(decoded(string)) for string in strings]
    before = selfies.get_semantic_constraints()
    try:
        selfies.set_semantic_constraints(dict.fromkeys(before, UNLIMITED))
        raw = [bool(canonical(decoded(string))) for string in strings]
    finally:
        selfies.set_semantic_constraints(before)
    return [Read(*pair) for pair in zip(smiles, raw, strict=True)]


def read_smiles(strings: list[str]) -> list[Read]:
    """Read SMILES, which nobody corrects."""
    smiles = [canonical(string) for string in strings]
    return [Read(each, bool(each)) for each in smiles]


READERS: dict[String, Callable[[list[str]], list[Read]]] = {"selfies": read_selfies, "smiles": read_smiles}
"""By how molecules are written."""


def decoded(string: str) -> str:
    """The SMILES of a SELFIES; empty where it has none."""
    try:
        return str(selfies.decoder(string))
    except (selfies.DecoderError, ValueError, RecursionError):
        return ""


def canonical(smiles: str) -> str:
    """Canonical SMILES; empty where RDKit takes the text for no molecule of at least one atom."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        return str(Chem.MolToSmiles(molecule)) if molecule is not None else ""


def measure(smiles: list[str]) -> list[Features]:
    """The features of valid molecules."""
    return [features(Chem.MolFromSmiles(each), filtered=True) for each in smiles]


def measure_reference(smiles: list[str]) -> list[Features]:
    """The same without the filters, which nobody asks of a reference and which take half of the time."""
    return [features(Chem.MolFromSmiles(each), filtered=False) for each in smiles]


def features(molecule: Chem.Mol, filtered: bool) -> Features:
    """What is measured of one molecule."""
    bits = fingerprints().GetFingerprintAsNumPy(molecule).astype(np.uint8)
    return Features(
        np.packbits(bits, bitorder="little").view(np.uint64),
        str(Chem.MolToSmiles(Chem.FragmentOnBRICSBonds(molecule))).split("."),
        scaffold(molecule),
        tuple(float(score(molecule)) for score in scores()),
        not filtered or passes_filters(molecule),
    )


@cache
def fingerprints() -> Any:
    """RDKit's generator of Morgan fingerprints."""
    return rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


@cache
def scores() -> tuple[Any, ...]:
    """What computes each of `PROPERTIES`."""
    properties: Any = Crippen, QED, Descriptors
    logp, drug_likeness, weight = properties
    return logp.MolLogP, accessibility(), drug_likeness.qed, weight.MolWt


def accessibility() -> Callable[[Chem.Mol], float]:
    """The score of Ertl and Schuffenhauer 2009 (doi 10.1186/1758-2946-1-8), which RDKit carries as a script."""
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("sascorer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    score: Callable[[Chem.Mol], float] = module.calculateScore
    return score


def scaffold(molecule: Chem.Mol) -> str:
    """SMILES of the Murcko scaffold; empty for one of fewer than two rings."""
    try:
        found = MurckoScaffold.GetScaffoldForMol(molecule)
    except (ValueError, RuntimeError):
        return ""
    return str(Chem.MolToSmiles(found)) if found.GetRingInfo().NumRings() >= SCAFFOLD_RINGS else ""


@cache
def filters() -> list[Chem.Mol]:
    """MOSES' medicinal chemistry filters and PAINS, in moses_filters.smarts."""
    lines = (Path(__file__).parent / "moses_filters.smarts").read_text().splitlines()
    return [Chem.MolFromSmarts(line.split("\t")[0]) for line in lines if not line.startswith("# ")]


def passes_filters(molecule: Chem.Mol) -> bool:
    """Whether it has no large ring, charge, rare element or unwanted group."""
    if any(len(ring) >= SMALLEST_LARGE_RING for ring in molecule.GetRingInfo().AtomRings()):
        return False
    if any(atom.GetFormalCharge() != 0 or atom.GetSymbol() not in ALLOWED for atom in molecule.GetAtoms()):
        return False
    with_hydrogens = Chem.AddHs(molecule)
    return not any(with_hydrogens.HasSubstructMatch(pattern) for pattern in filters())
