"""The verb `demo`: a first result in minutes, on molecules that ship inside RDKit, on a CPU, without a download."""

from __future__ import annotations

from chemscale_bench.language_run import LanguageRun
from chemscale_bench.runs import check_chemgpt
from chemscale_bench.settings import ChemGPTSettings, DemoSettings
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.lifetime import Stop, mark_process, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training.devices import start_fabric

SIZES = (30_000, 100_000, 300_000)


def demo(settings: DemoSettings) -> None:
    """Train every size as a child run of one parent, and print the grid of validation losses."""
    grid: dict[int, dict[int, float]] = {}
    reap_dead_runs([experiment_id(settings.experiment)])
    parent = adopt_run(settings.experiment)
    client = open_store()
    client.set_tag(parent, "mlflow.runName", "demo")
    with Stop() as stop, ended_properly(parent):
        for params in SIZES:
            chosen = ChemGPTSettings(task="embedded-lm", params=params, tokens=settings.tokens, device="cpu")
            check_chemgpt(chosen)
            tags = {"mlflow.parentRunId": parent}
            child = client.create_run(experiment_id(settings.experiment), tags=tags).info.run_id
            mark_process(client, child)
            with ended_properly(child):
                run = LanguageRun(chosen, start_fabric(chosen), child, stop, None)
                run.train()
            if stop.requested:
                raise KeyboardInterrupt
            grid[run.model.config.shape.non_embedding_params] = run.loss
    budgets = next(iter(grid.values()))
    print("validation loss in nats per token")
    print(f"{'params':>12}" + "".join(f"{budget:>12,} tok" for budget in budgets))
    for size, losses in grid.items():
        print(f"{size:>12,}" + "".join(f"{losses[budget]:>16.4f}" for budget in budgets))
    print(f"Compare the runs: `mlflow ui`, open the address it prints, experiment {settings.experiment!r}.")
