"""Members of a stack learn as if they were alone."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache, partial
from threading import Barrier
from typing import Any, NoReturn

import pytest
import torch
from small import Log, forgiven, make_molecules, trainer, update_as_on_a_gpu
from torch import nn

from chemscale_bench.data.store import Molecules
from chemscale_bench.training.learner import Due
from chemscale_bench.training.loop import Trainer, drive
from chemscale_bench.training.stacked import Stack
from chemscale_bench.training.stacked_layers import stacked_module
from chemscale_bench.training.together import train_together

MEMBERS: list[dict[str, Any]] = [
    {"rate": 2e-4},
    {"rate": 4e-4, "seed": 1},
    {"rate": 1e-4, "weight_decay": 3.0},
    {"rate": 2e-4, "clip": 0.05, "seed": 2},
    {"rate": 2e-4, "batch": 150},
]


@pytest.fixture(scope="module")
def molecules() -> Molecules:
    return make_molecules()


def train_alone(molecules: Molecules, budgets: list[int], members: list[dict[str, Any]]) -> list[Log]:
    logs = [Log() for _ in members]
    for log, member in zip(logs, members, strict=True):
        trainer(molecules, log, budgets, **member).run()
    return logs


@pytest.fixture(scope="module")
def alone(molecules: Molecules) -> Callable[..., list[Log]]:
    """All `MEMBERS` trained alone to some budgets, once for all tests."""
    return cache(lambda *budgets: train_alone(molecules, list(budgets), MEMBERS))


def train_stacked(molecules: Molecules, budgets: list[int], members: list[dict[str, Any]], places: int) -> list[Log]:
    logs = [Log() for _ in members]
    waiting = [trainer(molecules, log, budgets, **member) for log, member in zip(logs, members, strict=True)]

    def start() -> Generator[Due, None, None] | None:
        return forgiven(waiting.pop(0).steps_due()) if waiting else None

    train_together(start, places)
    return logs


def assert_equal_curves(ours: list[Log], theirs: list[Log], tolerance: float) -> None:
    for mine, alone in zip(ours, theirs, strict=True):
        assert [(r.kind, r.position, r.amount) for r in mine.reports] == [
            (r.kind, r.position, r.amount) for r in alone.reports
        ]
        for field in ("loss", "learning_rate", "gradient_norm"):
            values, expected = ([getattr(report, field) for report in log.reports] for log in (mine, alone))
            assert values == pytest.approx(expected, rel=tolerance * (10 if field == "gradient_norm" else 1))
        for budget, weights in alone.budgets.items():
            for name, weight in weights.items():
                torch.testing.assert_close(mine.budgets[budget][name], weight, rtol=1e-3, atol=100 * tolerance)


def test_a_curve_over_200_steps_is_that_of_the_member_alone(molecules: Molecules) -> None:
    members = MEMBERS[2:4]
    assert_equal_curves(
        train_stacked(molecules, [80_000], members, places=2), train_alone(molecules, [80_000], members), 1e-5
    )


@pytest.mark.parametrize("places", [1, 2, 5])
def test_members_come_and_go_branch_and_have_batches_of_their_own(
    molecules: Molecules, alone: Callable[..., list[Log]], places: int
) -> None:
    assert_equal_curves(train_stacked(molecules, [4000, 8000], MEMBERS, places), alone(4000, 8000), 1e-5)


def test_members_in_fp64_stay_in_fp64(molecules: Molecules) -> None:
    members = [member | {"precision": "64-true"} for member in MEMBERS[:3]]
    together = train_stacked(molecules, [2000], members, places=3)
    assert_equal_curves(together, train_alone(molecules, [2000], members), 1e-6)
    assert together[0].budgets[2000]["norm_out.weight"].dtype == torch.float64
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("shares", [1, 2, 3, 5])
def test_a_stack_may_be_cut_in_shares(
    shares: int, molecules: Molecules, alone: Callable[..., list[Log]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: shares)
    assert_equal_curves(train_stacked(molecules, [4000], MEMBERS, places=5), alone(4000), 1e-5)


def test_the_update_of_all_members_at_once_gives_the_same_curves(
    molecules: Molecules, alone: Callable[..., list[Log]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stack, "update_rows", update_as_on_a_gpu)
    assert_equal_curves(train_stacked(molecules, [4000], MEMBERS, places=5), alone(4000), 1e-5)


@pytest.mark.parametrize("on_a_gpu", [False, True])
def test_members_may_learn_by_muon(molecules: Molecules, monkeypatch: pytest.MonkeyPatch, on_a_gpu: bool) -> None:
    members = [member | {"rate": 50 * member["rate"], "optimizer": "muon"} for member in MEMBERS]
    if on_a_gpu:
        monkeypatch.setattr(Stack, "update_rows", update_as_on_a_gpu)
    together = train_stacked(molecules, [2000, 4000], members, places=3)
    assert_equal_curves(together, train_alone(molecules, [2000, 4000], members), 1e-4)


@pytest.mark.parametrize("rate", [1e4, float("nan")])
def test_a_member_that_diverges_does_not_touch_its_neighbours(
    molecules: Molecules, alone: Callable[..., list[Log]], rate: float
) -> None:
    members = [MEMBERS[0], {"rate": rate}, MEMBERS[1]]
    together = train_stacked(molecules, [8000], members, places=3)
    assert 8000 not in together[1].budgets
    assert_equal_curves([together[0], together[2]], alone(8000)[:2], 1e-5)


def test_a_state_saved_in_a_stack_goes_on_alone(molecules: Molecules, alone: Callable[..., list[Log]]) -> None:
    whole = alone(8000)[0]
    logs = [Log(stop_at=7), Log()]
    waiting = [trainer(molecules, log, [8000], **member) for log, member in zip(logs, MEMBERS, strict=False)]
    train_together(lambda: waiting.pop(0).steps_due() if waiting else None, 2)
    log = Log()
    resumed = trainer(molecules, log, [8000], **MEMBERS[0])
    resumed.resume(logs[0].states[-1])
    resumed.run()
    for ours, theirs in zip(logs[0].reports + log.reports, whole.reports, strict=True):
        assert ours.position == theirs.position
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
    assert logs[1].budgets


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_others_are_closed_when_one_fails(molecules: Molecules, place: int) -> None:
    ended: dict[int, str] = {}

    def member(number: int) -> Generator[Due, None, None]:
        try:
            for count, step in enumerate(trainer(molecules, Log(), [8000]).steps_due()):
                if number == place and count == 3:
                    raise OSError("the disk is full")
                yield step
        except BaseException as error:
            ended[number] = type(error).__name__
            raise

    waiting = [member(number) for number in range(3)]
    with pytest.raises(OSError, match="the disk is full"):
        train_together(lambda: waiting.pop(0) if waiting else None, 3)
    assert ended == {number: "OSError" if number == place else "GeneratorExit" for number in range(3)}


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_a_measurement_is_its_owners(molecules: Molecules, threads: int) -> None:
    logs, seen = [Log(), Log(), Log()], []

    def member(log: Log) -> Generator[Due, None, None]:
        try:
            yield from trainer(molecules, log, [8000]).steps_due()
        except OSError as error:
            seen.append((logs.index(log), str(error)))

    def broken(budget: int) -> NoReturn:
        raise OSError(f"no room at {budget}")

    logs[1].measure = broken  # type: ignore[method-assign]
    waiting = [member(log) for log in logs]
    with cores(threads):
        train_together(lambda: waiting.pop(0) if waiting else None, 3)
    assert seen == [(1, "no room at 8000")]
    assert [list(log.budgets) for log in logs] == [[8000], [], [8000]]


def test_an_interrupted_measurement_ends_all(molecules: Molecules) -> None:
    logs = [Log(), Log()]
    seen: list[int] = []

    def interrupted(budget: int) -> NoReturn:
        raise KeyboardInterrupt

    for log in logs:
        log.measure = interrupted  # type: ignore[method-assign]

    def member(number: int) -> Generator[Due, None, None]:
        try:
            yield from trainer(molecules, logs[number], [8000]).steps_due()
        except GeneratorExit:
            seen.append(number)
            raise

    waiting = [member(number) for number in range(2)]
    with cores(1), pytest.raises(KeyboardInterrupt):
        train_together(lambda: waiting.pop(0) if waiting else None, 2)
    assert sorted(seen) == [0, 1]
    assert not any(log.budgets for log in logs)


def test_members_are_measured_side_by_side(molecules: Molecules) -> None:
    meeting = Barrier(2, timeout=60)
    logs = [Log(), Log()]
    for log in logs:
        log.measure = lambda budget: {"order": torch.tensor(meeting.wait())}  # type: ignore[method-assign]
    waiting = [trainer(molecules, log, [8000]).steps_due() for log in logs]
    with cores(2):
        train_together(lambda: waiting.pop(0) if waiting else None, 2)
    assert sorted(int(log.budgets[8000]["order"]) for log in logs) == [0, 1]


@contextmanager
def cores(count: int) -> Iterator[None]:
    """As on a machine of so many."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("together", [False, True])
def test_every_member_sees_an_error_of_what_they_do_together(
    molecules: Molecules, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def member() -> Generator[Due, None, None]:
        try:
            yield from trainer(molecules, Log(), [8000]).steps_due()
        except RuntimeError as error:
            seen.append(str(error))
            raise

    def broken(*_: object) -> None:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(Trainer, "perform", broken)
    monkeypatch.setattr(Stack, "perform", broken)
    waiting = [member() for _ in range(3 if together else 1)]
    train: Callable[..., None] = (
        partial(train_together, lambda: waiting.pop(0) if waiting else None, 3) if together else drive
    )
    with pytest.raises(RuntimeError, match="the device is lost"):
        train(*([] if together else waiting))
    assert seen == ["the device is lost"] * (3 if together else 1)


def test_time_is_shared_out(molecules: Molecules) -> None:
    waiting = [trainer(molecules, Log(), [4000], seed=seed) for seed in range(3)]
    members = list(waiting)
    started = time.perf_counter()
    train_together(lambda: waiting.pop(0).steps_due() if waiting else None, 3)
    spent = [member.train_seconds for member in members]
    assert max(spent) == pytest.approx(min(spent), rel=0.5)
    assert sum(spent) < time.perf_counter() - started


def test_a_layer_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="Conv1d cannot be stacked"):
        stacked_module(nn.Sequential(nn.Conv1d(1, 1, 1)), {})
