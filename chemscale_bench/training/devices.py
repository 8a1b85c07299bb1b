"""Where training runs, in which arithmetic, and beside which other processes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch._C._distributed_c10d import TCPStore
from torch.distributed import DistError, DistStoreError, is_torchelastic_launched

from chemscale_bench.errors import UserError, first_line
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.training.fabric import (
    ClusterEnvironment,
    Fabric,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
    rank_zero_module,
)

ARITHMETIC: dict[str, Literal["32-true", "bf16-mixed", "64-true"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp64": "64-true",
}
SECONDS_TO_MEET = 60
"""How long the processes of one training may take to start."""


class Peers(NamedTuple):
    """The processes of one training."""

    world: int
    """How many there are."""
    local: int
    """How many of them share a node."""
    environment: ClusterEnvironment
    """How they find one another."""


def start_fabric(settings: TrainingSettings) -> Fabric:
    """Fabric on the chosen device; under torchrun or srun it finds its peers by itself.

    Raises:
        UserError: if tasks are spread unevenly over nodes, or peers do not come within a minute.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
    precision = ("bf16" if device == "cuda" else "fp32") if settings.precision == "auto" else settings.precision
    for log in (logging.getLogger("lightning_fabric"), rank_zero_module.log):
        log.setLevel(logging.WARNING)  # its progress is no news to the user
    peers = find_peers(os.environ)
    fabric = Fabric(
        accelerator=device,
        devices=peers.local,
        num_nodes=peers.world // peers.local,
        precision=ARITHMETIC[precision],
        plugins=[peers.environment],
    )
    fabric.launch()
    if fabric.world_size > 1:
        atexit.register(leave_peers)
    return fabric


def leave_peers() -> None:
    """End the group of processes before the interpreter ends, which Fabric does for NCCL only.

    A thread of Gloo lets go of the tensors of the last collective some time after it is done, and needs Python for it;
    if Python ends meanwhile, the process aborts: "terminate called without an active exception".
    """
    if torch.distributed.is_initialized():
        gc.collect()  # a model that is gone, yet part of a cycle, holds the group, whose threads would stay
        torch.distributed.destroy_process_group()
        for _ in range(1000):  # they stay even so if a model was spread: not before each of them sleeps
            time.sleep(0.01)
            if not gloo_works():
                break


def gloo_works() -> bool:
    """Whether a thread of Gloo runs, or would if it had a core; not known but on Linux."""
    for thread in Path("/proc/self/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if "(pt_gloo_runloop) R" in thread.read_text():
                return True
    return False


def find_peers(environ: Mapping[str, str]) -> Peers:
    """The processes of this training, as torchrun or srun has started them; alone, unless one of them has.

    An allocation of Slurm alone starts nothing: `salloc -n 4` and the plain command is one process.

    Raises:
        UserError: as `start_fabric` does.
    """
    if is_torchelastic_launched():
        return Peers(int(environ["WORLD_SIZE"]), int(environ["LOCAL_WORLD_SIZE"]), TorchElasticEnvironment())
    tasks = int(environ.get("SLURM_STEP_NUM_TASKS", "1"))  # srun's; SLURM_NTASKS is the allocation's
    if tasks == 1:
        allocated = int(environ.get("SLURM_NTASKS", "1"))
        if allocated > 1 and "SLURM_STEP_NUM_TASKS" not in environ:
            print(
                f"one process trains; to use all {allocated} tasks of this allocation: "
                "srun python -m chemscale_bench VERB ...",
                file=sys.stderr,
            )
        return Peers(1, 1, LightningEnvironment())
    spread = environ.get("SLURM_STEP_TASKS_PER_NODE", str(tasks))
    even = re.fullmatch(r"(\d+)(\(x\d+\))?", spread)
    if even is None:
        raise UserError(
            f"tasks must be spread evenly over nodes, srun has placed {spread}; give it --ntasks-per-node, and as many "
            "--nodes as that takes"
        )
    slurm = EvenSlurm(tasks, int(even[1]))
    meet(int(environ["SLURM_PROCID"]), tasks, slurm.main_address, slurm.main_port + 1)
    return Peers(tasks, slurm.local, slurm)


class EvenSlurm(SLURMEnvironment):
    """Lightning's, with the tasks of the step in place of those of the allocation, and --ntasks as good as any."""

    def __init__(self, tasks: int, local: int) -> None:
        ClusterEnvironment.__init__(self)
        self.tasks, self.local = tasks, local
        self.auto_requeue, self.requeue_signal = False, None

    def world_size(self) -> int:
        """Tasks of the step."""
        return self.tasks

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Both were taken from the step."""


def meet(rank: int, world: int, host: str, port: int, seconds: float = SECONDS_TO_MEET) -> None:
    """Wait until all processes of a training are there.

    Raises:
        UserError: naming those that are missing, after `seconds`.
    """
    wait = timedelta(seconds=seconds)
    try:
        store = TCPStore(host, port, world, is_master=rank == 0, timeout=wait, wait_for_workers=False)
        store.set(f"rank {rank}", "here")
        if rank == 0:
            try:
                store.wait([f"rank {other}" for other in range(world)], wait)
            except DistStoreError:
                missing = [str(other) for other in range(world) if not store.check([f"rank {other}"])]
                raise UserError(
                    f"all {world} tasks must start within {seconds:g} s, rank {', '.join(missing)} did not; "
                    "start the command once per task, with srun, or look at their logs"
                ) from None
        else:
            store.wait([f"rank {other}" for other in range(world)], wait)
        seen, give_up = store.add("seen", 1), time.monotonic() + seconds
        while rank == 0 and seen < world and time.monotonic() < give_up:  # it keeps the store until all have looked
            time.sleep(0.01)
            seen = store.add("seen", 0)
    except DistError as error:
        raise UserError(
            f"all {world} tasks must start within {seconds:g} s, rank 0 on {host}:{port} did not answer rank {rank} "
            f"({first_line(error)[:200]}); start the command once per task, with srun"
        ) from None


def peak_memory_gib(device: torch.device) -> float:
    """Most memory that the process has held: on the GPU if it trains there, else resident in main memory."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def evaluation_device(wanted: str) -> torch.device:
    """Where a trained model computes.

    Args:
        wanted: auto, cpu or cuda.

    Raises:
        UserError: if there is no GPU and one is asked for.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("device must be auto or cpu on this machine, got 'cuda'; there is no GPU that torch can use")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def check_device(settings: TrainingSettings) -> None:
    """Refuse a GPU that is not there."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError("device must be there, got cuda and torch sees no GPU; use device=cpu or a CUDA build of torch")
