"""Parameters of the verb `verify`."""

from __future__ import annotations

from typing import Literal

from chemscale_bench.settings.base import Settings


class VerifySettings(Settings):
    """Say how far an entry can be trusted: valid, consistent or reproduced, and why not further."""

    entry: str = ""
    """Path of the entry's .json file."""
    level: Literal["valid", "consistent", "reproduced"] = "valid"
    """Least level; below it the exit code is 2."""
    checkpoints: str = ""
    """Folder with RUN_ID/config.json and RUN_ID/model.safetensors, for checkpoints that are published elsewhere."""
    data: str = ""
    """Your copy of the submitter's data file, for a task on a file; or of the official frames, without a network."""
    test_data: str = ""
    """Your copy of the test frames, where they are in a file of their own."""
