"""Kill a study ten times and compare it with one that was left alone: `python tools/kill_study.py [SEED]`.

Two drivers with two workers each share one storage from two CHEMSCALE_HOMEs, as two machines would. At random moments
one of their processes gets SIGKILL; a driver that is gone is started again. At the end every training must be there
once, with the losses and laws of the undisturbed study. Takes some ten minutes on two cores; exits with 1 if not.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import mlflow
import pandas as pd
import psutil

KILLS = 10
STUDY = ["--task", "embedded-lm", "--params", "1e4,2e4,4e4", "--tokens", "4e5", "--seeds", "2", "--together", "1"]


def start(name: str, home: Path, work: Path, *more: str, study: list[str] = STUDY) -> psutil.Popen:
    """A driver of the study of that name, its output in `work`."""
    command = [sys.executable, "-m", "chemscale_bench", "study", *study, "--experiment", name, "--study", name, *more]
    log = (work / f"{name}-{home.name}.log").open("a")
    return psutil.Popen(command, env=os.environ | {"CHEMSCALE_HOME": str(home)}, stdout=log, stderr=log)


def processes_of(driver: psutil.Popen) -> list[psutil.Process]:
    """The driver and its workers."""
    try:
        return [driver, *driver.children()]
    except psutil.NoSuchProcess:
        return []


def trained(name: str) -> tuple[pd.DataFrame, dict[str, float]]:
    """The finished trainings of a study with their losses, and the numbers of its laws."""
    runs = mlflow.search_runs(experiment_names=[name], filter_string="attributes.status = 'FINISHED'")
    inner = runs["params.non_embedding_params"].notna()
    loss = runs[inner].set_index(["params.non_embedding_params", "params.seed"])["metrics.val/loss_nats_per_token"]
    (parent,) = runs[~inner & runs["params.study_name"].notna()].to_dict("records")
    # Not times, nor what was there when the forecast was written.
    others = ("metrics.study/", "metrics.forecast/", "metrics.system/")
    laws = {key: value for key, value in parent.items() if key.startswith("metrics.") and not key.startswith(others)}
    laws = {key: value for key, value in laws.items() if not math.isnan(value)}  # columns of other runs
    return loss.sort_index().to_frame("loss"), laws


def main() -> int:
    """Run both studies; gives the exit code."""
    draw = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db", "OMP_NUM_THREADS": "1"}
        homes = [work / "one", work / "two"]
        if start("calm", homes[0], work).wait():
            print((work / "calm-one.log").read_text()[-2000:])
            return 1
        shutil.copytree(homes[0], homes[1], ignore=shutil.ignore_patterns("studies", "runs"))
        shared = ("--storage", f"sqlite:///{work}/cells.db", "--workers", "2")
        drivers = {home: start("killed", home, work, *shared) for home in homes}
        for number in range(1, KILLS + 1):
            time.sleep(draw.uniform(2, 20))
            for home, driver in drivers.items():
                if not driver.is_running() or driver.poll() is not None:
                    drivers[home] = start("killed", home, work, *shared)
            alive = [process for driver in drivers.values() for process in processes_of(driver)]
            victim = draw.choice(alive)
            what = "driver" if victim in drivers.values() else "worker"
            victim.kill()
            done = len(mlflow.search_runs(experiment_names=["killed"], filter_string="attributes.status = 'FINISHED'"))
            print(f"{number:2}  {what} of {len(alive)} processes, {done} runs finished", flush=True)
        for driver in drivers.values():
            driver.wait()
        while code := start("killed", homes[0], work, *shared).wait():
            print(f"started again after exit code {code}", flush=True)
            if code == 2:
                print((work / "killed-one.log").read_text()[-2000:])
                return 1
        (calm, laws), (killed, same) = trained("calm"), trained("killed")
    print(calm.join(killed.add_suffix("_killed")))
    checks = {
        "every training is there once": killed.index.is_unique and killed.index.equals(calm.index),
        "losses are equal": killed.equals(calm),
        f"{len(laws)} numbers of the laws are equal": bool(laws) and laws == same,
    }
    for what, held in checks.items():
        print(f"{'yes' if held else 'NO '} {what}")
    return int(not all(checks.values()))


if __name__ == "__main__":
    sys.exit(main())
