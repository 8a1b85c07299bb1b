"""Trainings that come and go in one stack."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress

from chemscale_bench.training.learner import Step
from chemscale_bench.training.stacked import Stack


def train_together(start: Callable[[], Generator[Step, None, None] | None], places: int) -> None:
    """Train up to `places` at once until there is nothing left to start.

    When one fails, the others are closed; when what they do together fails, each of them sees the error.

    Args:
        start: the steps of another training, or nothing; asked again whenever a training has ended.
        places: how many take part at most; who ends makes room for the next.
    """
    running: list[Generator[Step, None, None]] = []
    waiting: list[Generator[Step, None, None]] = []
    everybody: Stack | None = None
    more = True
    try:
        while True:
            waiting, running, steps = running, [], []
            while len(running) < places:
                member = waiting.pop(0) if waiting else start() if more else None
                if member is None:
                    more = False
                    break
                step = next(member, None)
                if step is None:
                    more = True
                else:
                    running.append(member)
                    steps.append(step)
            if not steps:
                return
            try:
                if steps[0].trainer.objective.stacks:
                    everybody = everybody or Stack(places, steps[0].trainer)
                    everybody.perform(steps)
                else:
                    for step in steps:
                        step.trainer.perform(step)
            except BaseException as error:
                for member in running:
                    with suppress(BaseException):  # it is raised below
                        member.throw(error)
                raise
    finally:
        with ExitStack() as closing:
            for member in [*waiting, *running]:
                closing.callback(member.close)
        if everybody:
            everybody.forget()
            everybody.pool.shutdown()
