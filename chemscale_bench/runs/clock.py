"""Where a run's time and energy went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from chemscale_bench.tracking.energy import EnergyMeter
from chemscale_bench.training.contracts import Report


class Clock:
    """Counts what training, saving, validating, ... take.

    Args:
        log: the part of the run's resume state where the counts are kept.
        device: whose energy is read.
    """

    def __init__(self, log: dict[str, Any], device: torch.device) -> None:
        self.log = log
        self.seconds: dict[str, float] = log.setdefault("seconds", {})
        self.paces: list[tuple[int, float]] = log.setdefault("paces", [])
        self.energy = EnergyMeter(device)
        self.last_shared = 0.0, time.monotonic()

    @contextmanager
    def clocked(self, what: str) -> Iterator[None]:
        """Count the time that something takes besides training."""
        started = time.perf_counter()
        yield
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - started

    def report(self, report: Report) -> None:
        """Count a stretch of training."""
        self.paces.append((report.amount, report.seconds))
        if report.kind == "decay":
            self.seconds["decays"] = self.seconds.get("decays", 0.0) + report.seconds

    def kilojoules(self, local_rank: int) -> float:
        """Energy since the last call; that of a node's processors only once, since their counter is of all of them."""
        if local_rank and self.energy.device.type == "cpu":
            return 0.0
        return self.energy.kilojoules_since_last_call()

    def share_of_time(self, trained: float, alone: bool) -> float:
        """The part of the time since the last call that was this run's: all of it, unless others trained beside it.

        Args:
            trained: seconds of training so far.
            alone: whether nothing is trained beside it.
        """
        now = time.monotonic()
        (trained_before, before), self.last_shared = self.last_shared, (trained, now)
        return 1.0 if alone else min(1.0, (trained - trained_before) / max(now - before, 1e-9))

    def times(self, trained: float, unit: str) -> dict[str, float]:
        """Where the run's time went, in seconds, and the pace between all that: units per second, the median report's.

        `warming_up` is what training took above that pace: compiling, recording graphs, batches that are still small.
        """
        amounts, seconds = np.array(self.paces).T
        order = np.argsort(amounts / seconds)
        half = np.searchsorted(np.cumsum(amounts[order]), amounts.sum() / 2)
        pace = float((amounts / seconds)[order][half])
        found = {f"time/{what}_s": value for what, value in self.seconds.items()}
        found |= {"time/training_s": trained, "time/warming_up_s": max(0.0, trained - float(amounts.sum()) / pace)}
        return found | {f"speed/steady_{unit}_per_s": pace}
