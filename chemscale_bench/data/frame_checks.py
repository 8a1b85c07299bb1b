"""Do training and test frames belong together? Each check raises a `UserError` that names the first frame at fault."""

from __future__ import annotations

import numpy as np

from chemscale_bench.data.mixtures import FrameSet, Mixture
from chemscale_bench.data.structures import Frames, formula_of
from chemscale_bench.errors import UserError


def check_same_molecule(frames: Frames, test: FrameSet, origin: str, test_origin: str) -> None:
    """Refuse test frames of another molecule, or of another state of it."""
    if isinstance(test, Mixture) or not np.array_equal(frames.numbers, test.numbers):
        raise UserError(
            f"data and test_data must be of one molecule with its atoms in one order, got {frames.formula} in "
            f"{origin} and {test.formula} in {test_origin}; give files that belong together"
        )
    if (frames.charge, frames.unpaired) != (test.charge, test.unpaired):
        raise UserError(
            f"data and test_data must be of one state, got charge {frames.charge} with {frames.unpaired} unpaired "
            f"electrons, and {test.charge} with {test.unpaired}; give files that belong together"
        )


def check_elements(train: FrameSet, frames: FrameSet, origin: str) -> None:
    """Refuse frames with an element that the training frames lack."""
    missing = sorted(set(frames.numbers.tolist()) - set(train.numbers.tolist()))
    if missing:
        raise UserError(
            f"elements must be among those of the training frames, {origin} have {formula_of(np.array(missing))} "
            f"besides (training: {formula_of(np.unique(train.numbers))}); raise train_size, or leave such frames out"
        )


def check_overlap(pool: FrameSet, test: FrameSet, origin: str) -> None:
    """Refuse a frame that is in both."""
    seen = {key: frame for frame, key in enumerate(pool.keys())}
    twice = [(seen[key], frame) for frame, key in enumerate(test.keys()) if key in seen]
    if twice:
        raise UserError(
            f"train and test frames must not overlap, {len(twice)} of the test frames of {origin} have the positions "
            f"of a training frame (the first: training {twice[0][0]}, test {twice[0][1]}); remove one of each"
        )


def check_neighbours(frames: FrameSet, origin: str, cutoff: float) -> None:
    """Refuse a frame without neighbours."""
    nearest = frames.nearest()
    if nearest.max() >= cutoff:
        raise UserError(
            f"atoms must have neighbours nearer than the cutoff of {cutoff:g} Angstrom, the nearest two in frame "
            f"{nearest.argmax()} of {origin} are {nearest.max():.2f} Angstrom apart; check length_unit, or raise cutoff"
        )
