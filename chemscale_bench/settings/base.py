"""What the parameters of all verbs have in common: how they are read, and how a broken rule is told."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from chemscale_bench.errors import UserError


def parse_count(value: Any) -> Any:
    """Read a whole number written as ``1e8``, ``100_000_000`` or ``100000000``; ``auto`` stays as it is.

    Raises:
        ValueError: if the text is not a whole number.
    """
    if value == "auto" or isinstance(value, int):
        return value
    if "," in str(value):
        raise ValueError(f"must be one whole number, without commas, got {value!r}")
    try:
        number = float(str(value).replace("_", ""))
    except ValueError:
        raise ValueError(f"must be a whole number such as 1e8, got {value!r}") from None
    if not math.isfinite(number) or number != round(number):
        raise ValueError(f"must be a whole number such as 1e8, got {value!r}")
    return round(number)


def parse_counts(value: Any) -> Any:
    """Read whole numbers with commas between them, ``1e4,3e4,1e5``, or a sequence; ``auto`` stays as it is.

    Raises:
        ValueError: if one of them is not a whole number.
    """
    if isinstance(value, str) and value == "auto":
        return value
    typed = isinstance(value, str) or not isinstance(value, Iterable)
    parts = str(value).strip("()[] ").split(",") if typed else [str(each) for each in value]
    return tuple(parse_count(part.strip()) for part in parts if part.strip())


Count = Annotated[int, BeforeValidator(parse_count)]
Counts = Annotated[tuple[int, ...], BeforeValidator(parse_counts)]
Auto = Literal["auto"]
MOST_LAYERS = 100  # of a force field that somebody asks for


def unknown(name: str, settings: type[Settings], verb: str) -> str:
    """What to say of a parameter that a verb does not have."""
    near = difflib.get_close_matches(name.replace("-", "_"), list(settings.model_fields), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"there is no parameter {name}; {hint}`chemscale {verb} --help` lists those of {verb}"


class Settings(BaseModel):
    """Base of every verb's parameters: frozen, unknown names refused, help texts taken from the docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @classmethod
    def read(cls, values: dict[str, Any], verb: str) -> Self:
        """Validate the parameters of `verb`, turning the first broken rule into a one-line `UserError`."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problem = error.errors()[0]
            if problem["type"] == "extra_forbidden":
                raise UserError(unknown(str(problem["loc"][0]), cls, verb)) from None
            # A union such as `Count | auto` reports each branch: the first one states the rule.
            message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            name = str(problem["loc"][0]) if problem["loc"] else cls.__name__
            if "got" not in message:
                message = f"must be {message}, got {problem['input']!r}"
            raise UserError(f"{name} {message}; `chemscale {verb} --help` explains it") from None
