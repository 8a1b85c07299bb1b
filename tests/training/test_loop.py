"""The loop on a small language model: budgets, exact resume, divergence, memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small import Log, make_molecules, trainer

from chemscale_bench.data.store import Molecules
from chemscale_bench.training import checkpoints
from chemscale_bench.training.averaging import RunningAverage
from chemscale_bench.training.learner import Measurement
from chemscale_bench.training.loop import Diverged, Trainer


@pytest.fixture(scope="module")
def molecules() -> Molecules:
    return make_molecules()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_and_counts_exactly(molecules: Molecules) -> None:
    log = Log()
    assert trainer(molecules, log, [4000, 12000]).run() is None
    assert list(log.budgets) == [4000, 12000]
    assert sum(report.amount for report in log.reports) == pytest.approx(12000 + 1000, abs=400)
    assert log.reports[-1].position == 12000
    assert log.reports[-1].loss < 0.6 * log.reports[0].loss


def test_a_budget_s_result_does_not_depend_on_the_budgets_around_it(molecules: Molecules) -> None:
    alone, among = Log(), Log()
    trainer(molecules, alone, [8000]).run()
    trainer(molecules, among, [4000, 8000, 12000]).run()
    assert same(alone.budgets[8000], among.budgets[8000])


@pytest.mark.parametrize("stop_at", [1, 8, 9, 14, 17])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    molecules: Molecules, tmp_path: Path, stop_at: int
) -> None:
    whole, first, second = Log(), Log(stop_at), Log()
    trainer(molecules, whole, [4000, 8000]).run()
    assert trainer(molecules, first, [4000, 8000]).run() == "asked"
    checkpoints.save_state(first.states[-1], tmp_path / "state.pt")
    resumed = trainer(molecules, second, [4000, 8000])
    resumed.resume(checkpoints.load_state(tmp_path / "state.pt"))
    resumed.run()
    assert same(whole.budgets[8000], second.budgets[8000])
    curve = [(report.kind, report.position, report.loss) for report in first.reports + second.reports]
    assert curve == [(report.kind, report.position, report.loss) for report in whole.reports]


def test_smaller_passes_change_nothing_but_rounding(molecules: Molecules) -> None:
    large, small = Log(), Log()
    trainer(molecules, large, [4000]).run()
    trainer(molecules, small, [4000], pass_limit=100).run()
    for ours, theirs in zip(large.reports, small.reports, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-3)


def test_out_of_memory_halves_the_passes_and_goes_on(molecules: Molecules, monkeypatch: pytest.MonkeyPatch) -> None:
    log, plain = Log(), Log()
    trainer(molecules, plain, [4000], pass_limit=250).run()
    limited = trainer(molecules, log, [4000], pass_limit=1000)
    real = limited.module.forward

    def small_device(batch: Any) -> torch.Tensor:
        if (len(batch.offsets) - 1) * int(batch.positions.max() + 1) > 260:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(batch)

    monkeypatch.setattr(limited.module, "forward", small_device)
    limited.run()
    assert limited.pass_limit == 250
    assert same(log.budgets[4000], plain.budgets[4000])


@pytest.mark.parametrize("rate", [1e4, float("nan")])
def test_divergence_ends_the_run_with_the_reason(molecules: Molecules, rate: float) -> None:
    with pytest.raises(
        Diverged,
        match=r"mean loss was .* after [\d,]+ tokens or frames, where that of an untrained model stays below 4\.485",
    ):
        trainer(molecules, Log(), [8000], rate=rate).run()


def steps_of(molecules: Molecules, budgets: list[int], batch: int) -> list[int]:
    """Positions behind each optimizer step."""
    positions = []
    running = trainer(molecules, Log(), budgets, batch=batch)
    for step in running.steps_due():
        if isinstance(step, Measurement):
            continue
        step.perform()
        positions.append(running.position + step.amount)
    return positions


def test_no_step_goes_past_a_budget_and_the_trunk_leaves_room_for_the_decay(molecules: Molecules) -> None:
    # A trunk to 750 and a decay to 1,000, twice; the second trunk begins where the first one was left.
    assert steps_of(molecules, [1000], 300) == [300, 600, 900, 1000]
    assert steps_of(molecules, [1000], 700) == [700, 750, 1000]
    assert steps_of(molecules, [1000], 500) == [500, 750, 1000]  # a step would end just at the budget
    assert steps_of(molecules, [1000, 2000], 700) == [700, 750, 1000, 1450, 1500, 2000]


def test_what_one_step_changes(molecules: Molecules) -> None:
    """AdamW's first step is the learning rate in every direction, and weight decay on hidden matrices."""
    running = trainer(molecules, Log(), [400], rate=0.01, weight_decay=0.1)
    before = {name: value.detach().clone() for name, value in running.module.named_parameters()}
    rates = {id(p): group["lr"] for group in running.optimizer.param_groups for p in group["params"]}
    (step,) = [next(running.steps_due())]
    running.perform(step)
    for name, value in running.module.named_parameters():
        hidden = value.ndim == 2 and name.startswith("blocks.")
        factor = rates[id(value)] / 0.01
        rate = rates[id(value)] / 500  # the first of 500 tokens of warm-up
        shrunk = before[name] * (1 - rate * (0.1 / factor if hidden else 0))
        moved = (value.detach() - shrunk).abs()
        assert float(moved.max()) <= rate * 1.01, name
        assert float(moved.median()) == pytest.approx(rate, rel=0.05) or float(moved.median()) == 0, name
    assert max(rates.values()) > min(rates.values())


def test_a_resumed_run_keeps_its_average_its_time_and_its_passes(molecules: Molecules, tmp_path: Path) -> None:
    def averaged(log: Log) -> Trainer:
        made = trainer(molecules, log, [4000])
        made.average = RunningAverage(made.module, 0.99)
        return made

    whole, first = averaged(Log()), averaged(stopped := Log(stop_at=6))
    whole.run()
    first.pass_limit = 300
    first.run()
    checkpoints.save_state(stopped.states[-1], tmp_path / "state.pt")
    second = averaged(Log())
    second.resume(checkpoints.load_state(tmp_path / "state.pt"))
    assert second.pass_limit == 300
    assert second.train_seconds == first.train_seconds > 0
    assert second.seconds_reported == first.seconds_reported > 0
    assert same(first.average.state_dict(), second.average.state_dict())  # type: ignore[union-attr]
    second.pass_limit = whole.pass_limit
    second.run()
    assert second.train_seconds > first.train_seconds
    for name, value in whole.average.state_dict().items():  # type: ignore[union-attr]
        torch.testing.assert_close(second.average.state_dict()[name], value, rtol=1e-4, atol=1e-6)  # type: ignore[union-attr]
