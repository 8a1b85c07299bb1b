"""The verb `submit`: an entry from logged runs, verified, and what to do with it next."""

from __future__ import annotations

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.entry import slug
from chemscale_bench.leaderboard.submission import study, write
from chemscale_bench.places import CHECKOUT
from chemscale_bench.scaling.table import describe
from chemscale_bench.settings.submit import SubmitSettings
from chemscale_bench.tracking.housekeeping import run_if_launched


def submit(settings: SubmitSettings) -> None:
    """Write an entry from logged runs, verify it, and say what to do next.

    Raises:
        UserError: if the runs are not one finished study of one task, or the entry would not be consistent.
    """
    with run_if_launched("submit"):
        if not slug(settings.submitter):
            raise UserError(
                f"submitter must be a name with some of a-z or 0-9, got {settings.submitter!r}; give submitter='Ada'"
            )
        runs, left_out = study(settings)
        path = write(settings, runs)
        sizes = len({kept.run.params["non_embedding_params"] for kept in runs})
        print(f"{path} is consistent; runs: {len(runs)}, sizes: {sizes}, {describe(left_out)}")
        # It is proposed in a clone; what was made elsewhere, as with an installed wheel, has to be copied there.
        here = CHECKOUT is not None and path.resolve().is_relative_to(CHECKOUT)
        copy = "" if here else "  in a clone of the project, with these files at the same path:\n"
        print(
            f"""next:
  chemscale verify --entry {path}         (also computes the losses again from the checkpoint)
{copy}  git checkout -b {path.stem}
  git add {path.with_suffix("")}*
  git commit -m "Leaderboard: {"/".join(path.parts[-3:-1])} by {slug(settings.submitter)}"
and open a pull request that adds these files; it is verified there as it was here."""
        )
