"""Studies on real servers, all on this one machine: `python tools/engines.py [slurm] [ray] [postgresql]`.

- slurm: a job array on the Slurm of `one_node_slurm.sh` (as root); a working job is requeued in mid-study;
- ray: two nodes on loopback, each with one core; one of them is killed in mid-study;
- postgresql: two drivers with two CHEMSCALE_HOMEs, cells and runs in two databases of a new server; one driver is
  killed in mid-study, and started again.

Each must end with every training there once and a law, and all with the same losses and laws. Exits with 1 if not.
Needs `pip install 'chemscale-bench[slurm,ray]' psycopg2-binary` and `apt install slurm-wlm munge postgresql`.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import kill_study
import mlflow
import pandas as pd
import psutil

from chemscale_bench.tracking.store import open_store

STUDY = ["--task", "embedded-lm", "--params", "1e4,2e4,4e4", "--tokens", "1e5", "--seeds", "2", "--together", "1"]
TRAININGS = 6
PATIENCE = 3600.0
"""Seconds that a study may take."""
PORT = 15432
"""Of PostgreSQL."""
Outcome = tuple[pd.DataFrame, dict[str, float]]

start = partial(kill_study.start, study=STUDY)


def say(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def use_store(address: str) -> None:
    """Have runs logged there, by this process and those that it starts."""
    os.environ["MLFLOW_TRACKING_URI"] = address
    mlflow.set_tracking_uri(address)
    open_store()


def wait_for(what: Callable[[], object], driver: psutil.Popen) -> None:
    """Wait until something is so while a driver works."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        if driver.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the study ended too early or never got there, exit code {driver.poll()}")
        time.sleep(2)


def wait_for_end(driver: psutil.Popen) -> None:
    """Wait for the end of a driver, which must be a good one."""
    if code := driver.wait(PATIENCE):
        raise RuntimeError(f"the study ended with exit code {code}")


def in_the_middle(name: str) -> bool:
    """Whether a study has a training that is over, and one under way that has begun to learn."""
    experiment = mlflow.get_experiment_by_name(name)
    runs = mlflow.search_runs([experiment.experiment_id], output_format="list") if experiment else []
    learned = {run.info.status for run in runs if "train/loss_nats_per_token" in run.data.metrics}
    return {"RUNNING", "FINISHED"} <= learned


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """A Slurm of one node."""
    script = Path(__file__).with_name("one_node_slurm.sh")
    subprocess.run(["sh", str(script), str(folder)], check=True)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        yield
    finally:
        daemons = [psutil.Process(int((folder / f"{name}.pid").read_text())) for name in ("slurmd", "slurmctld")]
        for daemon in daemons:
            daemon.terminate()
        psutil.wait_procs(daemons, 60)  # they write their states


def on_slurm(work: Path) -> Outcome:
    """A study as a job array, of which one job is requeued."""
    with slurm(work / "slurm"):
        storage = f"sqlite:///{work}/slurm-cells.db"
        driver = start("slurm", work / "home", work, "--engine", "slurm", "--workers", "2", "--storage", storage)
        wait_for(lambda: in_the_middle("slurm"), driver)
        queue = ["squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i"]
        jobs = subprocess.run(queue, capture_output=True, text=True, check=True).stdout.split()
        subprocess.run(["scontrol", "requeue", jobs[0]], check=True)
        say(f"job {jobs[0]} is requeued, at work were {', '.join(jobs)}")
        wait_for_end(driver)
        return kill_study.trained("slurm")


def on_ray(work: Path) -> Outcome:
    """A study on a cluster of two nodes, of which one is killed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        where = ("--engine_options", f"address={cluster.address}", "--storage", f"sqlite:///{work}/ray-cells.db")
        driver = start("ray", work / "home", work, "--engine", "ray", "--workers", "2", *where)
        wait_for(lambda: in_the_middle("ray"), driver)
        cluster.remove_node(node, allow_graceful=False)
        say("one of two nodes is killed")
        wait_for_end(driver)
        return kill_study.trained("ray")
    finally:
        cluster.shutdown()


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL server with two empty databases; gives its address."""
    programs = os.pathsep.join([os.environ["PATH"], *glob.glob("/usr/lib/postgresql/*/bin")])  # Debian's are off PATH
    folder.mkdir()
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to work as root
    if user:
        folder.parent.chmod(0o711)
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        path = shutil.which(program, path=programs) or program
        subprocess.run([path, *arguments], check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)

    data = f"{folder}/data"
    run("initdb", "--pgdata", data, "--username", "ada", "--auth", "trust")
    options = f"-p {PORT} -k {folder} -c listen_addresses=127.0.0.1"
    run("pg_ctl", "--pgdata", data, "--log", f"{folder}/log", "--wait", "--options", options, "start")
    try:
        for database in ("studies", "mlflow"):
            run("createdb", "--host", "127.0.0.1", "--port", str(PORT), "--username", "ada", database)
        yield f"postgresql+psycopg2://ada@127.0.0.1:{PORT}"
    finally:
        run("pg_ctl", "--pgdata", data, "--mode", "fast", "--wait", "stop")


def on_postgresql(work: Path) -> Outcome:
    """A study by two drivers that share nothing but databases; one is killed and started again."""
    with postgresql(work / "postgresql") as server:
        use_store(f"{server}/mlflow")
        homes, shared = (work / "home", work / "second"), ("--storage", f"{server}/studies")
        drivers = [start("postgresql", home, work, *shared) for home in homes]
        wait_for(lambda: in_the_middle("postgresql"), drivers[0])
        drivers[0].kill()
        say("one of two drivers is killed")
        drivers[0] = start("postgresql", homes[0], work, *shared)
        for driver in drivers:
            wait_for_end(driver)
        return kill_study.trained("postgresql")


def main() -> int:
    """Run the studies that are asked for; gives the exit code."""
    engines = {"slurm": on_slurm, "ray": on_ray, "postgresql": on_postgresql}
    os.environ["OMP_NUM_THREADS"] = "1"
    known: Outcome | None = None
    good = True
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.chdir(work)
        for name in sys.argv[1:] or engines:
            use_store(f"sqlite:///{work}/mlflow.db")
            say(f"{name}: study {' '.join(STUDY)}")
            try:
                loss, laws = engines[name](work)
            except Exception as error:  # servers fail in ways of their own; the others are tried all the same
                loss, laws = pd.DataFrame(), {}
                say(f"NO  {error}")
                for process in psutil.Process().children():
                    process.terminate()
                    process.wait(60)
            for log in sorted(work.glob(f"{name}-*.log")):
                print(f"--- {log.name}\n{log.read_text()}---")
            known = known or (loss, laws)
            checks = {
                f"each of {TRAININGS} trainings is there once": len(loss) == TRAININGS and loss.index.is_unique,
                f"{len(laws)} numbers of laws": bool(laws),
                "losses and laws as before": loss.equals(known[0]) and laws == known[1],
            }
            for what, held in checks.items():
                say(f"{'yes' if held else 'NO '} {what}")
            good = good and all(checks.values())
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
