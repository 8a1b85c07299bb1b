"""The verb `speed`: run the speed suites on this machine, measure its ceilings, and log how far we are from them."""

from __future__ import annotations

import difflib
import math
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from chemscale_bench import ceilings, measurements
from chemscale_bench.ceilings import Ceiling
from chemscale_bench.errors import UserError
from chemscale_bench.measurements import Row
from chemscale_bench.peaks import peak_flops
from chemscale_bench.settings.analysis import SpeedSettings
from chemscale_bench.tasks import FOLDER as BENCHMARKS
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tracking.provenance import code_tags, device_name, environment_tags
from chemscale_bench.tracking.recorder import Recorder

FOLDER = BENCHMARKS / "speed"
QUICK = ("startup", "data", "pruner", "training")
PYTEST = (
    "-s", "--verbosity=1", "--no-header", "--tb=short", "--disable-warnings", "--benchmark-quiet",
    "-p", "no:cacheprovider",
)  # fmt: skip
SECONDS = 3.0  # for each ceiling


def speed(settings: SpeedSettings) -> None:
    """Print the ceilings and the table of rows, and log numbers, table and figure to a housekeeping run."""
    with housekeeping_run("speed") as run_id:
        suites = chosen(settings.suite)
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
        for place, (suite, file) in enumerate(suites.items(), 1):
            say(f"suite {suite}, {place} of {len(suites)}")
            measured = run(suite, file, quick=settings.suite == "quick")
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


def chosen(suite: str) -> dict[str, Path]:
    """The suites that a user names, and their files.

    Raises:
        UserError: if there are no suites here, or none of that name.
    """
    there = {path.stem.removeprefix("test_"): path for path in sorted(FOLDER.glob("test_*.py"))}
    if not there:
        raise UserError(f"speed needs the suites of a checkout, there are none in {FOLDER}; run it in a clone")
    groups = {"quick": [name for name in QUICK if name in there], "all": list(there)}
    names = groups.get(suite) or [name.strip() for name in suite.split(",")]
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, [*groups, *there], n=1)
            hint = f"did you mean {near[0]}?" if near else "choose some, with commas between them"
            raise UserError(f"suite must be quick, all, or of {', '.join(there)}, got {name!r}; {hint}")
    return {name: there[name] for name in names}


def run(suite: str, file: Path, quick: bool) -> list[Row]:
    """The rows of one suite, run by pytest in a process of its own; one that breaks gives what it has, and a note."""
    tests = [str(file), *(["-m", "not slow"] if quick else [])]
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "rows.jsonl"
        environment = os.environ | {"CHEMSCALE_SPEED_ROWS": str(kept)}
        # Standard output carries the table alone.
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *PYTEST, *tests], cwd=FOLDER.parents[1], env=environment, stdout=2
        )
        rows = measurements.read(kept)
    if done.returncode and not any(row.note.startswith("failed") for row in rows):
        rows.append(Row(suite, "the suite", note=f"failed: pytest ended with exit code {done.returncode}"))
    return rows


def say(message: str) -> None:
    """Tell the user what goes on."""
    print(f"chemscale: {message}", file=sys.stderr, flush=True)
