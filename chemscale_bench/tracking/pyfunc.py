"""A run's model as an MLflow model: `mlflow.pyfunc.load_model("runs:/RUN/model")`, with nothing pickled.

MLflow reads `MLmodel` beside the weights, imports this module and calls `_load_pyfunc` with their folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.loaded import TrainedForceField, TrainedLanguageModel, load

MOLECULES = pd.DataFrame({"smiles": ["CCO", "c1ccccc1"]})


def describe(folder: Path, run_id: str, example: pd.DataFrame = MOLECULES) -> dict[str, str]:
    """Write what makes the folder of a trained model an MLflow model: `MLmodel` and an example of its input.

    Args:
        folder: with `config.json` and `model.safetensors`.
        run_id: of the run that trained it.
        example: of the input: column `smiles`, or of a force field `numbers` and `positions`.

    Returns:
        The tag by which MLflow's pages show a run's artifact of the folder's name as a model, with schema and code.
    """
    from mlflow.models import Model, ModelSignature
    from mlflow.models.utils import _save_example
    from mlflow.pyfunc import add_to_model
    from mlflow.types.schema import Array, ColSpec, DataType, Schema
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_MODELS

    vectors = Array(Array(DataType.double))
    inputs: list[Any] = [ColSpec("string", "smiles")]
    outputs: list[Any] = [ColSpec("double", "nats_per_molecule")]
    if "positions" in example:
        inputs = [ColSpec(Array(DataType.long), "numbers"), ColSpec(vectors, "positions")]
        outputs = [ColSpec("double", "energy_ev"), ColSpec(vectors, "forces_ev_per_angstrom")]
    model = Model(folder.name, run_id, signature=ModelSignature(Schema(inputs), Schema(outputs)))
    _save_example(model, example, str(folder))
    add_to_model(model, loader_module=__name__)
    model.save(str(folder / "MLmodel"))
    return {MLFLOW_LOGGED_MODELS: json.dumps([model.get_tags_dict()])}


def register(run_id: str, name: str) -> int:
    """Make a run's logged model the next version of a registered one, which is made if there is none; its number.

    Raises:
        UserError: if the registry does not take it.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # perhaps for a moment only: another run's first version
                raise
        source = f"{client.get_run(run_id).info.artifact_uri}/model"
        return int(client.create_model_version(name, source, run_id).version)
    except MlflowException as error:
        raise UserError(
            f"register_as must be a name that MLflow's registry takes, got {name!r} ({error.message}); nothing "
            f"is lost: register the model from the page of run {run_id} in MLflow, or try again by resume={run_id}"
        ) from None


class Predictor:
    """What `mlflow.pyfunc` calls."""

    def __init__(self, trained: TrainedLanguageModel | TrainedForceField) -> None:
        self.trained = trained

    def predict(self, table: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Losses of molecules, or energies and forces of frames.

        Args:
            table: column `smiles`; or of a force field `numbers` (A,), and `positions` (A, 3) in Angstrom.
            params: MLflow's, not used.

        Returns:
            Column `nats_per_molecule`, NaN for what can't be read or spelled; or of a force field `energy_ev` and
            `forces_ev_per_angstrom` (A, 3).
        """
        if isinstance(self.trained, TrainedLanguageModel):
            losses = self.trained.loss(table["smiles"].tolist())
            return pd.DataFrame({"nats_per_molecule": losses}, index=table.index)
        from ase import Atoms

        calculator, rows = self.trained.calculator(), []
        for numbers, positions in zip(table["numbers"], table["positions"], strict=True):
            try:
                atoms = Atoms(numbers=list(numbers), positions=[list(place) for place in positions])
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"a frame must have atomic numbers (A,) and positions (A, 3), got others ({error}); give both"
                ) from None
            atoms.calc = calculator
            rows.append((atoms.get_potential_energy(), atoms.get_forces().tolist()))
        return pd.DataFrame(rows, columns=["energy_ev", "forces_ev_per_angstrom"], index=table.index)


def _load_pyfunc(path: str) -> Predictor:
    """What MLflow calls."""
    return Predictor(load(path))
