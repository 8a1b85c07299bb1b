"""Parameters of the verb `tasks`."""

from __future__ import annotations

from chemscale_bench.settings.base import Settings


class TasksSettings(Settings):
    """List the tasks: what each measures, on which data, under which licence, and what of that is already here."""

    task: str = ""
    """Only this one, with all that its file declares; a name, or a path to a .yaml of your own."""
