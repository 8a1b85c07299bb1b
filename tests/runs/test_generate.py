"""The verb `generate`: from a tracked run of a model, or a folder, to molecules, their metrics and their picture."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from commands import call
from mlflow.entities import Run

from chemscale_bench.data.embedded import files
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.evaluation.chemistry import canonical, decoded
from chemscale_bench.evaluation.drawn import spelled, tokens_of
from chemscale_bench.models.registry import LANGUAGE_MODELS

SMALL = ["--task", "embedded-lm", "--params", "3e4", "--tokens", "2e4", "--device", "cpu"]

WEIGHTS = ("models/30000/model.safetensors", "model/model.safetensors")


@pytest.fixture(autouse=True)
def environment(prepared_home: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, chemscale_home: Path) -> None:
    monkeypatch.setenv("CHEMSCALE_HOME", str(prepared_home))


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A few real molecules."""
    (tmp_path / "few.smi").write_text("\n".join(files()[0].read_text().splitlines()[:1200]))
    return str(tmp_path / "few.smi")


def newest(experiment: str) -> Run:
    return mlflow.search_runs(experiment_names=[experiment], output_format="list")[0]  # type: ignore[return-value]


def artifact(of: Run, name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=of.info.run_id, artifact_path=name))


@pytest.fixture
def store(data: str) -> TokenStore:
    return prepare(data, train_tokens=20_000, validation_molecules=10_000)


@pytest.fixture
def folder(tmp_path: Path, store: TokenStore) -> Path:
    """A checkpoint that nobody has trained."""
    family, vocabulary = LANGUAGE_MODELS.family("lstm"), store.vocabulary
    model = family.build(family.config_for(30_000, vocabulary.size), 0)
    family.save_pretrained(model, tmp_path / "model", vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
    vocabulary.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_from_a_run(data: str) -> None:
    call("language", "--model", "llama", "--data", data, *SMALL)
    source = newest("chemscale")
    shown = call("generate", "--run", source.info.run_id, "--molecules", "60", "--seed", "5")
    made = newest("chemscale-generation")
    assert made.info.status == "FINISHED"
    assert made.data.tags["source_run"] == source.info.run_id
    for name in ("model", "non_embedding_params", "task_name"):
        assert made.data.params[name] == source.data.params[name]
    found = made.data.metrics
    assert found["source/val/loss_nats_per_token"] == source.data.metrics["val/loss_nats_per_token"]
    assert found["generation/molecules"] == 60
    assert 0.5 < found["generation/valid"] <= 1
    for name in ("raw_valid", "unique_at_10k", "novelty", "snn_test", "scaffolds_test", "wasserstein_qed_test"):
        assert f"generation/{name}" in found
    lines = artifact(made, "molecules.smi").read_text().splitlines()
    assert len(lines) == round(60 * found["generation/valid"])
    for line in lines:
        smiles, nats = line.split("\t")
        assert canonical(smiles) == smiles
        assert float(nats) > 0
    assert artifact(made, "molecules.png").read_bytes().startswith(b"\x89PNG")
    assert "molecules are valid: unique_at_1k is that of all" in shown
    assert "generation]'" in shown or found["generation/fcd_raw_valid_test"] != found["generation/fcd_test"]


def test_every_budget_has_its_model_and_its_loss(data: str) -> None:
    call("language", "--model", "llama", "--data", data, *SMALL, "--tokens", "4e4")
    source = newest("chemscale")
    history = mlflow.MlflowClient().get_metric_history(source.info.run_id, "val/loss_nats_per_token")
    losses = {str(each.step): each.value for each in sorted(history, key=lambda point: point.step)}
    assert list(losses) == ["30000", "40000"]
    call("generate", "--run", source.info.run_id, "--molecules", "40", "--budget", "all")
    made = mlflow.search_runs(experiment_names=["chemscale-generation"], output_format="list")
    assert {run.data.params["tokens"]: run.data.metrics["source/val/loss_nats_per_token"] for run in made} == losses  # type: ignore[union-attr]
    first, last = (artifact(source, path).read_bytes() for path in WEIGHTS)
    assert first != last
    refused = call("generate", "--run", "some/folder", "--budget", "all", expected=2)
    assert "budget=all needs the id of a run, got run=some/folder" in refused


def test_an_experiment_is_its_language_models_over_their_losses(data: str) -> None:
    call("language", "--model", "llama", "--data", data, *SMALL, "--params", "1e4", "--tokens", "4e4", "--seeds", "2")
    runs = mlflow.search_runs(experiment_names=["chemscale"], output_format="list")
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run is not parent]
    client = mlflow.MlflowClient()
    empty, drawn = (client.create_run(parent.info.experiment_id).info.run_id for _ in range(2))
    for made_up in (empty, drawn):  # a training that has kept no model, and what `generate` logs of one
        for name in ("model", "non_embedding_params", "task_name", "budgets_tokens"):
            client.log_param(made_up, name, children[0].data.params[name])
        client.set_tag(made_up, "task_digest", children[0].data.tags["task_digest"])
        client.set_terminated(made_up)
    client.set_tag(drawn, "verb", "generate")

    shown = call("generate", "--run", "chemscale", "--molecules", "30", "--budget", "all")
    made = newest("chemscale-generation")
    table = pd.read_csv(artifact(made, "quality.csv"))
    assert set(table["run_id"]) == {run.info.run_id for run in children}
    assert sorted(table["tokens"]) == [30_000, 30_000, 40_000, 40_000]
    last = table[table["tokens"] == 40_000].set_index("run_id")["loss_nats_per_token"]
    assert last.to_dict() == {run.info.run_id: run.data.metrics["val/loss_nats_per_token"] for run in children}
    assert table["loss_nats_per_token"].nunique() == 4
    for name in ("valid", "raw_valid", "unique_at_10k", "novelty", "scaffolds_test"):
        assert table[name].notna().all()
    for folder in table["folder"]:
        assert artifact(made, f"{folder}/molecules.smi").read_text().count("\n") <= 30
    page = artifact(made, "figures/quality.html").read_text()
    assert "raw validity" in page
    assert "<script src=" not in page  # opens without a network
    assert f"run {empty[:6]} is left out: run must have a model among its artifacts, {empty} has none" in shown
    for part in ("1 models that could not be drawn from", "1 runs of no language model", "1 runs that trained nothing"):
        assert part in shown
    if "fcd_test" in table:
        assert made.data.metrics["fcd_over_loss/slope_per_nat_per_token"] > -1e9
        assert "over 4 models; 90 % intervals: slope " in shown
    assert "CharRNN" not in shown  # of MOSES, which this is not

    shown = call("generate", "--run", parent.info.run_id, "--molecules", "20")
    assert len(pd.read_csv(artifact(newest("chemscale-generation"), "quality.csv"))) == 2
    assert "a line of FCD over loss needs 4 models" in shown


def test_experiments_without_models_to_draw_from() -> None:
    def refusal(*arguments: str) -> str:
        return call("generate", "--run", "mine", *arguments, expected=2).splitlines()[-1]

    client = mlflow.MlflowClient()
    experiment = client.create_experiment("mine")
    none = "error: run must name finished runs of language models, got 'mine' with none (none left out); `mlflow ui`"
    assert refusal().startswith(none)
    assert refusal("--task", "embedded-lm").startswith("error: task must be left out for runs, which know their own")
    made = []
    for model in ("schnet", "lstm", "lstm"):
        made.append(client.create_run(experiment).info.run_id)
        client.log_param(made[-1], "model", model)
        client.log_param(made[-1], "non_embedding_params", 10_000)
    assert "with none (2 runs running, 1 runs of no language model left out)" in refusal()
    assert mlflow.get_experiment_by_name("chemscale-generation") is None, "nothing was made"
    client.set_terminated(made[1])
    assert "none (1 models that could not be drawn from, 1 runs running, 1 runs of no language model left" in refusal()
    client.set_terminated(made[2])
    client.set_tag(made[2], "task_digest", "another")
    assert refusal().startswith("error: run must name runs of one task, whose losses can be compared, 'mine' has those")


def test_from_a_folder_with_and_without_its_task(folder: Path) -> None:
    shown = call("generate", "--run", str(folder), "--molecules", "20")
    assert "of a folder nothing is known but the model" in shown
    assert "generation/novelty" not in newest("chemscale-generation").data.metrics


def test_molecules_are_known_again_by_their_tokens(store: TokenStore) -> None:
    known = list(tokens_of(store))
    first = islice(store.train.sequences(), 200)
    smiles = [canonical(decoded(store.vocabulary.decode(each.tolist()))) for each in first]
    assert len(set(known)) == len(known)
    again = sum(tokens == seen for tokens, seen in zip(spelled(smiles, store.vocabulary), known, strict=False))
    assert again >= 198  # a Kekule structure may change its mind


def broken(folder: Path, how: str) -> None:
    if how == "tokenizer":
        (folder / "tokenizer.json").unlink()
    elif how == "config":
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text(json.dumps({how: "schnet" if how == "model" else "bert"}))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("tokenizer", "a checkpoint must come with the tokenizer.json of its vocabulary"),
        ("config", "run must have a checkpoint of a language model, got "),
        ("model", "run must be of a language model, got the force field schnet"),
        (
            "model_type",
            "run must have a checkpoint with model_type gpt_neo or qwen3 or chemscale_char_rnn",
        ),
    ],
)
def test_a_folder_that_is_none(how: str, says: str, folder: Path) -> None:
    broken(folder, how)
    error = call("generate", "--run", str(folder), expected=2).splitlines()[-1]
    assert error.startswith(f"error: {says}")
    assert mlflow.get_experiment_by_name("chemscale-generation") is None, "nothing was made"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "run must be the id of a run or the folder of a checkpoint, got nothing"),
        (["--run", "f" * 32], "run must be a path that exists or the id of a run of this store, got 'ffff"),
        (["--run", "f" * 32, "--task", "embedded-lm"], "task must be left out for a run"),
        (["--molecules", "0"], "molecules must be greater than or equal to 1, got 0"),
        (["--temperature", "0"], "temperature must be greater than 0, got '0'"),
        (["--temperature", "nan"], "temperature must be"),
        (["--top-p", "1.5"], "top_p must be less than or equal to 1, got '1.5'"),
    ],
)
def test_bad_input(arguments: list[str], says: str) -> None:
    error = call("generate", *arguments, expected=2).splitlines()[-1]
    assert error.startswith(f"error: {says}")


def test_runs_without_a_language_model() -> None:
    client = mlflow.MlflowClient()
    for params, says in (({"model": "schnet"}, "is of the force field schnet"), ({}, "has none (it is RUNNING)")):
        made = client.create_run(client.create_experiment(f"with {params}")).info.run_id
        for name, value in params.items():
            client.log_param(made, name, value)
        assert says in call("generate", "--run", made, expected=2)


def test_a_released_tokenizer_is_read_in_todays_spelling(folder: Path) -> None:
    path = folder / "tokenizer.json"
    record = json.loads(path.read_text())
    ids = record["model"]["vocab"]
    ids["[Branch1_2]"] = len(ids)
    path.write_text(json.dumps(record))
    assert Vocabulary.load_pretrained(folder).symbols[-1] == "[=Branch1]"
    ids["[C]"] = 7777
    path.write_text(json.dumps(record))
    with pytest.raises(Exception, match="its ids have gaps"):
        Vocabulary.load_pretrained(folder)
