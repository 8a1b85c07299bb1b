"""Whole runs of language models: what they record and leave, budgets, seeds, going on from a checkpoint."""

from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from commands import call, curve, runs
from transformers import AutoModelForCausalLM, AutoTokenizer

from chemscale_bench.data.prepare import prepare
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.ngram import Trigram
from chemscale_bench.runs.checkpoint import find
from chemscale_bench.tasks import load_language

SMALL = ["--task", "embedded-lm", "--params", "3e4", "--device", "cpu"]


@pytest.fixture(autouse=True)
def environment(prepared_home: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, chemscale_home: Path) -> None:
    monkeypatch.setenv("CHEMSCALE_HOME", str(prepared_home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def train(*arguments: str, expected: int = 0) -> str:
    return call("chemgpt", *SMALL, *arguments, expected=expected)


def test_an_early_budget_of_a_longer_run_is_the_run_to_that_budget() -> None:
    for tokens in ("1e5", "3e5"):
        train("--tokens", tokens)
    long, short = sorted(runs(), key=lambda run: -int(float(run.data.params["tokens"])))
    for key in ("val/loss_nats_per_token", "baseline/trigram_nats_per_token"):
        assert [step for step, _ in curve(short, key)] == [30_000, 100_000]
        assert curve(long, key)[:2] == curve(short, key)


def test_a_training_is_the_same_whether_smaller_budgets_are_measured_or_not() -> None:
    train("--tokens", "1e5")
    train("--tokens", "1e5", "--smaller_budgets", "False")
    last, both = (curve(run, "val/loss_nats_per_token") for run in runs())
    assert [step for step, _ in both] == [30_000, 100_000]
    assert last == both[1:]


def test_the_model_of_a_run_works_in_transformers() -> None:
    train("--tokens", "1e4")
    (run,) = runs()
    folder = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer("[C][C][O]", return_tensors="pt").input_ids
    assert tokenizer.convert_ids_to_tokens(ids[0]) == ["[CLS]", "[C]", "[C]", "[O]", "[SEP]"]
    assert torch.isfinite(model(ids).logits).all()


def test_a_run_says_what_it_was(prepared_home: Path) -> None:
    train("--tokens", "1e4")
    (run,) = runs()
    assert run.data.params["model"] == "chemgpt"
    assert run.data.params["task_name"] == "embedded-lm"
    assert abs(int(run.data.params["non_embedding_params"]) / 3e4 - 1) < 0.05
    for tag in ("task_digest", "data.digest", "vocabulary.fingerprint", "code.commit", "machine.device"):
        assert run.data.tags[tag]
    for metric in ("val/nats_per_molecule", "baseline/trigram_nats_per_token", "cost/flops_total", "data/read"):
        assert run.data.metrics[metric] > 0
    shown = list(run.data.metrics)  # as MLflow lists them
    assert shown.index("val/loss_nats_per_token") < shown.index("data/read")
    store = prepare(
        "embedded", train_tokens=10_000, validation_molecules=load_language("embedded-lm").validation_molecules
    )
    begin, seen = 0, []
    while begin < 10_000:  # the trigram learns from the molecules of the budget, in their order, to the token
        end = min(10_000, int(store.train.offsets[len(seen) + 1]))
        seen.append(np.asarray(store.train.tokens[begin:end]))
        begin = end
    trigram = Trigram(store.vocabulary.size, store.vocabulary.start_id).fit(seen)
    expected = trigram.nats_per_token(store.validation.sequences())
    assert run.data.metrics["baseline/trigram_nats_per_token"] == pytest.approx(expected, rel=1e-12)
    assert run.inputs.dataset_inputs[0].dataset.name == "embedded"
    artifacts = {artifact.path for artifact in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert artifacts == {"loss_curve.html", "model"}


def test_divergence_fails_the_run_with_its_reason(prepared_home: Path) -> None:
    text = train("--tokens", "2e4", "--learning_rate", "10", expected=2)
    (run,) = runs()
    assert run.info.status == "FAILED"
    assert "Diverged" in run.data.tags["chemscale.reason"]
    assert "try a lower learning_rate" in text.splitlines()[-1]
    assert not list((prepared_home / "runs").glob("*"))


def test_init_goes_on_from_a_checkpoint_of_the_same_vocabulary_only(tmp_path: Path) -> None:
    train("--tokens", "1e4")
    (run,) = runs()
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model"))
    train("--tokens", "1e4", "--init", str(folder))
    further = next(other for other in runs() if other.info.run_id != run.info.run_id)
    assert further.data.metrics["val/loss_nats_per_token"] < run.data.metrics["val/loss_nats_per_token"]

    tokenizer = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(tokenizer.replace('"[C]"', '"[Xx]"'))
    text = train("--tokens", "1e4", "--init", str(folder), expected=2)
    assert "init must have the vocabulary of the data" in text
    assert len(runs()) == 2, "what is refused leaves no run"


def test_seeds_are_children_of_one_run_with_the_curves_that_they_have_alone() -> None:
    budget = ["--tokens", "30000", "--batch_tokens", "1024"]
    out = train(*budget, "--seeds", "2")
    train(*budget, "--seed", "1")
    assert "mean of 2 seeds" in out
    assert out.count("; next:\n") == 1
    assert ", one child per seed; next:\n" in out
    (parent,) = [run for run in runs() if run.data.tags["mlflow.runName"] == "2.9e4-2-seeds-chemgpt"]
    children = {
        run.data.params["seed"]: run for run in runs() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    (alone,) = [
        run for run in runs() if run.data.params.get("seed") == "1" and "mlflow.parentRunId" not in run.data.tags
    ]
    assert sorted(children) == ["0", "1"]
    assert {run.data.tags["mlflow.runName"] for run in children.values()} == {
        "2.9e4-seed0-chemgpt",
        "2.9e4-seed1-chemgpt",
    }
    assert parent.data.metrics["seeds/sd_val_loss_nats_per_token"] > 0
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}
    for key in ("train/loss_nats_per_token", "val/loss_nats_per_token"):
        ours, theirs = curve(children["1"], key), curve(alone, key)
        assert [step for step, _ in ours] == [step for step, _ in theirs]
        assert [value for _, value in ours] == pytest.approx([value for _, value in theirs], rel=1e-3)


def test_the_column_that_is_named_trains_and_is_found_again(tmp_path: Path) -> None:
    table = [
        f"{'C' * (n % 30 + 1)}{'O' * (n // 30 + 1)},{'N' * (n % 30 + 1)}{'C' * (n // 30 + 1)}\n" for n in range(600)
    ]
    (tmp_path / "two.csv").write_text("smiles,product\n" + "".join(table))
    own = ["--tokens", "500", "--data", str(tmp_path / "two.csv")]
    assert "two.csv: SMILES in column 2 between commas, below product: NC, NNC, NNNC, ..." in train(
        *own, "--column", "product"
    )
    run = runs()[0]
    _, data = find(run.info.run_id)
    assert data is not None
    assert data.prepare().train.digest == run.data.tags["data.train_digest"]
    without = data._replace(column="")
    with pytest.raises(UserError, match="has changed since"):
        without.prepare()
    assert "there stand smiles, product; give one of them" in train(*own, "--column", "educt", expected=2)
    assert len(runs()) == 1  # none was made for what could not begin
