"""Language models by name: whole runs of the verb `language`, from training to a reproduced entry."""

from __future__ import annotations

import hashlib
from pathlib import Path

import mlflow
import pytest
import torch
from commands import call
from mlflow.entities import Run

from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.runs.tracked import TrackedRun
from chemscale_bench.training import checkpoints

SMALL = ["--task", "embedded-lm", "--params", "3e4", "--tokens", "2e4", "--device", "cpu"]
GOLDEN = {"chemgpt": 2.0534, "llama": 1.8154, "lstm": 2.1916}
"""Validation loss of `SMALL` in nats per token."""
OTHERWISE = {"chemgpt": ("muon", 1.9712), "llama": ("adamw", 1.8596), "lstm": ("muon", 2.2247)}
"""The same with the optimizer that `auto` is not."""


@pytest.fixture(autouse=True)
def environment(prepared_home: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, chemscale_home: Path) -> None:
    monkeypatch.setenv("CHEMSCALE_HOME", str(prepared_home))


def runs() -> list[Run]:
    """The newest first."""
    return list(mlflow.search_runs(experiment_names=["chemscale"], output_format="list"))


def weights_sha256(of: Run) -> str:
    path = mlflow.artifacts.download_artifacts(run_id=of.info.run_id, artifact_path="model/model.safetensors")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize("model", ["llama", "lstm"])
def test_golden_loss_resume_and_entry(model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    call("language", "--model", model, *SMALL)
    (whole,) = runs()
    assert whole.data.params["model"] == model
    assert whole.data.params["optimizer"] == {"llama": "muon", "lstm": "adamw"}[model]
    assert whole.data.tags["mlflow.runName"].endswith(f"-seed0-{model}")
    assert abs(int(whole.data.params["non_embedding_params"]) / 3e4 - 1) < 0.05
    assert whole.data.metrics["val/loss_nats_per_token"] == pytest.approx(GOLDEN[model], rel=1e-3)

    with monkeypatch.context() as patch:
        patch.setattr(TrackedRun, "stop_requested", lambda self: "asked" if self.trainer.steps == 17 else None)
        call("language", "--model", model, *SMALL)
    resumed = runs()[0]
    assert resumed.info.run_id != whole.info.run_id
    assert resumed.info.status == "KILLED"
    call("language", "--resume", resumed.info.run_id)
    assert weights_sha256(resumed) == weights_sha256(whole)

    call("submit", "--run", whole.info.run_id, "--submitter", "Ada", "--out", str(tmp_path / "entries"))
    (path,) = (tmp_path / "entries").rglob("ada-*.json")
    assert path.parent.name == model
    verdict = judge(path, Level.REPRODUCED)
    assert verdict.level == Level.REPRODUCED, verdict.why_not_next


def test_a_run_from_before_there_was_the_optimizer_goes_on_by_adamw(
    monkeypatch: pytest.MonkeyPatch, prepared_home: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(TrackedRun, "stop_requested", lambda self: "asked" if self.trainer.steps == 17 else None)
        call("language", "--model", "llama", *SMALL, "--optimizer", "adamw")
    (begun,) = runs()
    path = prepared_home / "runs" / begun.info.run_id / "state.pt"
    state = checkpoints.load_state(path)
    del state["settings"]["optimizer"]
    torch.save(state, path)
    call("language", "--resume", begun.info.run_id)
    assert runs()[0].data.metrics["val/loss_nats_per_token"] == pytest.approx(OTHERWISE["llama"][1], rel=3e-3)


def test_every_model_has_a_golden_loss() -> None:
    assert set(GOLDEN) == set(OTHERWISE) == set(LANGUAGE_MODELS.modules)


@pytest.mark.parametrize("model", OTHERWISE)
def test_golden_loss_by_the_other_optimizer(model: str) -> None:
    optimizer, loss = OTHERWISE[model]
    call("language", "--model", model, *SMALL, "--optimizer", optimizer)
    (run,) = runs()
    assert run.data.params["optimizer"] == optimizer
    assert run.data.metrics["val/loss_nats_per_token"] == pytest.approx(loss, rel=3e-3)


def test_chemgpt_is_the_same_run_by_its_own_verb() -> None:
    call("chemgpt", *SMALL)
    call("language", *SMALL)
    ours, theirs = runs()
    assert ours.data.metrics["val/loss_nats_per_token"] == pytest.approx(GOLDEN["chemgpt"], rel=1e-3)
    for digest in ("task_digest", "data.digest", "vocabulary.fingerprint", "mlflow.runName"):
        assert ours.data.tags[digest] == theirs.data.tags[digest]
    assert ours.data.params == theirs.data.params
    assert weights_sha256(ours) == weights_sha256(theirs)


def test_the_rate_of_chemgpt_follows_the_warm_up() -> None:
    call("chemgpt", *SMALL, "--warmup", "0.72")
    (longer,) = runs()
    call("chemgpt", *SMALL)
    rate, usual = (float(run.data.params["peak_learning_rate"]) for run in (longer, runs()[0]))
    assert rate / usual == pytest.approx((0.72 * 2e4 / 9e3) ** 0.25, rel=1e-6)


def test_a_rate_is_logged_as_it_is_typed() -> None:
    call("chemgpt", *SMALL, "--learning_rate", "0.002")  # narrow: its embeddings learn faster
    (run,) = runs()
    assert run.data.params["peak_learning_rate"] == "0.002"
    curve = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train/learning_rate")
    assert max(point.value for point in curve) == pytest.approx(0.002, rel=1e-6)


def test_a_run_goes_on_by_the_verb_that_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(TrackedRun, "stop_requested", lambda self: "asked" if self.trainer.steps == 3 else None)
        call("chemgpt", *SMALL)
    assert "is one of chemgpt; use that" in call("language", "--resume", runs()[0].info.run_id, expected=2)


def test_a_study_searches_a_model_by_its_name() -> None:
    arguments = ["--task", "embedded-lm", "--model", "llama", "--params", "1e4", "--tokens", "3000", "--trials", "2"]
    call("tune", *arguments, "--device", "cpu", "--together", "2", "--batch_tokens", "512")
    trials = mlflow.search_runs(experiment_names=["chemscale-sweeps"], output_format="list")
    assert [each.data.params["model"] for each in trials] == ["llama"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "lama"], "model must be one of chemgpt, llama, lstm, got 'lama'; did you mean llama?"),
        (
            ["--model", "llama", "--ladder", "chemgpt"],
            "ladder must be left out with model=llama, which has no such option, got 'chemgpt'; "
            "leave it out, or choose chemgpt",
        ),
        (
            ["--model", "lstm", "--parametrization", "standard"],
            "parametrization must be left out with model=lstm, which has no such option, got 'standard'; "
            "leave it out, or choose chemgpt or llama",
        ),
        (["--model", "lstm", "--seeds", "2"], "seeds=2 needs a model that can be stacked, got model=lstm; choose"),
        (["--model", "llama", "--params", "11000"], "within 5 % of a size that Llama has, got 11,000; the nearest are"),
        (["--model", "llama", "--init", "."], "init must be a checkpoint with config.json and model.safetensors"),
    ],
)  # fmt: skip
def test_what_a_model_lacks_is_refused_in_one_line(arguments: list[str], message: str) -> None:
    shown = call("language", *SMALL, *arguments, expected=2)
    errors = [line for line in shown.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not [each for each in runs() if each.info.status == "RUNNING"]
