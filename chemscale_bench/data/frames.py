"""From `data=` to training, validation and test frames, of one molecule or of several.

Named sets: `rmd17` and `md17` (official splits), `ani1x` (a random sample) and `embedded` (GFN2-xTB, in the package).
Or the user's own files.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from chemscale_bench.data import ani1x, rmd17
from chemscale_bench.data.download import file_sha256
from chemscale_bench.data.frame_checks import check_elements, check_neighbours, check_overlap, check_same_molecule
from chemscale_bench.data.frame_files import read_frames
from chemscale_bench.data.frame_raw import Keys
from chemscale_bench.data.frame_units import ENERGY_UNITS, Units
from chemscale_bench.data.mixtures import FrameSet, Mixture, as_mixture
from chemscale_bench.data.opening import user_path
from chemscale_bench.data.plausible import check_energy_unit, check_forces
from chemscale_bench.data.rmd17 import official, split_digest
from chemscale_bench.data.structures import Frames
from chemscale_bench.errors import UserError, did_you_mean

NAMES = (*rmd17.LABELS, "ani1x", "embedded")
EMBEDDED = Path(__file__).parent / "embedded_frames.npz"
EMBEDDED_TEST_FRAMES = 300
CHECKED_MOLECULES = 3  # of a file of several, the most frequent ones, whose forces are compared with their energies


class FrameSplit(NamedTuple):
    """What a force field trains on, what chooses its checkpoint, and what it is measured on."""

    train: FrameSet
    validation: FrameSet
    test: FrameSet
    name: str
    """The data set's name, or the name of the user's file."""
    source: str
    """Url or path."""
    source_sha256: str
    """Of the content of the files, one after another."""
    digest: str
    """`split_digest` of all frames that training and validation are taken from, and the test frames."""
    notes: tuple[str, ...]
    """What a reader of the result should know about the frames."""


class _Source(NamedTuple):
    pool: FrameSet
    test: FrameSet
    name: str
    origin: str
    sha256: str
    notes: tuple[str, ...] = ()
    whole: FrameSet | None = None
    """Of a single file, all that pool and test were drawn from."""


def prepare_frames(
    data: str,
    *,
    molecule: str | tuple[str, ...],
    split: int,
    train_size: int,
    validation_frames: int,
    test_frames: int,
    test_data: str = "",
    energy_unit: str = "",
    length_unit: str = "",
    force_unit: str = "",
    energy_key: str = "",
    forces_key: str = "",
    cutoff: float = 5.0,
) -> FrameSplit:
    """Frames for one run.

    Training and validation come from one pool: the last `validation_frames` of it validate and the first `train_size`
    train, so that smaller training sets are contained in larger ones and validation never changes. The pool of `rmd17`
    and `md17` is the split's 1,000 official training frames; that of the user's `data` is all of it if there is
    `test_data`, in its order, and else what the test leaves: a fifth of the file at most, whatever `train_size`.

    Args:
        data: rmd17, md17, ani1x, embedded, or a path to .npz, .extxyz, .xyz or an ASE database .db.
        molecule: of a named set; several are learned together, and the numbers of frames are those of each.
        split: official split 1 to 5; seed of the random permutation of a single file of the user's, whose first
            `test_frames` are the test; 1 where `test_data` is given.
        train_size: training frames.
        validation_frames: frames that choose the checkpoint.
        test_frames: the first of the official test frames, or of `test_data`; fewer where the user's files hold fewer,
            and at most a fifth of a single one.
        test_data: path to the user's test frames.
        energy_unit: of the user's files: eV, meV, kcal/mol, kJ/mol or Hartree; none where the files declare theirs, or
            are the official frames of rmd17 or md17.
        length_unit: of the user's files: Angstrom, Bohr or nm; likewise.
        force_unit: of the user's files, Hartree/Bohr for example; by default energy_unit/length_unit.
        energy_key: under which the user's files have their energies, where that is not found by itself.
        forces_key: likewise the forces.
        cutoff: of the model in Angstrom, for the check that there are neighbours at all.

    Raises:
        UserError: no such data, molecule or split, units not stated or not those of the content, content that is no
            set of frames, fewer frames than asked for, train and test frames that overlap, an element that training
            frames lack, or a frame without neighbours.
    """
    units, keys = Units(energy_unit, length_unit, force_unit), Keys(energy_key, forces_key)
    asked = {
        "split": split,
        "train_size": train_size,
        "validation_frames": validation_frames,
        "test_frames": test_frames,
    }
    for name, value in asked.items():
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}; ask for more")
    if data in NAMES:
        for name, text in {"test_data": test_data, **units._asdict(), **keys._asdict()}.items():
            if text:
                raise UserError(f"{name} is for frames of your own, {data} needs none, got {text!r}; leave it out")
        if data == "ani1x":
            ani1x.check_validation(validation_frames)
        molecules = (molecule,) if isinstance(molecule, str) else molecule
        sources = [_named(data, name, split) for name in molecules]
        source, many = sources[0], len(molecules)
        _check_sizes(data, source, train_size, validation_frames, test_frames)
        if many > 1:
            source = _together(sources, molecules)
            train_size, validation_frames, test_frames = (
                many * frames for frames in (train_size, validation_frames, test_frames)
            )
    else:
        source = _own(data, test_data, units, keys, split, test_frames)
        test_frames = min(test_frames, len(source.test))
        _check_sizes(data, source, train_size, validation_frames, test_frames)
    test = source.test.take(slice(test_frames))
    check_overlap(source.pool, test, source.name)
    prepared = FrameSplit(
        train=source.pool.take(slice(train_size)),
        validation=source.pool.take(slice(len(source.pool) - validation_frames, None)),
        test=test,
        name=source.name,
        source=source.origin,
        source_sha256=source.sha256,
        digest=split_digest(source.pool, test),
        notes=source.notes,
    )
    for name in ("train", "validation", "test"):
        frames, what = getattr(prepared, name), f"the {name} frames of {source.name}"
        check_elements(prepared.train, frames, what)
        check_neighbours(frames, what, cutoff)
    if data in NAMES:
        return prepared
    known = official(prepared.digest)
    if not known:
        most = (source.whole or source.pool).molecules(CHECKED_MOLECULES)
        notes = (note for frames in most for note in check_forces(frames, source.name))
        return prepared._replace(notes=(*prepared.notes, *notes))
    note = f"these are the official frames of {known.data} {known.molecule} split {known.split}"
    return prepared._replace(notes=(*prepared.notes, note))


def _named(data: str, molecule: str, split: int) -> _Source:
    if data == "embedded":
        return _embedded(molecule, split)
    if data == "ani1x":
        _check_only_split(data, split)
        rmd17.check_choice("molecule", molecule, ("all",), data)
        return _Source(*ani1x.ani1x_frames(), data, ani1x.URLS[0], ani1x.SHA256)
    pool, test = rmd17.official_frames(data, molecule, split)
    return _Source(pool, test, data, rmd17.URLS[0], rmd17.SHA256)


def _check_only_split(data: str, split: int) -> None:
    if split != 1:
        raise UserError(f"split must be 1 in {data}, which has one order of its frames, got {split}; use seeds")


def _embedded(molecule: str, split: int) -> _Source:
    """The frames that `tools/embedded_frames.py` computed; their order in the file is random in time."""
    with np.load(EMBEDDED, allow_pickle=False) as file:
        molecules = tuple(name.removesuffix("_numbers") for name in file if name.endswith("_numbers"))
        rmd17.check_choice("molecule", molecule, molecules, "embedded")
        _check_only_split("embedded", split)
        columns = {name: file[f"{molecule}_{name}"] for name in ("numbers", "positions", "energies", "forces")}
    frames = Frames.checked(**columns, origin=EMBEDDED.name)
    pool = frames.take(slice(len(frames) - EMBEDDED_TEST_FRAMES))
    test = frames.take(slice(len(frames) - EMBEDDED_TEST_FRAMES, None))
    note = "one trajectory in random order: test frames lie between training frames in time"
    return _Source(pool, test, "embedded", "the chemscale-bench package", file_sha256(EMBEDDED), (note,))


def _together(sources: list[_Source], molecules: tuple[str, ...]) -> _Source:
    """A frame of each molecule by turns, so that the first ones are those of each."""

    def by_turns(parts: list[FrameSet]) -> Mixture:
        ends = np.cumsum([len(part) for part in parts])
        turns = np.argsort(np.concatenate([np.arange(len(part)) for part in parts]), kind="stable")
        assert (np.diff(ends) == ends[0]).all(), "all molecules of a named set have as many frames"
        return Mixture.of([part for part in parts if isinstance(part, Frames)], molecules).take(turns)

    pool, test = (by_turns([getattr(source, name) for source in sources]) for name in ("pool", "test"))
    return sources[0]._replace(pool=pool, test=test)


def _own(data: str, test_data: str, stated: Units, keys: Keys, split: int, test_frames: int) -> _Source:
    """The user's files; of a single one, a fifth at most is the test."""
    path, test_path = user_path(data), user_path(test_data)
    if not path.exists():
        hint = did_you_mean(data, NAMES, f"check the name or path, there is no {path}")
        raise UserError(f"data must be one of {', '.join(NAMES)} or an existing file, got {data}; {hint}")
    if test_data and not any(stated):
        stated = _official_units(path, test_path, keys, test_frames)
    frames, units, notes = read_frames(path, stated, NAMES, keys=keys)
    notes += check_energy_unit(frames.molecules(1)[0], units.energy_unit, ENERGY_UNITS, path.name, units.force_unit)
    if test_data:
        if split != 1:
            raise UserError(f"split must be 1 where test_data is given, got {split}: the files are the split")
        test, test_units, test_notes = read_frames(test_path, stated, NAMES, forces=False, keys=keys)
        of_test = test.molecules(1)[0], test_units.energy_unit, ENERGY_UNITS, test_path.name, test_units.force_unit
        test_notes += check_energy_unit(*of_test)
        if isinstance(frames, Mixture):
            frames, test = (_shuffled(part) for part in (frames, _neutral(test, test_path.name)))
        else:
            check_same_molecule(frames, test, path.name, test_path.name)
        return _Source(
            frames, test, path.name, f"{path} {test_path}", file_sha256(path, test_path), (*notes, *test_notes)
        )
    # RandomState's stream is frozen for good, so that a split is the same with every numpy.
    test_frames = max(1, min(test_frames, len(frames) // 5))
    order = np.random.RandomState(split).permutation(len(frames))
    note = "test frames drawn at random from one file: of a trajectory, they lie between training frames in time"
    pool, test = frames.take(order[test_frames:]), frames.take(order[:test_frames])
    return _Source(pool, test, path.name, str(path), file_sha256(path), (*notes, note), frames)


def _official_units(path: Path, test_path: Path, keys: Keys, test_frames: int) -> Units:
    """The units of the archive, if the user's files are official frames of it."""
    if {path.suffix, test_path.suffix} != {".npz"}:
        return Units()
    archive = Units("kcal/mol", "Angstrom")
    try:
        pool, test = (read_frames(each, archive, NAMES, keys=keys)[0] for each in (path, test_path))
    except UserError:  # is told when they are read as they were given
        return Units()
    return archive if official(split_digest(pool, test.take(slice(test_frames)))) else Units()


def _shuffled(frames: FrameSet) -> FrameSet:
    """The frames in a random order that is the same for all."""
    return frames.take(np.random.RandomState(1).permutation(len(frames)))


def _neutral(frames: FrameSet, origin: str) -> Mixture:
    """Test frames beside training frames of several molecules, all of them neutral."""
    if isinstance(frames, Frames) and (frames.charge, frames.unpaired) != (0, int(frames.numbers.sum() % 2)):
        raise UserError(
            "test_data beside frames of several molecules must be neutral, with the fewest unpaired electrons, got "
            f"charge {frames.charge} with {frames.unpaired} unpaired electrons in {origin}; give other frames"
        )
    return as_mixture(frames)


def _check_sizes(data: str, source: _Source, train_size: int, validation_frames: int, test_frames: int) -> None:
    pool, available = len(source.pool), len(source.test)
    if test_frames > available:
        raise UserError(f"test_frames must be at most the {available} there are in {source.name}, got {test_frames}")
    left = pool - validation_frames
    if train_size <= left:
        return
    what = f"{pool} frames"
    if source.whole:
        what = f"{pool + available} frames, less {available} for the test, whatever train_size, and"
    got = f"{max(left, 0)} in {source.name} ({what} less {validation_frames} for validation), got {train_size}"
    if data in rmd17.LABELS:
        raise UserError(
            f"train_size must be at most {got}; more frames of one trajectory are correlated in time with the test "
            "frames (Christensen and von Lilienfeld 2020): take fewer"
        )
    cure = f"add train_size={left}, or fewer, or give more frames" if left > 0 else "give more frames"
    cure += ", or test_data" if source.whole else ""
    raise UserError(f"train_size must be at most {got}; {cure}")
