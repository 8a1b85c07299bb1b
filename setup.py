"""What a wheel needs beyond pyproject.toml: tasks and results travel inside the package.

In a checkout they stand beside it, and chemscale_bench/places.py finds them there or here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = (
    "MLproject",
    "benchmarks/*.yaml",
    "leaderboard/README.md",
    "leaderboard/entry.schema.json",
    "leaderboard/published/*.json",
    # Entries with their curves; without checkpoints, which are 15 times as large.
    "leaderboard/entries/*/*/*.json",
    "leaderboard/entries/*/*/*.parquet",
)


class CarryAlong(build_py):
    """Copies the files into the wheel's package; they are part of a source distribution, too."""

    def run(self) -> None:
        """Build the package and put them into it, except where it stays in its checkout."""
        super().run()
        folder = Path(self.build_lib, "chemscale_bench", "carried")
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier build, perhaps with a task that is gone
        for file in [] if self.editable_mode else self.carried():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / file)

    def get_source_files(self) -> list[str]:
        """What a source distribution holds."""
        return [*super().get_source_files(), *self.carried()]

    def carried(self) -> list[str]:
        """The files, by their path in the checkout."""
        return [str(path) for pattern in CARRIED for path in sorted(Path().glob(pattern))]


setup(cmdclass={"build_py": CarryAlong})
