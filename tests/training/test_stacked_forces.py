"""Force fields in a stack learn as if they were alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
import torch
from small import Log, forgiven, update_as_on_a_gpu

from chemscale_bench.data.frames import prepare_frames
from chemscale_bench.data.structures import Frames
from chemscale_bench.models.force_fields import build, config_for
from chemscale_bench.training.averaging import RunningAverage
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.forces import ForceLoss, ForceObjective, FramesOnDevice
from chemscale_bench.training.learner import Due
from chemscale_bench.training.loop import Trainer, drive
from chemscale_bench.training.schedules import segments
from chemscale_bench.training.stacked import Stack
from chemscale_bench.training.together import train_together

MEMBERS: list[dict[str, Any]] = [
    {"rate": 4e-4, "weight_decay": 1.0},
    {"rate": 2e-4, "seed": 1},
    {"rate": 4e-4, "clip": 0.05, "seed": 2},
]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def frames() -> Frames:
    """Ethanol; some of its pairs of atoms are farther from one another than the cutoff of the tests."""
    return prepare_frames(
        "embedded", molecule="ethanol", split=1, train_size=50, validation_frames=10, test_frames=10, cutoff=3.5
    ).train


def trainer(
    frames: Frames, log: Log, name: str, steps: int, rate: float, *, seed: int = 0, weight_decay: float = 0.0,
    clip: float = 10.0, dtype: torch.dtype = torch.float32, few: int = 50,
) -> Trainer:  # fmt: skip
    frames = frames.take(np.arange(few))
    elements = tuple(int(number) for number in np.unique(frames.numbers))
    potential = build(name, config_for(name, 3000, elements, cutoff=3.5), elements, seed).to(dtype)
    potential.scale.fill_(float(np.sqrt(np.square(frames.forces).mean())))
    loss = ForceLoss(potential, 0.99, 0.01)
    on_device = FramesOnDevice(frames, 3.5, float(frames.energies.mean()), CPU, dtype)
    log.trainer = Trainer(
        Fabric(accelerator="cpu", devices=1), loss,
        torch.optim.AdamW(loss.parameters(), rate, weight_decay=weight_decay, fused=True),
        ForceObjective(on_device, seed, batch_frames=4, diverged_loss=100.0), log, plan=segments([4 * steps], 0.5),
        warmup=40, clip=clip, report_every=40, save_seconds=1e9, pass_limit=4096, average=RunningAverage(loss, 0.9),
    )  # fmt: skip
    return log.trainer


Train = Callable[..., list[Log]]


@pytest.fixture(scope="module")
def train(frames: Frames) -> Train:
    """Train members alone, or so many at once."""

    def run(members: list[dict[str, Any]], places: int, **common: Any) -> list[Log]:
        logs = [Log() for _ in members]
        waiting = [trainer(frames, log, **(common | member)) for log, member in zip(logs, members, strict=True)]

        def start() -> Generator[Due, None, None] | None:
            return forgiven(waiting.pop(0).steps_due()) if waiting else None

        if places:
            train_together(start, places)
        while member := start():
            drive(member)
        return logs

    return run


def assert_equal(ours: list[Log], theirs: list[Log], tolerance: float) -> None:
    """The same curves, and the same running averages of the weights in the end."""
    for mine, alone in zip(ours, theirs, strict=True):
        assert [report.position for report in mine.reports] == [report.position for report in alone.reports]
        for field in ("loss", "learning_rate", "gradient_norm"):
            values, expected = ([getattr(report, field) for report in log.reports] for log in (mine, alone))
            assert values == pytest.approx(expected, rel=tolerance * (100 if field == "gradient_norm" else 1))
        averages = [log.trainer.average.state_dict() for log in (mine, alone) if log.trainer and log.trainer.average]
        torch.testing.assert_close(*averages, rtol=100 * tolerance, atol=100 * tolerance)


@pytest.mark.parametrize("name", ["schnet", "painn"])
def test_a_curve_over_200_steps_is_that_of_the_member_alone(train: Train, name: str) -> None:
    together, alone = (train(MEMBERS[::2], places, name=name, steps=200) for places in (2, 0))
    assert_equal(together, alone, 1e-5)
    assert together[0].reports[-1].loss < 0.7 * together[0].reports[0].loss


@pytest.mark.parametrize(("name", "at_once"), [("schnet", False), ("painn", True)])
def test_members_may_have_other_frames_of_the_molecule(
    train: Train, name: str, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their energies have other references then, and their forces another scale."""
    if at_once:
        monkeypatch.setattr(Stack, "update_rows", update_as_on_a_gpu)
    members = [member | {"few": few} for member, few in zip(MEMBERS, (50, 7, 20), strict=True)]
    together, alone = (train([*members, *members[1:]], places, name=name, steps=20) for places in (2, 0))
    scales = {float(log.trainer.module.potential.scale) for log in together if log.trainer}  # type: ignore[union-attr, arg-type]
    assert len(scales) == 3
    assert_equal(together, alone, 1e-5)


@pytest.mark.parametrize("name", ["schnet", "painn"])
def test_in_fp64_it_is_so_at_any_learning_rate(train: Train, name: str) -> None:
    members = [member | {"rate": 1e-2, "dtype": torch.float64} for member in MEMBERS]
    together, alone = (train(members, places, name=name, steps=20) for places in (3, 0))
    assert_equal(together, alone, 1e-7)  # of the norm, kept in fp32, 1e-5


OF_UNEQUAL_LENGTH = [member | {"steps": 10 + 10 * number} for number, member in enumerate(MEMBERS)]


@pytest.fixture(scope="module")
def alone(train: Train) -> list[Log]:
    """Members that end one after the other, each trained alone."""
    return train(OF_UNEQUAL_LENGTH, 0, name="schnet")


@pytest.mark.parametrize("shares", [1, 2])
@pytest.mark.parametrize("at_once", [False, True])
def test_members_come_and_go(
    train: Train, alone: list[Log], shares: int, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: shares)
    if at_once:
        monkeypatch.setattr(Stack, "update_rows", update_as_on_a_gpu)
    assert_equal(train(OF_UNEQUAL_LENGTH, 2, name="schnet"), alone, 1e-5)


@pytest.mark.parametrize("name", ["schnet", "painn"])
def test_a_member_that_diverges_does_not_touch_its_neighbours(train: Train, name: str) -> None:
    members = [MEMBERS[0], {"rate": 1e4}, MEMBERS[1]]
    together = train(members, 3, name=name, steps=20)
    assert not together[1].budgets
    assert_equal([together[0], together[2]], train(MEMBERS[:2], 0, name=name, steps=20), 1e-5)
