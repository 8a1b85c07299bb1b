"""Compute the frames of `data=embedded`: small molecules at 500 K with GFN2-xTB energies and forces.

    python -m venv /tmp/xtb && /tmp/xtb/bin/pip install tblite==0.8.0 ase==3.29.0 rdkit
    OMP_NUM_THREADS=1 /tmp/xtb/bin/python tools/embedded_frames.py chemscale_bench/data/embedded_frames.npz

About ten minutes on one core. tblite is no dependency of the project: the file is what the package carries.

One Langevin trajectory of 500 K and 0.5 fs per molecule from an MMFF geometry, 2 ps left out, then a frame every 25 fs.
`fixcm=False`, because ASE's default holds these small molecules at 645 K. Every frame is centred, rounded to float32,
and its energy and forces are computed afresh at the rounded positions. Frames are stored in an order drawn at random,
so that the first 550 are the pool for training and validation and the last 300 the test; `step` says where in the
trajectory each was. Neighbours in time, 25 fs apart, fall on both sides, as in rMD17: this measures interpolation.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from rdkit import Chem
from rdkit.Chem import AllChem
from tblite.ase import TBLite

SMILES = {"ethanol": "CCO", "malonaldehyde": "O=CCC=O", "toluene": "Cc1ccccc1"}
FRAMES = 850
TEMPERATURE_K = 500
TIMESTEP_FS = 0.5
FRICTION_PER_FS = 0.01
BURN_IN_STEPS = 4000
STEPS_PER_FRAME = 50
SEED = 17
METHOD = "GFN2-xTB"
ACCURACY = 0.01


def start_geometry(smiles: str) -> Atoms:
    """The molecule with hydrogens, relaxed by MMFF94."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if AllChem.EmbedMolecule(molecule, randomSeed=SEED) or AllChem.MMFFOptimizeMolecule(molecule, maxIters=2000):
        raise RuntimeError(f"no geometry for {smiles}")
    return Atoms([atom.GetSymbol() for atom in molecule.GetAtoms()], molecule.GetConformer().GetPositions())


def calculator() -> TBLite:
    """A fresh GFN2-xTB calculator, so that no result depends on the frame before."""
    return TBLite(method=METHOD, accuracy=ACCURACY, verbosity=0)


def trajectory(atoms: Atoms, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions (F, A, 3) in Angstrom as float32, and temperatures (F,) in K."""
    atoms.calc = calculator()
    MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE_K, rng=rng)
    dynamics = Langevin(
        atoms,
        TIMESTEP_FS * units.fs,
        temperature_K=TEMPERATURE_K,
        friction=FRICTION_PER_FS / units.fs,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(BURN_IN_STEPS)
    positions, temperatures = [], []
    for _ in range(FRAMES):
        dynamics.run(STEPS_PER_FRAME)
        positions.append((atoms.positions - atoms.get_center_of_mass()).astype(np.float32))
        temperatures.append(atoms.get_temperature())
    return np.array(positions), np.array(temperatures)


def label(numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies (F,) in eV and forces (F, A, 3) in eV/Angstrom as float32."""
    energies, forces = [], []
    for frame in positions:
        atoms = Atoms(numbers, frame.astype(np.float64), calculator=calculator())
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces().astype(np.float32))
    return np.array(energies), np.array(forces)


def main(target: Path) -> None:
    """Compute all molecules and write one file."""
    arrays: dict[str, np.ndarray] = {}
    molecules = {}
    for number, (name, smiles) in enumerate(SMILES.items()):
        rng = np.random.default_rng([SEED, number])
        # ASE calls the names of numpy's older generator.
        atoms = start_geometry(smiles)
        positions, temperatures = trajectory(atoms, np.random.RandomState(rng.integers(2**31)))
        order = rng.permutation(FRAMES)
        energies, forces = label(atoms.numbers, positions[order])
        arrays |= {
            f"{name}_numbers": atoms.numbers.astype(np.int64),
            f"{name}_positions": positions[order],
            f"{name}_energies": energies,
            f"{name}_forces": forces,
            f"{name}_step": BURN_IN_STEPS + STEPS_PER_FRAME * (1 + order),
        }
        molecules[name] = {
            "smiles": smiles,
            "mean_temperature_k": round(float(temperatures.mean()), 1),
            "zero_force_mae_mev_per_angstrom": round(1000 * float(np.abs(forces).mean()), 1),
        }
        print(name, molecules[name], file=sys.stderr, flush=True)
    metadata = {
        "units": {"energy": "eV", "length": "Angstrom"},
        "method": METHOD,
        "accuracy": ACCURACY,
        "electronic_temperature_k": 300,
        "dynamics": "ASE Langevin, fixcm=False",
        "temperature_k": TEMPERATURE_K,
        "timestep_fs": TIMESTEP_FS,
        "friction_per_fs": FRICTION_PER_FS,
        "burn_in_steps": BURN_IN_STEPS,
        "steps_per_frame": STEPS_PER_FRAME,
        "seed": SEED,
        "versions": {package: version(package) for package in ("tblite", "ase", "rdkit", "numpy")},
        "script": "tools/embedded_frames.py",
        "molecules": molecules,
    }
    np.savez_compressed(target, metadata=np.array(json.dumps(metadata)), **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
