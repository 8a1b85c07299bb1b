"""MLflow's tracking server over a store, as a team runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def serve(uri: str, port: int) -> subprocess.Popen[bytes]:
    """A server that answers, without the eight processes that it else starts for jobs, each of which loads MLflow."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--port", str(port)]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(
        [*command, "--workers", "1"], env=environment, stdout=nothing, stderr=nothing, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.2)  # until the server listens
        assert process.poll() is None, "the server has ended"
    kill(process)
    raise AssertionError("the server did not start")


def kill(server: subprocess.Popen[bytes]) -> None:
    """End it with its workers."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
