"""What every training run shares, whatever it trains: progress bar, MLflow run, cost, resume state, a clean stop."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from tqdm import tqdm

from chemscale_bench.data.cache import run_folder
from chemscale_bench.errors import UserError
from chemscale_bench.models.registry import package_of
from chemscale_bench.progress import progress_bar
from chemscale_bench.runs.clock import Clock
from chemscale_bench.runs.kind import RunKind
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.shell import typed
from chemscale_bench.speed.peaks import peak_flops
from chemscale_bench.tracking import pyfunc
from chemscale_bench.tracking.ending import Interrupted, Pruned
from chemscale_bench.tracking.families import NOTE, note_of_run
from chemscale_bench.tracking.lifetime import Stop
from chemscale_bench.tracking.looking import look_at
from chemscale_bench.tracking.provenance import code_tags, device_name, environment_tags
from chemscale_bench.tracking.recorder import Recorder, system_metrics
from chemscale_bench.training import checkpoints
from chemscale_bench.training.contracts import Report
from chemscale_bench.training.devices import peak_memory_gib
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.learner import Due
from chemscale_bench.training.loop import drive

Judge = Callable[[int, dict[str, float]], str | None]
"""Sees position and metrics of every report of a run; a reason that it gives ends the run. A study's pruner, say."""


class TrackedRun(RunKind):
    """One training tracked as one MLflow run: told by the loop what happens, tells MLflow.

    Args:
        settings: of the verb.
        fabric: where it trains.
        run_id: the RUNNING run to log to.
        stop: asks for a clean end.
        saved: the state to go on from.
        judge: may end the run after any report. A run that is judged is one of many, and prints nothing.
    """

    def __init__(
        self, settings: TrainingSettings, fabric: Fabric, run_id: str, stop: Stop, saved: dict[str, Any] | None,
        judge: Judge | None = None,
    ) -> None:  # fmt: skip
        self.fabric, self.run_id, self.stop, self.saved, self.judge = fabric, run_id, stop, saved, judge
        self.settings_record = settings.model_dump(exclude={"resume"})
        self.decay = settings.decay
        self.speaks = fabric.is_global_zero  # one process validates, records and keeps the state
        self.peak = peak_flops(device_name(fabric.device)) * fabric.world_size
        if fabric.device.type != "cuda" or fabric._precision.precision != "bf16-mixed":
            self.peak = math.nan  # the table of peaks is for bf16
        self.log: dict[str, Any] = saved["log"] if saved else {"curve": [], "energy_kj": 0.0, "amount": 0}
        self.clock = Clock(self.log, fabric.device)
        self.clocked = self.clock.clocked
        self.verdict: str | None = None
        # Numbers of the data, and their steps. MLflow's views begin with what was logged first: training, then results.
        self.beforehand: list[tuple[dict[str, float], int]] = self.log.setdefault("beforehand", [])
        self.prints = self.shows = self.speaks and judge is None  # its results, and its progress
        self.proposes = True  # what to type next, which is for somebody else to say where more than one run is trained

    def train(self) -> None:
        """Train, record, save the model; raises `Interrupted` if asked to stop on the way."""
        drive(self.steps_due())

    @property
    def units(self) -> int:
        """Tokens or frames that it trains on, decays at smaller budgets included."""
        return self.budgets[-1] + round(self.decay * sum(self.budgets[:-1]))

    def steps_due(self) -> Generator[Due, None, None]:
        """The whole run around its optimizer steps, which somebody else performs, alone or with those of others."""
        with ExitStack() as stack:
            about: dict[str, Any] = {"desc": "training", "unit": self.SHORT, "unit_scale": True, "total": self.units}
            bar = progress_bar(initial=self.log["amount"], hidden=not self.shows, **about)
            self.bar = stack.enter_context(bar)
            if self.speaks:
                unsent = self.saved["unsent"] if self.saved else ()
                self.recorder = stack.enter_context(Recorder(self.run_id, unsent, resumed=bool(self.saved)))
                stack.enter_context(system_metrics(self.run_id, resumed=bool(self.saved)))
                if not self.saved:
                    self.describe()
                stack.callback(self.record_beforehand)  # of a run that diverges, too
            self.save(self.trainer.state())
            yield from self.trainer.steps_due()
            self.save(self.trainer.state())
            if self.speaks:
                self.deliver()
            if self.trainer.stopped:
                raise (Pruned if self.verdict else Interrupted)(self.trainer.stopped)
            self.gather()
            if self.speaks:
                self.finish()

    def describe(self) -> None:
        """Log what is about to be trained, on what, by what."""
        rate = {"peak_learning_rate": f"{self.learning_rate:.10g}", "arithmetic": self.fabric._precision.precision}
        params = self.settings_record | rate | self.params()
        self.recorder.params(params)
        tags = self.tags() | {"energy.source": self.clock.energy.source} | code_tags()
        if self.judge:  # a trial: all of a study would have the same name
            del tags["mlflow.runName"]
        package = {f"version.{name}": version for name, version in package_of(str(params["model"])).items()}
        self.recorder.tags(tags | package | environment_tags(self.fabric.device))
        self.tell(f"{self.title}, seed {self.settings_record['seed']}: run {self.run_id}")
        self.describe_data()
        for line in self.remarks():
            self.tell(line)

    def called(self, *more: object) -> str:
        """The run's name, such as `3e4-seed0-painn-200-ethanol`: of a child MLflow's table shows 13 letters."""
        about = self.settings_record | self.params()
        size = f"{about['non_embedding_params']:.2g}".replace("e+0", "e").replace("e+", "e")
        return "-".join(str(word) for word in (size, f"seed{about['seed']}", about["model"], *more) if word)

    def tell(self, text: str) -> None:
        """Say something above the progress bar."""
        if self.prints:
            tqdm.write(text, file=sys.stderr)

    def finish(self) -> None:
        """Log cost, figures and model, and print the results."""
        seconds, amount = self.trainer.train_seconds, self.log["amount"]
        flops = self.flops_per_unit * amount
        on_gpu = self.fabric.device.type == "cuda"
        cost = {
            "cost/train_seconds": seconds, "cost/gpu_seconds": seconds * self.fabric.world_size * on_gpu,
            "cost/energy_kj": self.log["energy_kj"], "cost/flops_total": flops,
            f"speed/mean_{self.UNIT}_per_s": amount / seconds, "speed/mfu": flops / seconds / self.peak,
            "memory/peak_gib": peak_memory_gib(self.fabric.device),
            "log10/flops": math.log10(self.flops_per_unit * self.budgets[-1]),
        }  # fmt: skip
        with self.clocked("results"), self.room_for_artifacts():
            last = self.results()
        times = self.clock.times(seconds, self.UNIT)
        self.recorder.metrics(cost | last | times, self.budgets[-1])
        spent = f"{seconds:.1f} s of training at {times[f'speed/steady_{self.UNIT}_per_s']:,.0f} {self.UNIT} per s"
        spent += f" on {device_name(self.fabric.device)}"
        title = f"{self.title}, seed {self.settings_record['seed']}"
        self.recorder.tags({NOTE: note_of_run(title, self.UNIT, self.METRIC, self.reached, spent)})
        self.deliver()
        if name := str(self.settings_record["register_as"]):
            version = pyfunc.register(self.run_id, name)
            self.tell(f"registered as version {version} of {name}: models:/{name}/{version}")
        self.bar.close()
        if self.prints:
            self.print_results()
            print(
                f"{times['time/training_s']:.1f} s of training at {times[f'speed/steady_{self.UNIT}_per_s']:,.0f} "
                f"{self.UNIT} per s, of which {times['time/warming_up_s']:.1f} s lost to warming up; besides: "
                + ", ".join(
                    f"{what} {seconds:.1f} s" for what, seconds in self.clock.seconds.items() if what != "decays"
                )
            )
        if self.prints and self.proposes:
            verb, what = self.THEN
            print(f"run {self.run_id} is in the tracking store; next:\n  {look_at(self.run_id)}")
            print(f"  {typed('chemscale')} {verb} --run {self.run_id}    # {what}")

    @contextmanager
    def room_for_artifacts(self) -> Iterator[None]:
        """Say in one line what a file system refuses of figures and model; the resume state has all that is needed."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"figures and model of run {self.run_id} must be written, they are not ({error}); free some space "
                f"where its artifacts are, then the same command with resume={self.run_id} writes them"
            ) from None

    def deliver(self) -> None:
        """Send what is still buffered.

        Raises:
            UserError: if the store does not take it; the resume state has it all.
        """
        self.record_beforehand()
        if not self.recorder.deliver():
            raise UserError(
                f"the tracking store must take the run, it does not ({self.recorder.problem}); nothing is lost: once "
                f"it is back, the same command with resume={self.run_id} delivers the rest"
            )

    def record_beforehand(self) -> None:
        """Log what was known before the training."""
        for known, step in self.beforehand:
            self.recorder.metrics(known, step)

    def report(self, report: Report) -> None:
        """A stretch of training is done."""
        if self.speaks:
            self.log["curve"].append((report.kind, report.position, report.loss))
            self.log["amount"] += report.amount
            self.clock.report(report)
            name = "train" if report.kind == "trunk" else "decay"
            values = self.report_metrics(report, name) | {
                f"speed/{name}_{self.UNIT}_per_s": report.amount / report.seconds,
                f"{name}/learning_rate": report.learning_rate / self.trainer.peak_rates[0] * self.learning_rate,
                f"{name}/gradient_norm": report.gradient_norm,
            }
            self.recorder.metrics(values, report.position)
            if self.reached:
                self.record_beforehand()
            self.bar.set_postfix_str(f"loss {report.loss:.3g} {report.kind}")
            self.bar.update(report.amount)
            if self.judge:
                self.verdict = self.judge(report.position, values)

    def save(self, state: dict[str, Any]) -> None:
        """Keep everything that the run needs to go on."""
        used = self.fabric.all_reduce(torch.tensor(self.clock.kilojoules(self.fabric.local_rank)), reduce_op="sum")
        alone = self.trainer.record_time == self.trainer.record_own_time
        share = self.clock.share_of_time(self.trainer.train_seconds, alone)
        self.log["energy_kj"] += share * torch.as_tensor(used).item()
        if self.speaks:
            rest = {
                "verb": self.VERB, "settings": self.settings_record, "log": self.log, "unsent": self.recorder.unsent(),
            }  # fmt: skip
            with self.clocked("saving"):
                checkpoints.save_state(state | rest | self.identity(), run_folder(self.run_id) / "state.pt")

    def stop_requested(self) -> str | None:
        """Whether this process, or any of its peers, was asked to stop."""
        reason = self.verdict or self.stop.requested
        if self.fabric.world_size > 1:
            asked = torch.tensor(float(reason is not None), device=self.fabric.device)
            if torch.as_tensor(self.fabric.all_reduce(asked, reduce_op="sum")).item():
                return reason or "another process was asked to stop"
        return reason
