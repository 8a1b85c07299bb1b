"""What a run must remember of its origin: code, environment, machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from chemscale_bench.places import CHECKOUT

PACKAGES = ("chemscale-bench", "torch", "transformers", "mlflow", "rdkit", "selfies", "pytorch-lightning")


def git(*arguments: str) -> str | None:
    """Output of a git command on the project's checkout; None without git or outside a checkout."""
    if CHECKOUT is None:  # a repository around site-packages is somebody else's
        return None
    try:
        done = subprocess.run(["git", "-C", CHECKOUT, *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode(errors="surrogateescape")  # a file that was changed may be in any encoding


def code_tags() -> dict[str, str]:
    """Commit of the code, whether the tree differs from it, and the sha256 of that difference."""
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {"code.commit": "unknown", "code.dirty": "unknown"}
    difference = (git("diff", "HEAD") or "") + (git("status", "--porcelain") or "")
    tags = {"code.commit": commit.strip(), "code.dirty": str(bool(difference)).lower()}
    if difference:
        tags["code.diff_sha256"] = hashlib.sha256(difference.encode(errors="surrogateescape")).hexdigest()
    return tags


def device_name(device: torch.device) -> str:
    """The GPU's product name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment_tags(device: torch.device) -> dict[str, str]:
    """Versions, operating system and hardware."""
    tags = {f"version.{package}": version(package) for package in PACKAGES}
    return tags | {
        "version.python": platform.python_version(),
        "machine.platform": platform.platform(),
        "machine.device": device_name(device),
        "machine.cpus": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "machine.threads": str(torch.get_num_threads()),
    }
