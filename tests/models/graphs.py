"""Molecules for the tests of force fields: real frames where there are some, else atoms strewn on a grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chemscale_bench.models.potential import Graph

RMD17 = Path(__file__).parents[3] / "shared" / "data" / "rmd17"
ELEMENTS = (1, 6, 8)
Molecule = tuple[Tensor, Tensor]  # atomic numbers (A,), positions (A, 3) in Angstrom


def frames(name: str, count: int) -> list[Molecule]:
    """Frames of one molecule."""
    path = RMD17 / f"rmd17_{name}_test_01.npz"
    if path.exists():
        with np.load(path) as file:
            numbers, positions = torch.tensor(file["nuclear_charges"]).long(), torch.tensor(file["coords"][:count])
        return [(numbers, frame.double()) for frame in positions]
    rng = np.random.default_rng(0)
    atoms = {"ethanol": 9, "aspirin": 21}[name]
    grid = 1.4 * np.stack(np.meshgrid(*[range(3)] * 3), axis=-1).reshape(-1, 3)[:atoms]
    numbers = torch.tensor(rng.choice(ELEMENTS, atoms))
    return [(numbers, torch.tensor(grid + rng.normal(0, 0.1, grid.shape))) for _ in range(count)]


def graph_of(molecules: list[Molecule], cutoff: float, dtype: torch.dtype = torch.float64) -> Graph:
    """Molecules as one graph, by brute force."""
    numbers_A = torch.cat([numbers for numbers, _ in molecules])
    positions_A3 = torch.cat([positions for _, positions in molecules])
    sizes = torch.tensor([len(numbers) for numbers, _ in molecules])
    structure_A = torch.arange(len(molecules)).repeat_interleave(sizes)
    near_AA = (positions_A3[:, None] - positions_A3).norm(dim=2) < cutoff
    near_AA &= (structure_A[:, None] == structure_A) & ~torch.eye(len(numbers_A), dtype=torch.bool)
    zero_S = torch.zeros(len(molecules), dtype=torch.long)
    return Graph(numbers_A, positions_A3.to(dtype), structure_A, *near_AA.nonzero(as_tuple=True), zero_S, zero_S)
