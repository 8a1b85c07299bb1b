"""Who takes part and when, and what becomes of the others when one fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from chemscale_bench.training.learner import Step
from chemscale_bench.training.together import train_together


class Training:
    """So many steps, which it performs alone; `diary` keeps what happens."""

    objective = SimpleNamespace(stacks=False)

    def __init__(self, name: str, steps: int, diary: list[str], fails: str = "") -> None:
        self.name, self.steps, self.diary, self.fails = name, steps, diary, fails

    def steps_due(self) -> Generator[Step, None, None]:
        trainer: Any = self
        try:
            for _ in range(self.steps):
                yield Step(trainer, None, 1)
            if self.fails == "at its end":
                raise ValueError(self.name)
        except BaseException as error:
            self.diary.append(f"{self.name} sees {type(error).__name__}")
            raise
        self.diary.append(f"{self.name} ends")

    def perform(self, step: Step) -> None:
        assert step.trainer is self
        if self.fails == "together":
            raise MemoryError(self.name)
        self.diary.append(self.name)


def play(places: int, *trainings: Training | None) -> None:
    """Hand out trainings one after another, nothing where there is a None and when there are no more."""
    waiting: Iterator[Training | None] = iter(trainings)

    def start() -> Generator[Step, None, None] | None:
        training = next(waiting, None)
        return training.steps_due() if training else None

    train_together(start, places)
    assert next(waiting, None) is None, "there was more to start"


def test_who_ends_makes_room_for_the_next() -> None:
    diary: list[str] = []
    play(2, *(Training(name, steps, diary) for name, steps in (("a", 1), ("b", 3), ("c", 2))))
    assert diary == ["a", "b", "a ends", "b", "c", "b", "c", "b ends", "c ends"]


def test_a_training_without_a_step_takes_no_place() -> None:
    diary: list[str] = []
    play(1, *(Training(name, steps, diary) for name, steps in (("a", 0), ("b", 1), ("c", 0))))
    assert diary == ["a ends", "b", "b ends", "c ends"]


def test_more_may_come_when_one_has_ended_and_not_before() -> None:
    diary: list[str] = []
    play(2, Training("a", 2, diary), None, Training("b", 1, diary))
    assert diary == ["a", "a", "a ends", "b", "b ends"]


def test_the_others_are_closed_when_one_fails() -> None:
    diary: list[str] = []
    made = Training("a", 3, diary), Training("b", 1, diary, fails="at its end"), Training("c", 3, diary)
    with pytest.raises(ValueError, match="b"):
        play(3, *made)
    assert diary[:3] == ["a", "b", "c"]
    assert sorted(diary[3:]) == ["a sees GeneratorExit", "b sees ValueError", "c sees GeneratorExit"]


def test_all_see_the_error_of_what_they_do_together() -> None:
    diary: list[str] = []
    with pytest.raises(MemoryError, match="b"):
        play(2, Training("a", 3, diary), Training("b", 3, diary, fails="together"))
    assert diary == ["a", "a sees MemoryError", "b sees MemoryError"]
