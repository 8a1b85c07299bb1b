"""Do frames mean what was stated? Their energies tell the unit, and forces must be the energies' negative gradient.

F frames, A atoms, P pairs of atoms, K features. Nothing here is exact; what is refused is off by far.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve

from chemscale_bench.data.structures import Frames
from chemscale_bench.errors import UserError

HARTREE = 27.211386245988  # eV
NEAR = 0.05  # relative error of the estimated total energy, by which no two units can be mistaken
USUAL_FORCE = 1.0  # eV/Angstrom, root mean square of a molecule at a few hundred K, within a factor of three
FEATURES, LARGEST_FIT = 2500, 14_000  # most of the fit to the forces, and components of force that it takes
AT_ONCE = 1000  # of these in one product of matrices
RANGE = 4.0  # of the features, in spreads of the descriptors
TRUSTED, TOLERATED = 0.9, 1.4  # correlation from which on the fit tells, and the factor that it tells from 1
NOTED = 1.15  # the factor from which on it is told


def total_energy(numbers: np.ndarray) -> float:
    """Energy in eV of all electrons of separate atoms (A,), to a few per cent from hydrogen to krypton.

    Source:
        Thomas-Fermi energy with the corrections of Scott and Schwinger: Schwinger, Phys. Rev. A 24, 2353 (1981).
    """
    z = numbers.astype(float)
    return float(HARTREE * (-0.768745 * z ** (7 / 3) + z**2 / 2 - 0.269900 * z ** (5 / 3)).sum())


def check_energy_unit(
    frames: Frames, energy_unit: str, units: dict[str, float], origin: str, force_unit: str = ""
) -> tuple[str, ...]:
    """Refuse energies that are total energies in another unit than was stated, if forces say so, too.

    Energies of valence electrons alone, as of GFN2-xTB, may look so by chance. Then forces in that unit are farther
    from the eV/Angstrom or so that is usual than those in the stated one.

    Args:
        frames: converted from `energy_unit`.
        energy_unit: as stated.
        units: the known ones, in eV.
        origin: for errors.
        force_unit: as stated; nothing where forces are in `energy_unit` by a length.

    Returns:
        A note where energies look so, but forces do not, or can't.

    Raises:
        UserError: naming the unit that they are in.
    """
    expected = total_energy(frames.numbers)
    in_file = float(np.median(frames.energies)) / units[energy_unit]
    fits = [name for name, size in units.items() if abs(in_file * size / expected - 1) < NEAR]
    if not fits or energy_unit in fits:
        return ()
    force = float(np.sqrt(np.square(frames.forces).mean())) if frames.has_forces and not force_unit else 0.0
    in_other = force * units[fits[0]] / units[energy_unit]
    if force and abs(np.log(in_other / USUAL_FORCE)) < abs(np.log(force / USUAL_FORCE)):
        raise UserError(
            f"energy_unit must be that of the file, got {energy_unit}, but the energies of {origin}, {in_file:,.0f}, "
            f"are the total energy of {frames.formula} in {fits[0]}; use energy_unit={fits[0]}"
        )
    return (f"{origin}: its energies could be total energies in {fits[0]}; they count as {energy_unit}",)


def check_forces(frames: Frames, origin: str) -> tuple[str, ...]:
    """Refuse forces that are not the negative gradient of the energies, in the units that were stated.

    Random features of inverse distances are fitted to the forces alone; energies follow from the fit but for a
    constant. If these go with the energies of the file, yet are larger or smaller by a factor, units contradict.

    Args:
        frames: all of a file; some hundred of them, drawn at random, are looked at.
        origin: for errors.

    Returns:
        A note with the factor, if it is tolerated but far from 1.

    Raises:
        UserError: naming the factor.

    Source:
        The idea is that of sGDML's check of its data sets (Chmiela et al., Comput. Phys. Commun. 240, 38 (2019)).
    """
    rows, columns = np.triu_indices(len(frames.numbers), 1)
    order = np.random.RandomState(0).permutation(len(frames))
    frames = frames.take(order[: max(1, min(200, LARGEST_FIT // frames.forces[0].size))])
    apart_FP3 = frames.positions[:, rows] - frames.positions[:, columns]
    inverse_FP = 1 / np.linalg.norm(apart_FP3, axis=-1)
    gradient_FP3 = -apart_FP3 * inverse_FP[..., None] ** 3
    centred_FP = inverse_FP - inverse_FP.mean(0)
    spread = np.sqrt(np.square(centred_FP).sum(1).mean())
    if len(frames) < 10 or not spread > 0 or not frames.has_forces:
        return ()
    features = min(FEATURES, 2 * frames.forces.size)
    generator = np.random.default_rng(0)
    weight_PK = generator.normal(size=(len(rows), features)) / (RANGE * spread)
    phase_FK = centred_FP @ weight_PK + generator.uniform(0, 2 * np.pi, features)
    square_KK, product_K = np.zeros((features, features)), np.zeros(features)
    pairs = np.arange(len(rows))
    for some in np.array_split(np.arange(len(frames)), -(-frames.forces.size // AT_ONCE)):
        force_BA3 = frames.forces[some]
        descriptor_BA3P = np.zeros((*force_BA3.shape, len(rows)))
        descriptor_BA3P[:, rows, :, pairs] = gradient_FP3[some].swapaxes(0, 1)
        descriptor_BA3P[:, columns, :, pairs] = -gradient_FP3[some].swapaxes(0, 1)
        found = descriptor_BA3P.reshape(len(some), -1, len(rows)) @ weight_PK * np.sin(phase_FK[some])[:, None]
        force_of_features = found.reshape(-1, features)
        square_KK += force_of_features.T @ force_of_features
        product_K += force_of_features.T @ force_BA3.ravel()
    square_KK[np.diag_indices(features)] += 1e-6 * frames.forces.size / features * np.trace(square_KK) / features
    energy_F = np.cos(phase_FK) @ solve(square_KK, product_K, assume_a="pos")
    if not (np.ptp(energy_F) > 0 and np.ptp(frames.energies) > 0):
        return ()
    correlation = float(np.corrcoef(energy_F, frames.energies)[0, 1])
    factor = float(frames.energies.std() / energy_F.std())
    if correlation < -TRUSTED:
        raise UserError(
            f"forces must be the negative gradient of the energies, those of {origin} are the positive one; change sign"
        )
    if correlation < TRUSTED:
        return ()
    if not 1 / TOLERATED < factor < TOLERATED:
        raise UserError(
            f"forces must be the negative gradient of the energies, but those of {origin} explain energies that are "
            f"{factor:.2g} times as large as they should (Bohr and Angstrom: 1.9, eV and kcal/mol: 23, eV and Hartree: "
            "27); check energy_unit and length_unit, and state force_unit, for example Hartree/Bohr"
        )
    if not 1 / NOTED < factor < NOTED:
        return (f"{origin}: its energies vary {factor:.2f} times as much as its forces say, where 1 was expected",)
    return ()
