"""What a file of frames holds before it is checked: arrays in its own units, and under which keys they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

CHARGE, MULTIPLICITY = ("charge", "total_charge"), ("spin", "multiplicity", "spin_multiplicity")


class Keys(NamedTuple):
    """Under which keys the user says that the labels are; nothing where the usual ones are looked for."""

    energy_key: str = ""
    forces_key: str = ""


USUAL = Keys()


@dataclass
class Raw:
    """What a file holds, in its own units; of several molecules, all atoms are one after another."""

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    forces: np.ndarray | None
    about: dict[str, Any] = field(default_factory=dict)
    """What else it says: units, charge, multiplicity."""
    atoms: dict[int, float] = field(default_factory=dict)
    """Energies of single atoms by atomic number."""
    notes: list[str] = field(default_factory=list)
    sizes: np.ndarray | None = None
    """Atoms of each frame, where they are of several molecules."""
