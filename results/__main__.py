"""Write README.md of this folder and its figures from the leaderboard's entries and the recorded curves.

`python -m results`, in a clone. Nothing is trained and nothing is downloaded: every number comes from files of the
repository, which `chemscale verify` checks.
"""

from __future__ import annotations

from itertools import chain
from string import Template

from chemscale_bench.leaderboard.collect import read_entries
from chemscale_bench.leaderboard.levels import Level
from chemscale_bench.leaderboard.published import read_published
from results.forces import compared_forces, published_table
from results.foretold import foretold_section
from results.laws import laws_section
from results.molecules import quality_section, strings_section
from results.motion import motion_section
from results.pruning import pruner_section
from results.studies import ENTRIES, HERE, PUBLISHED, by_task


def page() -> str:
    """README.md; its figures are written on the way."""
    studies = read_entries(ENTRIES, Level.VALID)[0]
    tasks = by_task(studies)
    sections = {
        "language": laws_section(tasks, "language_model", "parameters without embeddings", "nats per token"),
        "strings": strings_section(tasks),
        "quality": quality_section(tasks),
        "forces": chain(laws_section(tasks, "force_field", "parameters", "force MAE, meV/Å"), compared_forces(tasks)),
        "foretold": foretold_section(studies),
        "published": published_table(studies, read_published(PUBLISHED)[0]),
        "motion": motion_section(studies),
        "pruner": pruner_section(),
    }
    filled = {name: "\n".join(lines) for name, lines in sections.items()}
    return Template((HERE / "page.md").read_text()).substitute(filled)


if __name__ == "__main__":
    (HERE / "README.md").write_text(page())
