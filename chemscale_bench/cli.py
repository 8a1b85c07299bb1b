"""The command line: turns `VERB --name value` into one call, and every user error into one line."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from chemscale_bench.errors import UserError
from chemscale_bench.models.registry import FORCE_FIELDS, LANGUAGE_MODELS, Registry
from chemscale_bench.settings.base import Settings, unknown
from chemscale_bench.settings.chemgpt import ChemGPTSettings
from chemscale_bench.settings.demo import DemoSettings
from chemscale_bench.settings.embed import EmbedSettings
from chemscale_bench.settings.features import FeatureSettings
from chemscale_bench.settings.fit import FitSettings
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.settings.generate import GenerateSettings
from chemscale_bench.settings.language import LanguageSettings
from chemscale_bench.settings.leaderboard import LeaderboardSettings
from chemscale_bench.settings.plan import PlanSettings
from chemscale_bench.settings.probe import ProbeSettings
from chemscale_bench.settings.publish import PublishSettings
from chemscale_bench.settings.replay import ReplaySettings
from chemscale_bench.settings.simulate import SimulateSettings
from chemscale_bench.settings.speed import SpeedSettings
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.settings.submit import SubmitSettings
from chemscale_bench.settings.tasks import TasksSettings
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.settings.tune import TuneSettings
from chemscale_bench.settings.verify import VerifySettings

VERBS: dict[str, type[Settings]] = {
    "demo": DemoSettings,
    "chemgpt": ChemGPTSettings,
    "language": LanguageSettings,
    "forcefield": ForceFieldSettings,
    "study": StudySettings,
    "tune": TuneSettings,
    "replay": ReplaySettings,
    "fit": FitSettings,
    "plan": PlanSettings,
    "generate": GenerateSettings,
    "embed": EmbedSettings,
    "probe": ProbeSettings,
    "publish": PublishSettings,
    "simulate": SimulateSettings,
    "submit": SubmitSettings,
    "verify": VerifySettings,
    "leaderboard": LeaderboardSettings,
    "tasks": TasksSettings,
    "speed": SpeedSettings,
}
"""The parameters of every verb; verbs/VERB.py does its work, and is imported only when called."""

TRAINS: dict[type[Settings], tuple[Registry, ...]] = {
    LanguageSettings: (LANGUAGE_MODELS,),
    ForceFieldSettings: (FORCE_FIELDS,),
    StudySettings: (LANGUAGE_MODELS, FORCE_FIELDS),
    TuneSettings: (LANGUAGE_MODELS, FORCE_FIELDS),
}
"""The verbs that train a model by its name."""


def fields(of: type[Settings]) -> dict[str, FieldInfo]:
    """The fields of a verb's settings as a reader wants them: its own before those of all training and all features."""
    shared = {
        name for base in (TrainingSettings, FeatureSettings) if issubclass(of, base) for name in base.model_fields
    }
    return dict(sorted(of.model_fields.items(), key=lambda field: field[0] in shared))


def options(of: type[Settings]) -> list[click.Parameter]:
    """One command-line option for each field of a verb's settings, with its docstring and default as the help."""
    return [
        click.Option(
            [f"--{name}"],
            metavar="|".join(choices(field.annotation)) or "VALUE",
            help=f"{field.description}{added(of) if name == 'model' else ''}  [default: {default_of(field)}]",
        )
        for name, field in fields(of).items()
    ]


def added(of: type[Settings]) -> str:
    """The models of installed packages that a verb trains, for its help."""
    names = [name for kind in TRAINS.get(of, ()) for name in kind.names if name not in kind.modules]
    return f" Installed packages add {', '.join(names)}." if names else ""


def default_of(field: FieldInfo) -> str:
    """The default of a field, in words where it is nothing."""
    value = field.default
    return f"{value:g}" if isinstance(value, float) else "none" if value in ("", None) else str(value)


def choices(annotation: Any) -> list[str]:
    """The words that a field takes; none if it takes other values, too."""
    words = get_args(annotation) if get_origin(annotation) is Literal else ()
    return [str(word) for word in words]


def command(name: str, settings: type[Settings]) -> click.Command:
    """The click command of one verb."""

    def run(**given: Any) -> None:
        chosen = settings.read({key: value for key, value in given.items() if value is not None}, name)
        getattr(import_module(f"chemscale_bench.verbs.{name}"), name)(chosen)

    return click.Command(name, params=options(settings), callback=run, help=settings.__doc__)


def tool() -> click.Group:
    """The whole tool: a group with one command per verb."""
    # MLflow passes names as they stand (--batch_tokens); at a prompt people write --batch-tokens: both are read.
    reads_both = {"token_normalize_func": lambda name: name.replace("-", "_")}
    context = reads_both | {"help_option_names": ["-h", "--help"]}
    group = click.Group(
        "chemscale",
        help="The benchmark suite of neural scaling in chemistry. `chemscale VERB --help` explains a verb.",
        context_settings=context,
        no_args_is_help=False,
        invoke_without_command=False,
    )
    click.version_option(package_name="chemscale-bench", message="%(prog)s %(version)s")(group)
    for name, settings in VERBS.items():
        group.add_command(command(name, settings))
    return group


def main(arguments: list[str] | None = None) -> None:
    """Run the tool; a user error prints one line to stderr and exits with 2, Ctrl-C exits with 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no verb leaves half-written files behind
    # Its database tables are no news to the user; read when MLflow is imported.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    # Read when torch is imported. Threads that wait for one another by spinning are a fifth faster on idle cores, and a
    # hundred times slower as soon as another process takes one of them.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        tool().main(arguments, prog_name="chemscale", standalone_mode=False)
    except click.NoSuchOption as error:
        sys.exit(complain(no_parameter(error)))
    except click.UsageError as error:
        sys.exit(complain(error.format_message()))
    except UserError as error:
        sys.exit(complain(str(error)))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        # MLflow is not imported here, so that --help stays fast.
        if not type(error).__module__.startswith("mlflow."):
            raise
        cure = "check the parameters, and that MLFLOW_TRACKING_URI is a store that runs"
        sys.exit(complain(f"the tracking store must take what is asked of it, it says: {str(error)[:300]}; {cure}"))


def no_parameter(error: click.NoSuchOption) -> str:
    """What to say of a parameter that there is not."""
    name, verb = error.option_name.lstrip("-"), error.ctx.command.name if error.ctx else None
    if verb not in VERBS:
        return f"there is no parameter {name}; `chemscale --help` lists the verbs"
    return unknown(name, VERBS[verb], verb)


def complain(message: str) -> int:
    """Print the error line and give the exit code of bad input."""
    line = " ".join(message.split())
    click.echo(f"error: {line}", err=True)
    if "MLFLOW_RUN_ID" in os.environ:  # its run was not adopted: it would stay behind, failed, under a random name
        from chemscale_bench.tracking.adoption import refused

        refused(line)
    return 2
