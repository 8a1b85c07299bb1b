"""Trainings that come and go in one stack."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress

from chemscale_bench.training.learner import Due, Measurement, Step
from chemscale_bench.training.stacked import Stack


def train_together(start: Callable[[], Generator[Due, None, None] | None], places: int) -> None:
    """Train up to `places` at once until there is nothing left to start.

    When one fails, the others are closed; when the steps that they take together fail, each of them sees the error.

    Args:
        start: what another training waits for, or nothing; asked again whenever a training has ended.
        places: how many take part at most; who ends makes room for the next.
    """
    due: dict[Generator[Due, None, None], Due] = {}
    stack: Stack | None = None
    more = True

    def advance(member: Generator[Due, None, None], error: BaseException | None = None) -> None:
        nonlocal more
        try:
            due[member] = member.throw(error) if error else next(member)
        except StopIteration:
            due.pop(member, None)
            more = True

    try:
        while True:
            while more and len(due) < places:
                if member := start():
                    advance(member)
                else:
                    more = False
            steps = [each for each in due.values() if isinstance(each, Step)]
            if not due:
                return
            if len(steps) < len(due):  # those who take a step wait for those who are to be measured
                measured = {member: each for member, each in due.items() if isinstance(each, Measurement)}
                works = [each.perform for each in measured.values()]
                for member, error in zip(measured, errors_of(works, stack), strict=True):
                    advance(member, error)
                continue
            try:
                if steps[0].trainer.objective.stacks:
                    stack = stack or Stack(places, steps[0].trainer)
                    stack.perform(steps)
                else:
                    for step in steps:
                        step.perform()
            except BaseException as error:
                for member in due:
                    with suppress(BaseException):  # it is raised below
                        member.throw(error)
                raise
            for member in list(due):
                advance(member)
    finally:
        with ExitStack() as closing:
            for member in due:
                closing.callback(member.close)
        if stack:
            stack.forget()
            stack.pool.shutdown()


def errors_of(works: list[Callable[[], None]], stack: Stack | None) -> list[BaseException | None]:
    """What each piece of work raised, if anything; the threads of a stack do it side by side."""
    if stack and stack.workers > 1 and len(works) > 1:  # alone, it has all cores
        return [done.exception() for done in stack.in_threads(works)]
    errors: list[BaseException | None] = []
    for work in works:
        try:
            work()
            errors.append(None)
        except Exception as error:
            errors.append(error)
    return errors
