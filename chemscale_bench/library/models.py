"""The library's functions for trained models: loaded, drawn from, probed, put in motion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chemscale_bench.errors import UserError

if TYPE_CHECKING:
    from chemscale_bench.evaluation.loaded import TrainedForceField, TrainedLanguageModel
    from chemscale_bench.runs.result import Result


def load(model: str | Path, device: str = "cpu") -> TrainedLanguageModel | TrainedForceField:
    """The trained model of a run.

    Args:
        model: the run's id, an MLflow address of its model as `runs:/RUN/model`, or a folder.
        device: where it computes, `cpu`, `cuda`, or `auto`.

    Returns:
        Of a language model with its `loss(smiles)`, nats of each molecule, `sample(n)` and `embed(smiles)`; of a force
        field with an ASE `calculator()`.

    Raises:
        UserError: if there is no such model, or no such device.

    Example:
        >>> import ase.build, chemscale_bench as cs
        >>> entries = Path("leaderboard/entries/embedded-ff@ethanol")  # of a checkout, with their checkpoints
        >>> folder = next(entries.rglob("model.safetensors")).parent
        >>> ethanol = ase.build.molecule("CH3CH2OH")
        >>> ethanol.calc = cs.load(folder).calculator()
        >>> ethanol.get_forces().shape
        (9, 3)
    """
    from chemscale_bench.evaluation.loaded import load as load_folder
    from chemscale_bench.tracking.store import download_model
    from chemscale_bench.training.devices import evaluation_device

    if device in ("auto", "cuda"):
        device = str(evaluation_device(device))
    folder = Path(model)
    return load_folder(folder if folder.is_dir() else download_model(str(model)), device)


def generate(run: str | Path, **parameters: Any) -> Result:
    """Draw molecules and measure them as MOSES does, tracked as one run: what the command `generate` prints.

    Args:
        run: id of a run, or the folder of its model; or an experiment or a study, all models of which are drawn from.
        **parameters: of that command, such as molecules, temperature, seed; `chemscale generate --help` explains them.

    Returns:
        Of one model the valid molecules with their nats in `table` and a picture of some in `figure()`; of several a
        row for each model, and quality over loss. Metrics are in `numbers()`, the report in `text()`.

    Raises:
        UserError: if a parameter breaks a rule, there is no such model, or none of its molecules is valid.

    Example:
        >>> import chemscale_bench as cs, pandas as pd
        >>> alcohols = [f"{'C' * left}C(O){'C' * right}" for left in range(1, 16) for right in range(1, 16)]
        >>> pd.DataFrame({"smiles": alcohols}).to_csv("alcohols.csv", index=False)
        >>> given = {"task": "embedded-lm", "data": "alcohols.csv", "params": 1e4, "tokens": 3000, "device": "cpu"}
        >>> drawn = cs.generate(cs.train("llama", **given).run_id, molecules=50, device="cpu")
        >>> list(drawn.table), drawn.numbers()["generation/molecules"]
        (['smiles', 'nats'], 50)
    """
    from chemscale_bench.runs import generation, quality
    from chemscale_bench.settings.generate import GenerateSettings

    settings = GenerateSettings.read({"run": str(run), **parameters}, "generate")
    if quality.names_many(settings.run):
        return quality.generate_from_all(settings, prints=False)
    if settings.budget == "all":
        raise UserError(
            "budget must be last for one run here, got all; give its study or experiment, or use the command generate"
        )
    return generation.generate(settings, prints=False)


def probe(run: str | Path, **parameters: Any) -> Result:
    """What features of language models are worth for a property, tracked as one run: what the command `probe` prints.

    Args:
        run: an experiment, a study, a run's id, or the folder of a model.
        **parameters: of that command: tasks, or data and target; `chemscale probe --help` explains them.

    Returns:
        A row for each kind of features in `table`, the report in `text()`, their worth over the loss in `figure()`.

    Raises:
        UserError: if a parameter breaks a rule, or the molecules are not fit for these splits.
    """
    from chemscale_bench.runs.probing import probe as work
    from chemscale_bench.settings.probe import ProbeSettings

    settings = ProbeSettings.read({"run": str(run), **parameters}, "probe")
    return work(settings, prints=False)


def simulate(run: str | Path, **parameters: Any) -> Result:
    """Put force fields in motion: how long they hold a molecule together, tracked as one run, as `simulate` does.

    Args:
        run: id of a run, the folder of a model, or an experiment: all of its force fields.
        **parameters: of that command, such as temperature, replicas, picoseconds; `chemscale simulate --help` explains
            them.

    Returns:
        A row for each model, temperature and ensemble in `table`, the report in `text()`, metrics in `numbers()`,
        stability, drift, distances and vibrations in `figure()`.

    Raises:
        UserError: if a parameter breaks a rule, there is no such force field, or its frames are not to be had.

    Example:
        >>> import chemscale_bench as cs
        >>> entries = Path("leaderboard/entries/embedded-ff@ethanol/schnet")  # of a checkout, with their checkpoints
        >>> folder = next(entries.rglob("model.safetensors")).parent
        >>> moved = cs.simulate(folder, temperature=300, replicas=1, picoseconds=0.1, device="cpu")
        >>> moved.table["ensemble"].to_list()
        ['Langevin', 'NVE']
    """
    from chemscale_bench.runs import simulation
    from chemscale_bench.settings.simulate import SimulateSettings

    settings = SimulateSettings.read({"run": str(run), **parameters}, "simulate")
    return simulation.simulate(settings, prints=False)
