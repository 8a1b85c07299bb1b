"""The verb `tune`: a study of one model's hyperparameters, tracked as a parent run with one child per trial."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import socket
import sys
from collections.abc import Callable, Generator
from typing import Any

import optuna
from filelock import FileLock
from lightning.fabric import Fabric
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from chemscale_bench import tasks
from chemscale_bench.data.cache import home
from chemscale_bench.errors import UserError
from chemscale_bench.force_run import ForceRun, warmup_share
from chemscale_bench.language_run import LanguageRun
from chemscale_bench.models.force_fields import check_stacked
from chemscale_bench.runs import check_chemgpt, check_force_field
from chemscale_bench.settings.training import ChemGPTSettings, ForceFieldSettings, TrainingSettings, TuneSettings
from chemscale_bench.tracked_run import TrackedRun, run_folder
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.ending import Interrupted, Pruned, ended_properly
from chemscale_bench.tracking.figures import to_html
from chemscale_bench.tracking.lifetime import Stop, mark_process, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id, open_store, status_of
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.training.loop import Diverged, Step, drive
from chemscale_bench.training.together import train_together
from chemscale_bench.tuning import study as studies
from chemscale_bench.tuning.figures import foretell, study_figures
from chemscale_bench.tuning.judge import Judge
from chemscale_bench.tuning.named import PRUNERS

FORCE_ONLY = ("model", "molecule", "train_size", "steps", "test_data", "energy_unit", "length_unit", "force_unit")
BATCH = {"language_model": "batch_tokens", "force_field": "batch_frames"}
UNITS = {"language_model": "loss (nats/token)", "force_field": "validation force MAE (meV/Å)"}
STEPS = "area under the schedule"
FRAMES_PER_STEP = 10  # what `steps` counts, whatever the batch of a trial


def tune(settings: TuneSettings) -> None:
    """The verb `tune`: run trials until the study has enough, alone or beside other processes."""
    sys.exit(Sweep(settings).run())


class Sweep:
    """One process's share of a study."""

    def __init__(self, settings: TuneSettings) -> None:
        self.settings = settings
        self.task = tasks.load(settings.task)
        self.family = self.task.family
        self.refuse_other_family()
        self.base = self.base_settings()
        self.budget = self.units_of_a_trial()
        self.study = self.open_study()
        self.client = open_store()

    # -- what is studied -----------------------------------------------------------------------------------------

    def refuse_other_family(self) -> None:
        """Refuse parameters that mean nothing for this task.

        Raises:
            UserError: naming the first one.
        """
        foreign = (*FORCE_ONLY, "batch_frames") if self.family == "language_model" else ("tokens", "batch_tokens")
        for name in foreign:
            default = TuneSettings.model_fields[name].default
            if getattr(self.settings, name) != default:
                raise UserError(
                    f"{name} must be left out for a {self.family} task, got {getattr(self.settings, name)!r} with "
                    f"task {self.task.name}; leave it out or choose another task"
                )

    def base_settings(self) -> TrainingSettings:
        """The settings that all trials share, checked before anything is made."""
        chosen = self.settings
        shared: dict[str, Any] = {"task": chosen.task, "seed": chosen.seed, "device": chosen.device}
        shared |= {"data": chosen.data, "experiment": chosen.experiment}
        if chosen.params != "auto":
            shared["params"] = chosen.params
        kind, batch = ChemGPTSettings if self.family == "language_model" else ForceFieldSettings, BATCH[self.family]
        if getattr(chosen, batch) != "search":
            shared[batch] = getattr(chosen, batch)
        elif chosen.together > 1:
            raise UserError(
                f"together={chosen.together} needs trials with batches of one size, got {batch}=search; "
                f"add {batch}={kind.model_fields[batch].default}, or another number"
            )
        if self.family == "language_model":
            language = ChemGPTSettings(**shared, tokens=chosen.tokens, smaller_budgets=False)
            check_chemgpt(language)
            return language
        force = ForceFieldSettings(**shared, **{name: getattr(chosen, name) for name in FORCE_ONLY})
        check_force_field(force)
        if chosen.together > 1:
            check_stacked("together", chosen.together, chosen.model)
        return force

    def units_of_a_trial(self) -> int:
        """Tokens or frames that an unpruned trial sees."""
        if isinstance(self.task, tasks.LanguageTask):
            return self.task.budgets_up_to(self.settings.tokens)[-1]
        assert isinstance(self.task, tasks.ForceTask)
        steps = self.task.gradient_steps if self.settings.steps == "auto" else self.settings.steps
        return steps * FRAMES_PER_STEP

    def open_study(self) -> optuna.Study:
        """The study in its storage, made or joined.

        Raises:
            UserError: if a study of that name is about something else.
        """
        chosen = self.settings
        about = chosen.model_dump(exclude={"trials", "storage", "study", "experiment", "device", "together"})
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
        name = chosen.study or f"{self.task.name}-{digest}"
        storage = studies.open_storage(chosen.storage, home() / "studies" / f"{name}.log")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=storage, study_name=name, load_if_exists=True, direction="minimize",
            sampler=studies.make_sampler(chosen.sampler, chosen.seed, 0),
            pruner=PRUNERS[chosen.pruner](studies.REPORTS, chosen.seed),
        )  # fmt: skip
        if study.direction != optuna.study.StudyDirection.MINIMIZE:
            raise UserError(f"study {name} must be one that minimises, it maximises; choose another study=")
        known = study.user_attrs.get("about")
        if known is None:
            study.set_user_attr("about", about)
            study.set_user_attr("units_per_trial", self.budget)
            study.set_user_attr("steps", STEPS)
        elif study.user_attrs.get("steps") != STEPS:
            raise UserError(
                f"study {name} must have trials that report by the {STEPS}, it was made by an earlier version whose "
                "trials report by position; choose another study="
            )
        elif known != about:
            different = sorted(key for key in about if known.get(key) != about[key])
            raise UserError(
                f"study {name} must be joined with the parameters it was started with, got another "
                f"{', '.join(different)}; use them, or another name"
            )
        return study

    # -- the work ------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run trials until the study has enough of them or the user stops it; gives the exit code."""
        reap_dead_runs([experiment_id(self.settings.experiment)])
        lock = home() / "studies" / f"{self.study.study_name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):  # two processes that start at once must not both make the parent
            known = self.study.user_attrs.get("mlflow_run", "")
            self.refuse_other_store(known)
            self.parent = adopt_run(self.settings.experiment, resume=known, shared=True)
            if not known:
                self.study.set_user_attr("mlflow_run", self.parent)
                self.describe()
        with Stop() as stop, ended_properly(self.parent, self.nobody_else_works):
            self.forget_dead_trials()
            fabric = start_fabric(self.base)
            with tqdm(total=self.settings.trials, initial=self.count(), unit="trial", desc="tuning") as bar:

                def start() -> Generator[Step, None, None] | None:
                    bar.n = self.count()
                    bar.refresh()
                    return None if stop.requested else self.next_trial(fabric, stop)

                if self.settings.together > 1:
                    train_together(start, self.settings.together)
                else:
                    while trial := start():
                        drive(trial)
            self.summarize()
            if stop.requested:
                print(f"{stop.requested}; the same command goes on", file=sys.stderr)
                raise KeyboardInterrupt
        return stop.exit_code

    def refuse_other_store(self, parent: str) -> None:
        """Refuse to go on with a study whose runs are in another tracking store, where its trials' curves are.

        Raises:
            UserError: saying how to find them, or to start anew.
        """
        if parent and not status_of(parent):
            where = self.settings.storage.rpartition("@")[2] or home() / "studies" / f"{self.study.study_name}.log"
            raise UserError(
                f"study {self.study.study_name} in {where} must go on in the tracking store it was started with, its "
                f"run {parent} is not in this one; set MLFLOW_TRACKING_URI (or go to the folder of that mlflow.db), "
                "or start anew with study=NAME"
            )

    def next_trial(self, fabric: Fabric, stop: Stop) -> Generator[Step, None, None] | None:
        """The steps of another trial, if the study lacks one."""
        if self.count(TrialState.RUNNING) >= self.settings.trials:
            return None
        self.study.sampler = self.sampler(len(self.study.get_trials(deepcopy=False)))
        trial = self.study.ask()
        self.study.sampler = self.sampler(trial.number)
        return self.run_trial(trial, fabric, stop)

    def sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of a trial."""
        return studies.make_sampler(self.settings.sampler, self.settings.seed, number)

    def count(self, *also: TrialState) -> int:
        """Trials that are done, or in one of the other states."""
        states = (*studies.DONE, *also)
        return len(self.study.get_trials(deepcopy=False, states=states))

    def nobody_else_works(self) -> bool:
        """Whether the study has no running trial left, so that this process ends the parent run."""
        return not self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def forget_dead_trials(self) -> None:
        """Fail the running trials whose process is gone, and put their hyperparameters first in the queue."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            run_id = trial.user_attrs.get("mlflow_run")
            if run_id and self.client.get_run(run_id).info.status != "RUNNING":
                self.study.tell(trial.number, state=TrialState.FAIL)
                self.study.enqueue_trial(trial.params)

    def run_trial(self, trial: Trial, fabric: Fabric, stop: Stop) -> Generator[Step, None, None]:
        """Train one trial as a child run, step by step."""
        batch = BATCH[self.family]
        fixed = () if getattr(self.settings, batch) == "search" else (batch,)
        chosen = studies.suggest(trial, [each for each in studies.SPACES[self.family] if each.name not in fixed])
        settings = self.base.model_copy(update=chosen)
        warmup = settings.warmup
        if isinstance(settings, ForceFieldSettings):
            steps = max(2, round(self.budget / settings.batch_frames))
            settings = settings.model_copy(update={"steps": steps})
            warmup = warmup_share(settings, steps)
        tags = {"mlflow.parentRunId": self.parent, "trial": str(trial.number)}
        experiment, name = experiment_id(self.settings.experiment), f"trial {trial.number}"
        child = self.client.create_run(experiment, tags=tags, run_name=name).info.run_id
        mark_process(self.client, child)
        trial.set_user_attr("mlflow_run", child)
        kind: Callable[..., TrackedRun] = LanguageRun if self.family == "language_model" else ForceRun
        run: TrackedRun | None = None
        state, value, text = TrialState.FAIL, None, "failed"
        try:
            with ended_properly(child):
                try:
                    judge = Judge(trial, self.budget, warmup, settings.decay)
                    run = kind(settings, fabric, child, stop, None, judge=judge)
                    yield from run.steps_due()
                    state, value = TrialState.COMPLETE, run.final_value
                    text = f"{value:.4f}"
                except Diverged:
                    state, text = TrialState.PRUNED, "diverged"
                    trial.set_user_attr("diverged", True)
                    raise
                except Pruned as verdict:
                    state, text = TrialState.PRUNED, str(verdict)
                    raise
                except Interrupted:
                    self.study.enqueue_trial(trial.params)
                    raise
                finally:
                    if run is not None:
                        trial.set_user_attr("flops", run.flops_per_unit * run.log["amount"])
                        trial.set_user_attr("flops_in_full", run.flops_per_unit * run.budgets[-1])
                    # Before the run ends: a trial without a result whose run has ended is taken for dead.
                    self.study.tell(trial, value, state)
        except Diverged:
            pass
        finally:
            if state != TrialState.COMPLETE:
                shutil.rmtree(run_folder(child), ignore_errors=True)
        tqdm.write(f"trial {trial.number}: {text}  {describe(chosen)}", file=sys.stderr)
        self.log_progress(trial.number)

    # -- what the parent run tells -------------------------------------------------------------------------------

    def describe(self) -> None:
        """Log what is studied, and where."""
        storage = self.settings.storage.rpartition("@")[2]  # without user and password
        params = self.settings.model_dump(exclude={"storage"}) | {
            "task_name": self.task.name, "study_name": self.study.study_name, "units_per_trial": self.budget,
        }  # fmt: skip
        for name, value in params.items():
            if name not in self.client.get_run(self.parent).data.params:
                self.client.log_param(self.parent, name, value)
        self.client.set_tag(self.parent, "mlflow.runName", f"study {self.study.study_name}")
        self.client.set_tag(self.parent, "storage", storage or f"journal file on {socket.gethostname()}")

    def numbers(self) -> dict[str, float]:
        """Best trial so far and what pruning saved."""
        trials = self.study.get_trials(deepcopy=False)
        spent = studies.spent(trials)
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
        found = {"tune/saved_percent": spent.saved_percent, "tune/flops": spent.flops}
        found |= {"tune/flops_without_pruning": spent.flops_without_pruning, "tune/complete": float(len(complete))}
        if complete:
            best = min(complete, key=lambda trial: trial.value or math.inf)
            found |= {"best/value": float(best.value or 0.0)} | {f"best/{name}": v for name, v in best.params.items()}
        return found

    def log_progress(self, number: int) -> None:
        """Put the study's numbers on the parent's curves."""
        for name, value in self.numbers().items():
            self.client.log_metric(self.parent, name, value, step=number)

    def summarize(self) -> None:
        """Draw the figures and print the result."""
        trials: list[FrozenTrial] = self.study.get_trials(deepcopy=False)
        steps = f"{STEPS} ({studies.REPORTS} in all)"
        for name, figure in study_figures(trials, studies.REPORTS, UNITS[self.family], steps).items():
            self.client.log_text(self.parent, to_html(figure), f"figures/{name}.html")
        foretold = foretell(trials, studies.REPORTS)
        for name, value in (("r2", foretold.r2), ("spearman", foretold.spearman)):
            self.client.log_metric(self.parent, f"prediction/{name}_at_20_percent", value)
        numbers = self.numbers()
        pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
        print(f"study {self.study.study_name}: {self.count()} trials, {pruned} of them stopped early")
        if "best/value" in numbers:
            best = self.study.best_trial
            print(f"best: trial {best.number} with {best.value:.4f}: {describe(best.params)}")
        if len(foretold.final):
            print(
                f"final value predicted at 20 % of the {STEPS}, {len(foretold.final)} finished trials: "
                f"R^2 {foretold.r2:.3f}, Spearman {foretold.spearman:.3f}"
            )
        else:
            print("final value: too few trials have finished to predict it from the first 20 % of the area")
        print(f"compute: {numbers['tune/flops']:.3g} FLOPs, {numbers['tune/saved_percent']:.1f} % saved by stopping")
        print(f"parent run {self.parent}, one child per trial; compare them with: mlflow ui")


def describe(params: dict[str, Any]) -> str:
    """Hyperparameters on one line."""
    return " ".join(f"{name}={value:.4g}" for name, value in params.items())
