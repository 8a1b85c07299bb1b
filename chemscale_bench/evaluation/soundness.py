"""Whether a trained potential is sound, on frames of its test split: physics.py and stretching.py by turns."""

from __future__ import annotations

from chemscale_bench.data.mixtures import FrameSet
from chemscale_bench.evaluation.distances import find_bonds, of_one_isomer
from chemscale_bench.evaluation.physics import check
from chemscale_bench.evaluation.stretching import stretch
from chemscale_bench.models.potential import Potential

MOST_MOLECULES = 3  # that are looked at, the most frequent ones
LEAST_IS_WORST = "check/bond_break_ev"


def soundness(potential: Potential, test: FrameSet) -> tuple[dict[str, float], list[str]]:
    """The worst of `physics.check` and `Stretched.metrics` over the molecules, and what to say of weak bonds."""
    worst: dict[str, float] = {}
    warnings, molecules = [], test.molecules(MOST_MOLECULES)
    for molecule in map(of_one_isomer, molecules):
        about = molecule.numbers, molecule.positions[0]
        charge, unpaired = molecule.charge, molecule.unpaired
        physics = check(potential, *about, charge=charge, unpaired=unpaired)
        pulled = stretch(potential, *about, find_bonds(molecule.numbers, molecule.positions), charge, unpaired)
        for name, value in (physics | pulled.metrics).items():
            worst[name] = (min if name == LEAST_IS_WORST else max)(worst.get(name, value), value)
        if pulled.warning:
            warnings.append(pulled.warning if len(molecules) == 1 else f"{molecule.formula}: {pulled.warning}")
    return worst, warnings
