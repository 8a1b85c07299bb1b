"""Studies of several models, or of several ways to write molecules, in one command."""

from __future__ import annotations

import mlflow
import pytest
from commands import call

from chemscale_bench.cli import main


@pytest.fixture(autouse=True)
def environment(tracking_uri: str, prepared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_models_are_studied_in_turn_and_compared() -> None:
    command = [
        "study", "--task", "embedded-ff", "--molecule", "ethanol", "--steps", "20", "--device", "cpu",
        "--params", "3e3,1e4", "--train_size", "20,30,40", "--model", "schnet,painn",
    ]  # fmt: skip
    out = call(*command)
    runs = mlflow.search_runs(experiment_names=["chemscale-studies"], output_format="list")
    (comparison,) = [run for run in runs if "studies" in run.data.tags]
    parents = comparison.data.tags["studies"].split(",")
    errors = {
        run.data.params["model"]: run.data.metrics["test/force_mae_mev_per_angstrom"]
        for run in runs
        if run.data.tags.get("mlflow.parentRunId") in parents
        and float(run.data.params["non_embedding_params"]) > 9e3
        and run.data.params["train_frames"] == "40"
    }
    better, other = sorted(errors, key=lambda model: errors[model])
    assert f"{better} is better than {other} at 1e+04 params and 40 frames" in out
    metrics = comparison.data.metrics
    assert metrics[f"difference/{better}_better_than_{other}"] == pytest.approx(errors[other] - errors[better])
    assert 0 <= metrics[f"decision_accuracy/{better}_better_than_{other}"] <= 1
    assert "exponents of frames at 1e+04 params, straight lines through 3 of them:" in out
    assert "they differ by" in out
    assert 0 <= metrics["exponent_difference_p/data_schnet_less_painn"] <= 1
    rows = mlflow.artifacts.load_dict(f"runs:/{comparison.info.run_id}/runs.json")["data"]
    assert len(rows) == 12
    call(*command)  # again: nothing is trained, and the comparison is not made twice
    assert mlflow.artifacts.load_dict(f"runs:/{comparison.info.run_id}/runs.json")["data"] == rows
    assert len(mlflow.search_runs(experiment_names=["chemscale-studies"], output_format="list")) == len(runs)


def test_strings_are_compared_by_molecule() -> None:
    call("study", "--task", "embedded-lm", "--model", "llama", "--vocabulary", "dataset,smiles", "--params", "1e4",
         "--tokens", "3e4", "--device", "cpu")  # fmt: skip
    runs = mlflow.search_runs(experiment_names=["chemscale-studies"], output_format="list")
    (comparison,) = [run for run in runs if "studies" in run.data.tags]
    rows = mlflow.artifacts.load_dict(f"runs:/{comparison.info.run_id}/runs.json")["data"]
    trained = {run.data.params["vocabulary"]: run for run in runs if "task_name" in run.data.params}
    assert trained["smiles"].data.params["task_name"] == "embedded-lm@smiles"
    found = {name: loss for name, *_, loss in rows}
    for name, vocabulary in (("llama", "dataset"), ("llama-smiles", "smiles")):
        assert found[name] == pytest.approx(trained[vocabulary].data.metrics["val/nats_per_molecule"])
    drawn = call("generate", "--run", trained["smiles"].info.run_id, "--molecules", "400", "--experiment", "drawn")
    assert "novelty" in drawn
    metrics = mlflow.search_runs(experiment_names=["drawn"], output_format="list")[0].data.metrics
    assert metrics["generation/raw_valid"] == metrics["generation/valid"] < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vocabulary", "smile"], "vocabulary must be"),
        (["--vocabulary", "dataset,dataset"], "vocabulary must name each vocabulary once, got 'dataset,dataset'"),
        (["--vocabulary", "dataset,chemgpt"], "several vocabularies must spell the same molecules"),
        (
            ["--vocabulary", "smiles", "--tune", "5"],
            "vocabulary must be dataset where hyperparameters are searched, got smiles and tune=5",
        ),
    ],
)
def test_bad_input_gives_one_line_and_leaves_no_run(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["study", "--task", "embedded-lm", "--params", "1e4", *arguments])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert mlflow.MlflowClient().get_experiment_by_name("chemscale-studies") is None
