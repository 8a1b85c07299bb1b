"""The verb `demo`: a first result in minutes, on data that come with the package, on a CPU, without a download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chemscale_bench.runs.force import ForceRun
from chemscale_bench.runs.language import LanguageRun
from chemscale_bench.runs.sweep import Sweep
from chemscale_bench.runs.tracked import TrackedRun
from chemscale_bench.settings.chemgpt import ChemGPTSettings
from chemscale_bench.settings.demo import DemoSettings
from chemscale_bench.settings.fit import FitSettings
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.settings.leaderboard import LeaderboardSettings
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.settings.tune import TuneSettings
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.families import below, describe_family
from chemscale_bench.tracking.lifetime import Stop, mark_process, reap_dead_runs
from chemscale_bench.tracking.looking import look_at
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.verbs.fit import fit
from chemscale_bench.verbs.leaderboard import leaderboard

SIZES = (30_000, 100_000, 300_000)
FORCE_FIELDS = ("schnet", "painn")


class Demo:
    """A parent run and its children.

    Args:
        settings: of the verb.
        parent: id of the parent run.
        stop: asks for a clean end.
    """

    def __init__(self, settings: DemoSettings, parent: str, stop: Stop) -> None:
        self.settings, self.parent, self.stop = settings, parent, stop
        self.client, self.experiment = open_store(), experiment_id(settings.experiment)
        self.best: dict[int, float] = {}
        self.errors: list[str] = []

    def train(self, kind: Callable[..., TrackedRun], chosen: TrainingSettings) -> Any:
        """Train one model as a child run."""
        child = self.client.create_run(self.experiment, tags=below(self.parent)).info.run_id
        mark_process(self.client, child)
        with ended_properly(child):
            run = kind(chosen, start_fabric(chosen), child, self.stop, None)
            run.proposes = False
            run.train()
        if self.stop.requested:
            raise KeyboardInterrupt
        return run

    def language_models(self) -> None:
        """A grid of ChemGPT sizes and token budgets."""
        grid: dict[int, dict[int, float]] = {}
        for params in SIZES:
            chosen = ChemGPTSettings(
                task="embedded-lm",
                params=params,
                tokens=self.settings.tokens,
                device="cpu",
                experiment=self.settings.experiment,
            )
            run = self.train(LanguageRun, chosen)
            grid[run.config.non_embedding_params] = run.loss
        budgets = next(iter(grid.values()))
        self.best = {budget: min(losses[budget] for losses in grid.values()) for budget in budgets}
        print("\nvalidation loss of ChemGPT in nats per token")
        print(f"{'params':>12}" + "".join(f"{budget:>12,} tok" for budget in budgets))
        for size, losses in grid.items():
            print(f"{size:>12,}" + "".join(f"{losses[budget]:>16.4f}" for budget in budgets))

    def force_fields(self) -> None:
        """Two force fields on ethanol, from few frames."""
        print("\nforce MAE on ethanol (GFN2-xTB), meV/Angstrom")
        for model in FORCE_FIELDS:
            chosen = ForceFieldSettings(
                task="embedded-ff", model=model, molecule="ethanol", train_size=200, params=20_000,
                steps=self.settings.steps, device="cpu", experiment=self.settings.experiment,
            )  # fmt: skip
            run = self.train(ForceRun, chosen)
            self.client.log_metric(self.parent, f"final/{model}_force_mae_mev_per_angstrom", run.errors.force_mae)
            self.errors.append(f"{model} with a force MAE of {run.errors.force_mae:.1f} meV/Angstrom")
            print(f"{model:>12} {run.errors.force_mae:>9.1f}   (no force at all: {run.baseline.force_mae:.0f})")

    def study(self) -> None:
        """A search for the hyperparameters of a force field that stops its losers."""
        print("\na study of a small SchNet's hyperparameters")
        chosen = TuneSettings(
            task="embedded-ff", model="schnet", molecule="ethanol", train_size=100, params=10_000, steps=50, trials=14,
            sampler="RandomSampler", study=f"demo-{self.parent[:8]}", device="cpu",
        )  # fmt: skip
        Sweep(chosen).run()

    def board(self) -> None:
        """Scaling laws and a page of all the runs."""
        print("\nscaling laws of these few and short runs (most cannot be told from so few)")
        fit(FitSettings(experiment=self.settings.experiment, model=ChemGPTSettings.model, replicates=200))
        print("\nleaderboard of these runs")
        leaderboard(LeaderboardSettings(source="", experiment=self.settings.experiment, out=self.settings.out))


def demo(settings: DemoSettings) -> None:
    """Train language models and force fields as children of one run, search, fit, and show it all on a page."""
    reap_dead_runs([experiment_id(settings.experiment)])
    parent = adopt_run(settings.experiment)
    open_store().set_tag(parent, "mlflow.runName", "demo")
    with Stop() as stop, ended_properly(parent):
        work = Demo(settings, parent, stop)
        work.language_models()
        work.force_fields()
        work.study()
        found = f"**Language models** by their validation loss; beside them: {', '.join(work.errors)}."
        describe_family(open_store(), parent, LanguageRun.METRIC, found, work.best)
    work.board()
    print(f"\nOpen {settings.out} in a browser. Compare the runs of experiment {settings.experiment!r}:")
    print(f"  {look_at(parent, beside_others=True)}")
