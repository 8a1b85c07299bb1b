"""The verb `publish`: a run's model as a repository of the Hugging Face hub."""

from __future__ import annotations

import shlex

from chemscale_bench.data.opening import output_path
from chemscale_bench.runs.publication import check_repo, finished_run, push, write
from chemscale_bench.settings.publish import PublishSettings
from chemscale_bench.tracking.housekeeping import run_if_launched


def publish(settings: PublishSettings) -> None:
    """Write the folder, and send it to the hub if that is asked for."""
    with run_if_launched("publish"):
        check_repo(settings.repo)
        run = finished_run(settings.run)
        folder = output_path(settings.out or settings.repo.rpartition("/")[2])
        write(run, settings.repo, settings.licence, folder)
        if settings.push:
            print(f"published {push(folder, settings.repo, settings.private)}")
        else:
            command = f"hf upload {settings.repo} {shlex.quote(str(folder))}"
            print(f"wrote {folder}; read README.md in it, then send it by\n  {command}")
