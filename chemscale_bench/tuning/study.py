"""An Optuna study by name: where it is stored, who proposes trials, and what is searched."""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from chemscale_bench.errors import UserError, did_you_mean, first_line

REPORTS = 50  # intermediate values of a trial, and its last step: each is a 50th of the area under its schedule
SAMPLERS = ("TPESampler", "RandomSampler", "GPSampler", "QMCSampler", "CmaEsSampler")
ENOUGH_TO_RANK = 4  # finished trials, to say which setting matters
TRIES = 10  # to open a database that others make at the same time
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


class Range(NamedTuple):
    """One searched hyperparameter, on a logarithmic scale unless `linear`."""

    name: str
    low: float
    high: float
    whole: bool = False
    linear: bool = False


SPACES = {
    "language_model": (
        Range("learning_rate", 2**-13, 2**-6),
        Range("batch_tokens", 256, 8192, whole=True),
        Range("warmup", 0.01, 1.0),
        Range("weight_decay", 1e-3, 1.0),
        Range("decay", 0.1, 0.6, linear=True),
    ),
    "force_field": (
        Range("learning_rate", 1e-4, 3e-2),
        Range("batch_frames", 2, 32, whole=True),
        Range("warmup", 1e-3, 0.3),
        Range("weight_decay", 1e-6, 1e-1),
        Range("decay", 0.1, 0.9, linear=True),
    ),
}
"""What is searched for each family of tasks; names are those of the verb's settings."""


def suggest(trial: BaseTrial, space: Iterable[Range]) -> dict[str, float | int]:
    """Values for all hyperparameters of a space."""
    chosen: dict[str, float | int] = {}
    for name, low, high, whole, linear in space:
        if whole:
            chosen[name] = trial.suggest_int(name, int(low), int(high), log=not linear)
        else:
            chosen[name] = trial.suggest_float(name, low, high, log=not linear)
    return chosen


def open_storage(text: str, otherwise: Path) -> BaseStorage:
    """The storage that a text names.

    Args:
        text: a database URL (sqlite:///, postgresql+psycopg2://, ...), grpc://HOST:PORT, or a path to a journal file.
        otherwise: journal file if the text is empty.

    Raises:
        UserError: if it can't be opened.
    """
    try:
        if text.startswith("grpc://"):
            host, _, port = text.removeprefix("grpc://").partition(":")
            proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
            proxy.wait_server_ready(timeout=10)
            return proxy
        if "://" in text:
            return database(text)
        # The lock of a journal is a link to its path, which Optuna follows to see whether anybody is at work.
        path = (Path(text).expanduser() if text else otherwise).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        mend_journal(path)
        return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    except UserError:
        raise
    except Exception as error:  # every database driver raises errors of its own
        problem = without_secrets(first_line(error))
        raise UserError(
            f"storage must be a database URL, grpc://HOST:PORT or a journal file that can be opened, got "
            f"{without_secrets(text)!r} ({problem}); start the server or correct the address"
        ) from None


def database(address: str) -> BaseStorage:
    """A database, whose tables one process makes of those that find it empty at once; the others try again."""
    from sqlalchemy.exc import DBAPIError, IntegrityError  # a journal needs none of it

    tries = 0
    while True:
        try:
            return optuna.storages.RDBStorage(address)
        except DBAPIError as error:
            tries += 1
            made_twice = isinstance(error, IntegrityError) or "already exists" in str(error)
            if tries == TRIES or not made_twice:
                raise
            time.sleep(random.uniform(0.2, 1.0))  # not all at once again


def without_secrets(text: str) -> str:
    """A storage's address, or a text that quotes one, without user, password and query."""
    return re.sub(r"(\w://)(?:[^/\s]*@)?([^\s?'\")]*)(?:\?[^\s'\")]*)?", r"\1\2", text)


def mend_journal(path: Path) -> None:
    """Make a journal readable whose writer was killed: drop a line that ends in the middle, and a lock that is left.

    Raises:
        UserError: naming a line before the last one that is damaged.
    """
    lock = path.with_name(f"{path.name}.lock")
    if lock.is_symlink() and not lock.exists():
        # A path as somebody typed it, from another folder: Optuna would look in vain for its age, without end.
        ours = path.with_name(f"{path.name}.{os.getpid()}.lock")
        ours.symlink_to(path)
        ours.replace(lock)
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        if not is_record(line):
            raise UserError(
                f"every line of a journal must be a record, line {number} of {path} is "
                f"{'blank' if not line.strip() else 'not one'}; take it out: sed -i {number}d {path}"
            )
    if not lines[-1]:
        return
    with get_lock_file(JournalFileSymlinkLock(str(path))):  # somebody may be in the middle of writing it
        whole, _, torn = path.read_bytes().rpartition(b"\n")
        if torn:
            with path.open("r+b") as file:
                file.truncate(len(whole) + 1 if whole else 0)
            print(f"the last line of {path} was not written to its end, and is dropped", file=sys.stderr)


def is_record(line: bytes) -> bool:
    """Whether a line of a journal can be read."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def make_sampler(name: str, seed: int, number: int) -> BaseSampler:
    """The sampler of one trial: its seed holds the trial's number, so that no two processes draw the same.

    Args:
        name: of a class in `optuna.samplers` that takes a seed.
        seed: of the study.
        number: of the trial.

    Raises:
        UserError: if Optuna has no such sampler, or it lacks a package.
    """
    if name not in SAMPLERS:
        hint = did_you_mean(name, SAMPLERS, "choose one of them")
        raise UserError(f"sampler must be one of Optuna's {', '.join(SAMPLERS)}, got {name!r}; {hint}")
    options = {"constant_liar": True} if name == "TPESampler" else {}
    try:
        sampler: BaseSampler = getattr(optuna.samplers, name)(seed=(seed * 1_000_003 + number) % 2**31, **options)
    except ImportError as error:
        raise UserError(f"sampler {name} needs a package that is not there ({error}); pip install it") from None
    return sampler


class Spent(NamedTuple):
    """What a study cost, and what it would have cost without pruning."""

    flops: float
    flops_without_pruning: float

    @property
    def saved_percent(self) -> float:
        """Share of the compute that pruning saved."""
        return 100 * (1 - self.flops / self.flops_without_pruning) if self.flops_without_pruning else 0.0


def spent(trials: list[FrozenTrial]) -> Spent:
    """Sum over the trials that ended; each carries its own FLOPs and those of its full budget."""
    ended = [trial.user_attrs for trial in trials if trial.state in DONE and "flops" in trial.user_attrs]
    return Spent(sum(about["flops"] for about in ended), sum(map(without_pruning, ended)))


def without_pruning(about: dict[str, Any]) -> float:
    """FLOPs of an ended trial, from its attributes, had nobody stopped it: divergence ends it anyway."""
    flops: float = about["flops" if about.get("diverged") else "flops_in_full"]
    return flops


def by_importance(study: optuna.Study) -> list[str]:
    """The settings that a study varied, those that made most of the difference first."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = list(dict.fromkeys(name for trial in done for name in trial.params))
    if len(done) < ENOUGH_TO_RANK:
        return names
    try:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return list(optuna.importance.get_param_importances(study, evaluator=evaluator))
    except (ValueError, RuntimeError):  # all trials have one value, say
        return names
