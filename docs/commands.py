"""A Sphinx directive that lists the commands with their parameters, from where those are declared."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from chemscale_bench.cli import VERBS, choices, default_of, fields


class Commands(SphinxDirective):
    """One section for each verb of the command line."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        lines = []
        for verb, settings in VERBS.items():
            lines += [f"## {verb}", "", " ".join((settings.__doc__ or "").split()), ""]
            for name, field in fields(settings).items():
                default = default_of(field)
                words = " | ".join(f"`{word}`" for word in choices(field.annotation))
                told = " ".join((field.description or "").split()).replace("<", "&lt;")
                lines += [f"`{name}`", f": {told} {words and f'One of {words}. '}Default: `{default}`.", ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
