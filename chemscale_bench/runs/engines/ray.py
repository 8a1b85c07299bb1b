"""Workers as tasks of a running Ray cluster; those of a lost node start again on another one."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import ray

from chemscale_bench.errors import UserError, first_line


def work(command: list[str], variables: dict[str, str]) -> tuple[int, str]:
    """The command on a node of the cluster, with the GPU that Ray gives it; its exit code and the end of its output.

    It ends cleanly when this process dies, as it does when Ray loses sight of its node.
    """
    own = os.environ | variables | {"CHEMSCALE_LAUNCHER_PID": str(os.getpid())}
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt:  # Ray's way to cancel
            process.terminate()
            output, _ = process.communicate()
    return process.returncode, output[-20_000:]


class Tasks:
    """Tasks of the cluster."""

    def __init__(self, tasks: list[Any], folder: Path) -> None:
        self.tasks, self.folder = tasks, folder

    def alive(self) -> int:
        """How many still work, or wait for their turn."""
        return len(ray.wait(self.tasks, num_returns=len(self.tasks), timeout=0)[1])

    def stop(self) -> None:
        """Ask all to end cleanly, and wait for it."""
        for task in self.tasks:
            ray.cancel(task, force=False)
        ray.wait(self.tasks, num_returns=len(self.tasks))

    def failed(self) -> list[str]:
        """The logs of those that ended with an error."""
        found = []
        for number, task in enumerate(self.tasks):
            try:
                code, output = ray.get(task)
            except (ray.exceptions.RayError, KeyboardInterrupt) as error:
                code, output = 1, str(error)
            log = self.folder / f"worker-{number}.log"
            log.write_text(output)
            found += [str(log)] if code else []
        return found


def check(options: dict[str, str]) -> None:
    """Connect to the cluster, with options that it knows.

    Raises:
        UserError: if there is no cluster at the address, or an option is none.
    """
    unknown = set(options) - {"address", "num_cpus", "num_gpus"}
    if unknown:
        raise UserError(
            f"engine_options for ray must be of address, num_cpus, num_gpus, got {', '.join(sorted(unknown))}; leave "
            "the others out"
        )
    resources(options)
    address = options.get("address", "auto")
    if ray.is_initialized():
        return
    try:
        host, colon, port = address.rpartition(":")
        if colon and "://" not in address:  # Ray itself waits for minutes where nobody answers
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"engine=ray needs a running cluster at address={address}, there is none ({first_line(error)}); "
            "start one with: ray start --head"
        ) from None


def resources(options: dict[str, str]) -> dict[str, float]:
    """What a worker takes of the cluster.

    Raises:
        UserError: for what is no number.
    """
    found = {"num_cpus": 1.0, "num_gpus": 0.0}
    for name in found:
        try:
            found[name] = float(options.get(name, found[name]))
        except ValueError:
            raise UserError(f"{name} must be a number, got {options[name]!r}; write 1 or 0.5") from None
    return found


def start(command: list[str], variables: dict[str, str], workers: int, folder: Path, options: dict[str, str]) -> Tasks:
    """Start the tasks.

    Args:
        command: of a worker; the environment and the storage must be there on all nodes.
        variables: of its environment.
        workers: how many.
        folder: for their logs.
        options: `address` of the cluster (auto), `num_cpus` (1) and `num_gpus` (0) of a worker, fractions too.
    """
    share = resources(options)
    task = ray.remote(num_cpus=share["num_cpus"], num_gpus=share["num_gpus"], max_retries=-1)(work)
    return Tasks([task.remote(command, variables) for _ in range(workers)], folder)
