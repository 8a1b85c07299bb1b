"""Tasks: what is measured, declared in one YAML file each in benchmarks/, validated and hashed into every run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chemscale_bench.errors import UserError, did_you_mean
from chemscale_bench.places import PROJECT
from chemscale_bench.settings.base import Count

FOLDER = PROJECT / "benchmarks"
USER_VALIDATION_MOLECULES = 10_000
ALL = "all"  # molecules of a joint task


class Task(BaseModel):
    """What all tasks have."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._@-]*$")
    """What runs and boards call it; of the tasks in benchmarks/ the file's name."""
    version: int = Field(ge=1)
    """Raised whenever a change makes results incomparable."""
    family: str
    """What is trained."""
    description: str
    """One sentence for people; not part of the digest."""
    data: str
    """Named data set, or a path to the user's file."""
    primary_metric: str
    """What the board ranks."""

    @property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 over all that decides what is measured."""
        identity = self.model_dump(mode="json", exclude={"description"})
        for name in ("test_sets", "joint"):  # tasks without them are what they were before there were any
            if not identity.get(name, True):
                del identity[name]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def digest_with(self, data_digest: str, validation_digest: str) -> str:
        """Digest of the task on the very data that were prepared: only runs that share it belong on one board."""
        return hashlib.sha256(f"{self.digest} {data_digest} {validation_digest}".encode()).hexdigest()[:16]


class LanguageTask(Task):
    """A language model's loss on a data set of molecules, at fixed budgets of training tokens."""

    family: Literal["language_model"]
    vocabulary: Literal["dataset", "smiles", "chemgpt"]
    """How molecules are written, and in which symbols: SELFIES with those of the data set, canonical SMILES with those
    of the data set, or SELFIES with those of the released ChemGPT."""
    budgets_tokens: tuple[Count, ...] = Field(min_length=1)
    """Token budgets at which the loss is reported, ascending."""
    validation_molecules: int = Field(ge=1)
    """Molecules of the validation split that are used: the first ones in the order of the source."""
    test_sets: tuple[Literal["test", "test_scaffolds"], ...] = ()
    """Test sets that come with the data set and are never trained on: a run ends with the losses on a uniform sample of
    `validation_molecules` of each, and generated molecules are compared with them."""
    primary_metric: Literal["val/loss_nats_per_token"]
    """What the board ranks."""
    secondary_metrics: tuple[Literal["val/nats_per_molecule", "val/bits_per_heavy_atom"], ...] = ()
    """What is reported beside it."""

    @model_validator(mode="after")
    def budgets_ascend(self) -> LanguageTask:
        """Budgets are positive and strictly ascending."""
        if list(self.budgets_tokens) != sorted(set(self.budgets_tokens)) or self.budgets_tokens[0] < 1:
            raise ValueError(f"budgets_tokens must ascend from at least 1, got {list(self.budgets_tokens)}")
        return self

    def budgets_up_to(self, tokens: int | Literal["auto"]) -> list[int]:
        """The budgets that a run to `tokens` passes; `tokens` itself is the last, the task's own or not."""
        largest = self.budgets_tokens[-1] if tokens == "auto" else tokens
        return [budget for budget in self.budgets_tokens if budget < largest] + [largest]

    def with_data(self, data: str, vocabulary: str) -> LanguageTask:
        """This task on other data or with the other vocabulary: a task of its own, with its own name and digest."""
        data = self.data if data == "auto" else data
        if (data, vocabulary) == (self.data, self.vocabulary):
            return self
        name = f"{self.name}@{file_label(data)}" if data != self.data else self.name
        if vocabulary != self.vocabulary:
            name += f"@{vocabulary}"
        changes = {
            "name": name,
            "data": file_label(data),  # not the path: the content's digest joins this one where runs are compared
            "vocabulary": vocabulary,
            "test_sets": self.test_sets if data == self.data else (),
            "validation_molecules": min(self.validation_molecules, USER_VALIDATION_MOLECULES),
        }
        return self.model_copy(update=changes)


class ForceTask(Task):
    """A force field's errors on frames of one molecule, or of all, at fixed numbers of training frames."""

    family: Literal["force_field"]
    """What is trained."""
    molecules: tuple[str, ...] = Field(min_length=1)
    """Molecules of the data set; each is a board of its own, unless they are learned together."""
    joint: bool = False
    """Whether one model learns all molecules; the numbers of frames are then those of each."""
    budgets_frames: tuple[Count, ...] = Field(min_length=1)
    """Numbers of training frames at which the error is compared, ascending."""
    validation_frames: int = Field(ge=1)
    """Frames that choose the checkpoint."""
    test_frames: int = Field(ge=1)
    """Frames that the error is measured on."""
    gradient_steps: Count = Field(ge=1)
    """Optimizer steps of a run, unless it is asked for another number."""
    primary_metric: Literal["test/force_mae_mev_per_angstrom"]
    """What the board ranks."""
    secondary_metrics: tuple[Literal["test/energy_mae_mev"], ...] = ()
    """What is reported beside it."""

    @property
    def molecule(self) -> str:
        """What runs call the molecule that the task is on."""
        return ALL if self.joint else self.molecules[0]

    def frames(self, train_size: int | Literal["auto"]) -> int:
        """Training frames of a run: as many as it asks for, or the largest budget."""
        return self.budgets_frames[-1] if train_size == "auto" else train_size

    def steps(self, steps: int | Literal["auto"]) -> int:
        """Optimizer steps of a run: as many as it asks for, or the task's."""
        return self.gradient_steps if steps == "auto" else steps

    def on(self, molecule: str, data: str) -> ForceTask:
        """This task on one molecule, and perhaps on the user's own frames: with a name and a digest of its own.

        Args:
            molecule: one of the task's, or what to call the one in the user's frames; `auto` is the first, or `own`.
            data: `auto`, or a path.

        Raises:
            UserError: if the molecule is not one of the task's, or the data are those of another task.
        """
        if data in ("auto", self.data) and self.joint:
            if molecule not in ("auto", ALL):
                raise UserError(
                    f"molecule must be left out in {self.name}, where one model learns all of them, got {molecule!r}; "
                    f"leave it out, or use another task"
                )
            return self
        if data in ("auto", self.data):
            molecule = self.molecules[0] if molecule == "auto" else molecule
            if molecule not in self.molecules:
                hint = did_you_mean(molecule, self.molecules, "choose one of them, or give your own frames as data")
                raise UserError(
                    f"molecule must be one of {', '.join(self.molecules)} in {self.name}, got {molecule!r}; {hint}"
                )
            return self.model_copy(update={"name": f"{self.name}@{molecule}", "molecules": (molecule,)})
        other = next((name for name in names() if load(name).data == data), None)
        if other:  # labels of two kinds never stand in one column
            raise UserError(f"data={data} belongs to another task than {self.name}; use task={other}")
        label, molecule = file_label(data), "own" if molecule == "auto" else molecule
        changes = {"name": f"{self.name}@{label}", "molecules": (molecule,), "data": label, "joint": False}
        return self.model_copy(update=changes)


def file_label(path: str) -> str:
    """A file's name as part of a task's name."""
    name = Path(path).name.lower().replace(" ", "-")
    return "".join(letter if letter.isalnum() or letter in "._@-" else "-" for letter in name)


BOTH_STRINGS = "@selfies,smiles"
"""Ends the name of a board of a task's molecules in either spelling."""


def titled(name: str) -> str:
    """A task's name for people; a file of their own is told from the task that lent its budgets."""
    task, _, rest = name.partition("@")
    file, _, more = rest.partition("@")
    name = name.replace(BOTH_STRINGS, ", SELFIES and SMILES")
    return f"own data {file}, budgets of {task}{f' ({more})' if more else ''}" if "." in file else name


FAMILIES: dict[str, type[Task]] = {"language_model": LanguageTask, "force_field": ForceTask}


def names() -> list[str]:
    """The tasks that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Task:
    """Read a task by name, or from a path to a YAML file.

    Raises:
        UserError: if there is no such task, or the file breaks a rule of the specification.
    """
    path = FOLDER / f"{name}.yaml"
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
    elif name not in names():
        hint = did_you_mean(name, names(), f"there are {', '.join(names())}")
        raise UserError(f"task must be a file in benchmarks/ or a path to a .yaml, got {name!r}; {hint}")
    try:
        content: Any = yaml.safe_load(path.read_text())
        family = content.get("family") if isinstance(content, dict) else None
        if not isinstance(family, str) or family not in FAMILIES:
            raise UserError(f"task {path}: family must be one of {', '.join(FAMILIES)}, got {family!r}; mend the file")
        task = FAMILIES[family].model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"task must be a readable YAML file, got {path} ({error})") from None
    except ValidationError as error:
        raise UserError(f"task {path}: {broken_rule(error, FAMILIES[str(family)])}") from None
    ours = FOLDER / f"{task.name}.yaml"
    if path != ours and ours.exists() and task.digest != load(task.name).digest:
        raise UserError(
            f"task {path}: name must be its own, {task.name} is a task of the project that measures something else; "
            "choose another name"
        )
    return task


def broken_rule(error: ValidationError, kind: type[Task]) -> str:
    """The rule of a task that a file breaks, in a line; of a field that there is none of before one that is missing."""
    problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    where, message = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        hint = did_you_mean(where, kind.model_fields, f"there are {', '.join(kind.model_fields)}")
        return f"there is no field {where}; {hint}"
    if problem["type"] == "missing":
        return f"{where} must be there, got none; add it"
    got = "" if "got" in message else f", got {problem['input']!r}"
    return f"{where}: {message}{got}; mend it" if where else f"{message}{got}; mend it"


def load_language(name: str) -> LanguageTask:
    """Read a task for language models.

    Raises:
        UserError: as `load` does, and if the task is of another family.
    """
    task = load(name)
    if not isinstance(task, LanguageTask):
        raise UserError(
            f"task must be a language_model task here, {name} is a {task.family} task; use the verb forcefield"
        )
    return task


def load_force(name: str) -> ForceTask:
    """Read a task for force fields.

    Raises:
        UserError: as `load` does, and if the task is of another family.
    """
    task = load(name)
    if not isinstance(task, ForceTask):
        raise UserError(f"task must be a force_field task here, {name} is a {task.family} task; use language")
    return task
