"""The verb `speed`: run the speed suites on this machine, measure its ceilings, and log how far we are from them."""

from __future__ import annotations

import math
import os
import sys
from datetime import date

import torch

from chemscale_bench.settings.speed import SpeedSettings
from chemscale_bench.speed import ceilings, measurements, suites
from chemscale_bench.speed.ceilings import Ceiling
from chemscale_bench.speed.measurements import Row
from chemscale_bench.speed.peaks import peak_flops
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tracking.provenance import code_tags, device_name, environment_tags
from chemscale_bench.tracking.recorder import Recorder

SECONDS = 3.0  # for each ceiling


def speed(settings: SpeedSettings) -> None:
    """Print the ceilings and the table of rows, and log numbers, table and figure to a housekeeping run."""
    files = suites.chosen(settings.suite)
    with housekeeping_run("speed") as run_id:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        name, recorder = device_name(device), Recorder(run_id)
        recorder.params(settings.model_dump())
        machine, load = environment_tags(device), os.getloadavg()[0]
        recorder.tags(code_tags() | machine)
        recorder.metrics({"speed/load_before": load}, 0)
        say(f"measuring what {name} can do")
        highest = ceilings.ceilings_of(device, SECONDS)
        recorder.metrics(numbers(highest, name), 0)
        rows: list[Row] = []
        for place, (suite, file) in enumerate(files.items(), 1):
            say(f"suite {suite}, {place} of {len(files)}")
            measured = suites.run(suite, file, quick=settings.suite == "quick")
            for row in measured:
                recorder.metrics(row.metrics(highest), 0)
            recorder.send()
            rows += measured
            recorder.client.log_text(run_id, measurements.lines(rows), "rows.jsonl")
        recorder.metrics({"speed/failed": sum(row.note.startswith("failed") for row in rows)}, 0)
        recorder.deliver()
        threads = f"{machine['machine.cpus']} cores, {torch.get_num_threads()} threads of torch"
        title = f"{name}, {threads}, a load of {load:.1f} from others, {date.today()}"
        page = f"{title}\n\n{ceilings.table(highest)}\n\n{measurements.table(rows, highest)}\n"
        recorder.client.log_text(run_id, page, "speed.md")
        recorder.figure(measurements.figure(rows, title), "figures/speed.html")
        print(f"\n{page}\nlogged to MLflow run {run_id}")


def numbers(highest: dict[str, Ceiling], device: str) -> dict[str, float]:
    """The ceilings as metrics, and the share of the data sheet's peak where that is known."""
    values = {"share_of_data_sheet": 1e9 * highest["matrix_bf16_gflop_per_s"].median / peak_flops(device)}
    for key, one in highest.items():
        values |= {key: one.median, f"{key}_low": one.low, f"{key}_high": one.high}
    return {f"ceilings/{key}": value for key, value in values.items() if math.isfinite(value)}


def say(message: str) -> None:
    """Tell the user what goes on."""
    print(f"chemscale: {message}", file=sys.stderr, flush=True)
