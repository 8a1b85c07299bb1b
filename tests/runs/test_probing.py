"""The verb `probe`, on runs in a store: one table, logged, with the same network untrained beside every trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import selfies
import torch
from rdkit import Chem
from rdkit.Chem import Crippen

from chemscale_bench.data import properties
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.featurizer import Featurizer
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.runs.probing import probe
from chemscale_bench.settings.probe import ProbeSettings

CYCLES = "c1ccccc1 C1CCCCC1 c1ccncc1 C1CCNCC1 c1ccoc1 c1ccsc1 C1CC1 C1CCC1 C1CCOC1 C1CCSC1 C1CCNC1 C1CCCCCC1"
RINGS = CYCLES.split()
SMILES = [f"{'C' * length}{ring}" for ring in RINGS for length in range(1, 6)]
ENCODED = [selfies.encoder(Chem.CanonSmiles(text)) for text in SMILES]
SYMBOLS = {symbol for text in ENCODED for symbol in selfies.split_selfies(text)}
VOCABULARY = Vocabulary.build(dict.fromkeys(SYMBOLS, 1), selfies_version="2")


def log_run(model: str, tokens: int, loss: float, folder: Path, status: str = "FINISHED") -> str:
    """A run as training leaves it, with a checkpoint that is not where it began."""
    family, client = LANGUAGE_MODELS.family(model), mlflow.MlflowClient()
    network = family.build(family.config_for(30_000, VOCABULARY.size), 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(tokens))
    family.save_pretrained(network, folder, VOCABULARY.start_id, VOCABULARY.end_id, VOCABULARY.pad_id)
    VOCABULARY.save_pretrained(folder)
    experiment = mlflow.get_experiment_by_name("lm")
    run = client.create_run(experiment.experiment_id if experiment else client.create_experiment("lm")).info.run_id
    params = {"model": model, "seed": 1, **network.config.sizes, "budgets_tokens": f"10 {tokens}", "task_name": "lm"}
    for key, value in (params | {"non_embedding_params": network.config.non_embedding_params}).items():
        client.log_param(run, key, value)
    client.log_metric(run, "val/loss_nats_per_token", loss + 0.5, step=10)  # of the earlier budget
    client.log_metric(run, "val/loss_nats_per_token", loss, step=tokens)
    client.log_artifacts(run, str(folder), "model")
    client.set_terminated(run, status)
    return run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Molecules with a computed property, a class, and what is no number."""
    frame = pd.DataFrame({"smiles": SMILES, "logp": [Crippen.MolLogP(Chem.MolFromSmiles(text)) for text in SMILES]})
    frame["odd"] = [place % 2 for place in range(len(SMILES))]
    frame["rare"] = [int(place == 0) for place in range(len(SMILES))]
    frame["word"] = "high"
    frame.loc[3, "logp"] = np.nan
    frame.loc[len(frame)] = ["C[Xe]", 1.0, 1, 0, "low"]
    path = tmp_path / "m.csv"
    frame.to_csv(path, index=False)
    return path


def logged(name: str, run: Any) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name))


def test_an_experiment(table: Path, tracking_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [log_run("chemgpt", tokens, loss, tmp_path / "a") for tokens, loss in ((10, 2.0), (20, 1.5), (40, 1.2))]
    ids.append(log_run("lstm", 10, 1.9, tmp_path / "b"))
    log_run("lstm", 10, 1.9, tmp_path / "c", status="FAILED")
    client, experiment = mlflow.MlflowClient(), mlflow.get_experiment_by_name("lm")
    assert experiment
    parent = client.create_run(experiment.experiment_id).info.run_id  # of a search, with no model of its own
    client.log_param(parent, "model", "lstm")
    client.set_terminated(parent)
    probe(ProbeSettings(run="lm", data=str(table), target="logp", splits=2, device="cpu"))
    (run,) = mlflow.search_runs(experiment_names=["chemscale-housekeeping"], output_format="list")
    assert run.info.status == "FINISHED"
    found = pd.read_csv(logged("probes.csv", run))
    assert found["kind"].tolist().count("untrained") == 2  # three runs of chemgpt began alike
    trained = found[found["kind"] == "trained"]
    assert trained["run_id"].tolist() == ids
    assert trained["loss_nats_per_token"].tolist() == [2.0, 1.5, 1.2, 1.9]
    assert found["features"].tolist()[-2:] == ["Morgan fingerprints", "RDKit descriptors"]
    assert trained["unknown_symbol_share"].to_numpy() == pytest.approx(1 / 60)
    columns = ["linear", "linear_low", "linear_high", "neighbours", "rogi", "rogi_xd"]
    assert np.isfinite(found[columns].to_numpy()).all()
    assert found["linear"].iloc[-1] < 0.3  # RDKit's descriptors hold this very property
    assert len(pd.read_csv(logged("correlations.csv", run)))
    assert logged("figures/probes.html", run).stat().st_size > 1000
    report = logged("report.txt", run).read_text()
    assert report in capsys.readouterr().out
    assert report.endswith("ChemBERTa-77M 0.190, ChemGPT-1.2B 0.192")
    for told in ("RMSE", "untrained", "1 molecules unknown_symbol", "1 rows without a value", "1 runs failed",
                 "1 runs that trained nothing"):  # fmt: skip
        assert told in report
    assert run.data.metrics["probe/molecules"] == 59


def test_a_folder_and_two_classes(table: Path, tracking_uri: str, tmp_path: Path) -> None:
    log_run("llama", 10, 2.0, tmp_path / "model")
    probe(ProbeSettings(run=str(tmp_path / "model"), data=str(table), target="odd", splits=2, device="cpu"))
    (run,) = mlflow.search_runs(experiment_names=["chemscale-housekeeping"], output_format="list")
    found = pd.read_csv(logged("probes.csv", run))
    assert found["features"].tolist()[:2] == ["model", "model, untrained"]
    assert found["linear"].between(0, 1).all()
    assert "ROC-AUC" in logged("report.txt", run).read_text()


def test_losses_of_two_tasks_are_not_compared(table: Path, tracking_uri: str, tmp_path: Path) -> None:
    for task in ("one", "another"):
        run = log_run("lstm", 10, 1.9, tmp_path / task)
        mlflow.MlflowClient().set_tag(run, "task_digest", task)
    with pytest.raises(UserError, match="run must name runs of one task, whose losses can be compared"):
        probe(ProbeSettings(run="lm", data=str(table), target="logp", splits=2, device="cpu"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": ""}, "target must be a column of data, got nothing"),
        ({"target": "logP"}, r"target must be a column of .*, got 'logP'; it has logp, odd, rare, word"),
        ({"target": "word"}, "target must be a column of numbers, word has 'high' in line 2"),
        ({"target": "rare"}, "every split must have both classes on both sides"),
        ({"run": "nothing"}, "run must be an experiment or a run id of this store, got 'nothing'"),
        ({"run": "forces"}, "run must name finished runs of language models, got 'forces' with none"),
        ({"tasks": "esol"}, "give tasks, or data and target"),
        ({"tasks": "tox", "data": "", "target": ""}, r"tasks must be of esol, .*, got 'tox'"),
        ({"data": ""}, "data must be a file of SMILES"),
        ({"layer": 40}, "layer must be from 0"),
    ],
)
def test_bad_input_makes_no_run(
    changes: dict[str, Any], message: str, table: Path, tracking_uri: str, tmp_path: Path
) -> None:
    log_run("lstm", 10, 1.9, tmp_path / "model")
    client = mlflow.MlflowClient()
    client.create_run(client.create_experiment("forces"))
    given = {"run": "lm", "data": str(table), "target": "logp", "device": "cpu", "splits": 5} | changes
    with pytest.raises(UserError, match=message):
        probe(ProbeSettings.model_validate(given))
    assert mlflow.get_experiment_by_name("chemscale-housekeeping") is None


def test_properties_by_name(
    tracking_uri: str, tmp_path: Path, chemscale_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"esol": "ESOL_delaney-processed.csv", "freesolv": "FreeSolv_SAMPL.csv"}
    folder = Path(__file__).parents[3] / "shared/data/moleculenet"
    if not folder.exists():
        pytest.skip("the real data are not beside this checkout")
    (chemscale_home / "downloads").mkdir(parents=True)
    for name, file in names.items():
        (chemscale_home / "downloads" / properties.SETS[name].file_name).write_bytes((folder / file).read_bytes())
    for loss in (2.0, 1.9, 1.8, 1.7):
        log_run("lstm", round(100 / loss), loss, tmp_path / "model")
    probe(ProbeSettings(run="lm", tasks="esol, freesolv", splits=2, device="cpu"))
    (run,) = mlflow.search_runs(experiment_names=["chemscale-housekeeping"], output_format="list")
    found = pd.read_csv(logged("probes.csv", run))
    assert found.groupby("property")["kind"].value_counts().to_dict() == {
        (name, kind): count for name in names for kind, count in {"trained": 4, "baseline": 2, "untrained": 1}.items()
    }
    assert set(pd.read_csv(logged("correlations.csv", run))["property"]) == set(names)
    told = capsys.readouterr().out
    assert "esol, measured log solubility in mols per litre" in told
    assert "with loss: linear RMSE" in told
    assert {"probe/esol/molecules", "probe/freesolv/best_linear"} <= set(run.data.metrics)


def test_the_model_of_every_budget(
    table: Path, tracking_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    log_run("llama", 11, 2.5, early)
    run = log_run("llama", 20, 1.5, late)
    mlflow.MlflowClient().log_artifacts(run, str(early), "models/10")
    probe(ProbeSettings(run=run, budget="all", data=str(table), target="logp", splits=2, device="cpu"))
    (logged_run,) = mlflow.search_runs(experiment_names=["chemscale-housekeeping"], output_format="list")
    found = pd.read_csv(logged("probes.csv", logged_run))
    trained = found[found["kind"] == "trained"]
    assert trained["tokens"].tolist() == [10, 20]
    assert trained["loss_nats_per_token"].tolist() == [2.0, 1.5]  # each that of its own budget
    assert (found["kind"] == "untrained").sum() == 1  # both began with the same weights
    assert trained["linear"].nunique() == 2
    alone = Featurizer(early).fit().transform(SMILES)
    assert np.array_equal(Featurizer(run, budget=10).transform(SMILES), alone)
    with pytest.raises(UserError, match=f"budget must be one whose model {run} has kept, got 11; leave it out"):
        Featurizer(run, budget=11).fit()
    with pytest.raises(UserError, match="the model of an earlier budget needs the id of a run, got run="):
        Featurizer(early, budget=10).fit()
    with pytest.raises(UserError, match="budget=all needs runs, got the folder"):
        probe(ProbeSettings(run=str(early), budget="all", data=str(table), target="logp", device="cpu"))
