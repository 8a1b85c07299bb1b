"""The round trip of a language model and of a force field: train, submit, verify, alter the checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from forks import Fork, finish
from safetensors.torch import load_file, save_file

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import files, reproduce
from chemscale_bench.leaderboard.entry import RESULTS, Family
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.settings.submit import SubmitSettings
from chemscale_bench.settings.verify import VerifySettings
from chemscale_bench.tracking.reader import LoggedRun
from chemscale_bench.verbs.forcefield import forcefield
from chemscale_bench.verbs.submit import ask_before_publishing, own_data, submit
from chemscale_bench.verbs.verify import verify

ROOT = Path(__file__).parents[2]
LANGUAGE = ["chemgpt", "--task", "embedded-lm", "--params", "3e4", "--tokens", "3e4"]
FORCES = ["forcefield", "--task", "embedded-ff", "--molecule", "ethanol", "--model", "schnet", "--params", "4845"]
FORCES += ["--train_size", "50", "--steps", "40"]
"""Of an odd width, 17, which sizes of SchNet and PaiNN are no smooth function of."""
FAMILIES: dict[str, Family] = {"language": "language_model", "forces": "force_field"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, prepared_home: Path) -> Path:
    """A folder with a tracking store of one tiny language model and one tiny force field, and the prepared data."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_store, folder / "mlflow.db")
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "CHEMSCALE_HOME": str(prepared_home)}
    for arguments, experiment in ((LANGUAGE, "language"), (FORCES, "forces")):
        finish(Fork(*arguments, "--device", "cpu", "--experiment", experiment, **store))
    return folder


@pytest.fixture
def store(
    trained: Path, prepared_home: Path, monkeypatch: pytest.MonkeyPatch, tracking_uri: str, chemscale_home: Path
) -> None:
    import mlflow

    monkeypatch.setenv("CHEMSCALE_HOME", str(prepared_home))
    mlflow.set_tracking_uri(f"sqlite:///{trained / 'mlflow.db'}")


def submitted(experiment: str, out: Path) -> Path:
    """The entry of an experiment, written once for all tests."""
    folder = out / f"of {experiment}"
    if not folder.exists():
        submit(SubmitSettings(run=experiment, submitter="Ada Lovelace", out=str(folder)))
    return next(folder.glob("*/*/*.json"))


@pytest.mark.parametrize("experiment", ["language", "forces"])
def test_round_trip(experiment: str, kept: Path, store: None, capsys: pytest.CaptureFixture[str]) -> None:
    path = submitted(experiment, kept)
    printed = capsys.readouterr().out
    assert "is consistent; runs: 1, sizes: 1, none left out" in printed
    assert f"git add '{path.with_suffix('')}'*" in printed
    assert sorted(item.name for item in path.parents[2].iterdir()) == [path.parents[1].name]
    verify(VerifySettings(entry=str(path), level="reproduced"))
    assert "is reproduced" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "more", "says"),
    [
        ("ours/secret.smi", {}, "secret.smi, its digest, all settings and loss curves, and weights, from which"),
        ("ours/secret.smi", {"checkpoint": "none"}, "all settings and loss curves; give publish=True"),
        ("ours/secret.smi", {"publish": True}, ""),
        ("embedded", {}, ""),
        ("auto", {}, ""),
    ],
)
def test_own_data_are_published_only_if_that_was_said(data: str, more: dict[str, Any], says: str) -> None:
    run = LoggedRun("0" * 32, "FINISHED", {"data": data})
    if not says:
        return ask_before_publishing(SubmitSettings(**more), run)
    with pytest.raises(UserError, match="only if you say so") as refusal:
        ask_before_publishing(SubmitSettings(**more), run)
    assert says in str(refusal.value)
    assert "ours/" not in str(refusal.value)


def test_data_that_a_task_of_ones_own_names_are_own_data_too(tmp_path: Path) -> None:
    task = (ROOT / "benchmarks" / "embedded-lm.yaml").read_text()
    task = task.replace("data: embedded", "data: /private/mine.smi").replace("name: embedded-lm", "name: mine")
    (tmp_path / "mine.yaml").write_text(task)

    def own(**params: str) -> str:
        return own_data(LoggedRun("0" * 32, "FINISHED", params))

    assert own(task="embedded-lm", data="auto") == own(task="rmd17-ff", data="rmd17") == ""
    assert own(task=str(tmp_path / "mine.yaml"), data="auto") == "/private/mine.smi"
    gone = str(tmp_path / "gone.yaml")
    assert own(task=gone, data="auto") == gone


def altered(path: Path, tmp_path: Path, by: float, sign: bool) -> Path:
    """A copy of the entry, one weight of whose checkpoint was changed, and perhaps the digest with it."""
    root = tmp_path / "altered"
    shutil.copytree(path.parents[2], root)
    copy = next(root.glob("*/*/*.json"))
    weights = next(copy.with_suffix("").rglob("*.safetensors"))
    state = load_file(weights)
    # Of a table of elements, most rows bear on nothing.
    name = max((key for key in state if "embedding" not in key), key=lambda key: state[key].numel())
    state[name].view(-1)[0] += by
    save_file(state, weights, metadata={"format": "pt"})
    if sign:
        resign(copy, "weights_sha256", weights)
    return copy


def resign(path: Path, key: str, file: Path) -> None:
    entry = json.loads(path.read_text())
    entry["runs"][0]["checkpoint"][key] = hashlib.sha256(file.read_bytes()).hexdigest()
    path.write_text(json.dumps(entry))


@pytest.mark.parametrize("experiment", ["language", "forces"])
def test_one_altered_weight_is_caught(experiment: str, kept: Path, store: None, tmp_path: Path) -> None:
    path = submitted(experiment, kept)
    verdict = judge(altered(path, tmp_path, 1e-6, sign=False), Level.REPRODUCED)
    assert verdict.level == Level.CONSISTENT
    assert "model.safetensors of run" in verdict.why_not_next
    shutil.rmtree(tmp_path / "altered")
    verdict = judge(altered(path, tmp_path, 1e4, sign=True), Level.REPRODUCED)
    assert verdict.level == Level.CONSISTENT
    assert "computed again it is" in verdict.why_not_next


@pytest.mark.parametrize(
    ("experiment", "metric"), [(what, name) for what, family in FAMILIES.items() for name in RESULTS[family]]
)
def test_no_metric_may_be_another(experiment: str, metric: str, kept: Path, store: None) -> None:
    loaded = files.load(submitted(experiment, kept))
    result = loaded.entry.runs[0].results[-1]
    result.metrics[metric] *= 0.99
    with pytest.raises(reproduce.NotReproduced, match=f"{metric} of run .* must be .* computed again it is"):
        reproduce.check(loaded)


def add_key(config: dict[str, object]) -> None:
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}


def widen(config: dict[str, object]) -> None:
    config["hidden_size"] = 10**6


def widen_force_field(config: dict[str, object]) -> None:
    config["config"]["width"] = 10**6  # type: ignore[index]


@pytest.mark.parametrize(
    ("experiment", "change", "says"),
    [
        ("language", add_key, "auto_map"),
        ("language", widen, "must be of the network"),
        ("forces", add_key, "auto_map"),
        ("forces", widen_force_field, "config of config.json must be"),
        ("forces", lambda config: config.update(reference_ev="0"), "reference_ev must be a number"),
        ("forces", lambda config: config.update(atomic_reference_ev={"1": 0.0}), "must have a number for each of"),
        ("forces", lambda config: config.update(model="painn"), "model of config.json must be"),
    ],
)
def test_a_config_that_asks_for_more_builds_nothing(
    experiment: str, change: Callable[[dict[str, object]], None], says: str, kept: Path, store: None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copytree(submitted(experiment, kept).parents[2], tmp_path / "entries")
    path = next((tmp_path / "entries").glob("*/*/*.json"))
    file = next(path.with_suffix("").rglob("config.json"))
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))
    resign(path, "config_sha256", file)
    monkeypatch.setattr("chemscale_bench.models.chemgpt.load_pretrained", None)
    monkeypatch.setattr("chemscale_bench.models.force_fields.load", None)
    verdict = judge(path, Level.REPRODUCED)
    assert verdict.level == Level.CONSISTENT
    assert says in verdict.why_not_next


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("depth", depth, "depth must be auto or 1 to 100") for depth in ("0", "101", "1e2", "\u0661", "")]
    + [("recipe", recipe, "recipe must be quick or paper") for recipe in ("", "Paper")],
)
def test_a_network_that_nobody_may_ask_for_is_not_built(
    name: str, value: str, says: str, kept: Path, store: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(submitted("forces", kept).parents[2], tmp_path / "entries")
    path = next((tmp_path / "entries").glob("*/*/*.json"))
    record = json.loads(path.read_text())
    record["runs"][0]["settings"][name] = value
    path.write_text(json.dumps(record))
    monkeypatch.setattr("chemscale_bench.models.force_fields.build", None)
    verdict = judge(path, Level.REPRODUCED)
    assert verdict.level == Level.CONSISTENT
    assert says in verdict.why_not_next


def test_a_pickle_under_the_name_of_weights(kept: Path, store: None, tmp_path: Path) -> None:
    shutil.copytree(submitted("language", kept).parents[2], tmp_path / "entries")
    path = next((tmp_path / "entries").glob("*/*/*.json"))
    file = next(path.with_suffix("").rglob("*.safetensors"))
    pickle = b"\x80\x04cos\nsystem\n(S'touch /tmp/hit'\ntR."
    file.write_bytes(pickle.ljust(file.stat().st_size, b"."))
    resign(path, "weights_sha256", file)
    verdict = judge(path, Level.REPRODUCED)
    assert verdict.level == Level.CONSISTENT
    assert "checkpoint" in verdict.why_not_next


def test_checkpoints_elsewhere_are_not_fetched(kept: Path, store: None, tmp_path: Path) -> None:
    out = tmp_path / "entries"
    settings = SubmitSettings(
        run="language", submitter="Ada", out=str(out), checkpoint_url="https://example.org/models"
    )
    submit(settings)
    path = next(out.glob("*/*/*.json"))
    assert not path.with_suffix("").exists()
    verdict = judge(path, Level.REPRODUCED)
    assert "nothing is fetched for you" in verdict.why_not_next
    assert "https://example.org/models/" in verdict.why_not_next
    here = submitted("language", kept).with_suffix("")
    assert judge(path, Level.REPRODUCED, reproduce.Copies(here)).level == Level.REPRODUCED


def test_other_data_than_the_pinned_ones_reproduce_nothing(
    kept: Path, store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = files.load(submitted("language", kept))
    with pytest.raises(reproduce.NotReproduced, match="the data must have the digests"):
        reproduce.same_data(loaded.entry, "0" * 64, loaded.entry.split_digest)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"run": ""}, "run must be an experiment or a run id, got nothing"),
        ({"run": "nowhere"}, "got 'nowhere'"),
        ({"submitter": "..."}, "submitter must be a name"),
        ({"submitter": "<script>x</script>"}, "submitter"),
        ({"link": "javascript:x"}, "link"),
        ({"task": "moses-lm"}, "has none with task=moses-lm; train one first"),
        ({"out": "/dev/null/x"}, "out must be a writable folder"),
    ],
)
def test_refuses(values: dict[str, str], says: str, store: None, tmp_path: Path) -> None:
    settings = SubmitSettings(**({"run": "language", "submitter": "Ada", "out": str(tmp_path / "out")} | values))
    with pytest.raises(UserError, match=says):
        submit(settings)
    assert not list((tmp_path / "out").rglob("*"))


def test_an_entry_is_written_once_and_unfinished_runs_never(kept: Path, store: None, tmp_path: Path) -> None:
    import mlflow

    submitted("language", kept)
    with pytest.raises(UserError, match="an entry may be written once"):
        submit(SubmitSettings(run="language", submitter="Ada Lovelace", out=str(kept / "of language")))
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("unfinished")
    run = client.create_run(experiment).info.run_id
    client.log_param(run, "task_name", "embedded-lm")
    for name in ("unfinished", run):
        with pytest.raises(UserError, match="runs must have ended"):
            submit(SubmitSettings(run=name, submitter="Ada", out=str(tmp_path / "out")))
    client.set_terminated(run, "FAILED")
    with pytest.raises(UserError, match="a run must be FINISHED"):
        submit(SubmitSettings(run=run, submitter="Ada", out=str(tmp_path / "out")))


@pytest.mark.parametrize("where", ["chemscale", "study"])
def test_as_readme_types_it(where: str, trained: Path, prepared_home: Path, tmp_path: Path) -> None:
    """`mlflow run` makes its own run, RUNNING until it ends, in the very experiment that is submitted."""
    import mlflow

    shutil.copy(trained / "mlflow.db", tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("language")
    assert experiment is not None
    client.rename_experiment(experiment.experiment_id, where)
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "CHEMSCALE_HOME": str(prepared_home)}
    command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "submit", "--experiment-name", where]
    command += ["-P", f"run={where}", "-P", "submitter=Ada", "-P", f"out={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((tmp_path / "out").glob("*/*/*.json"))) == 1


@pytest.mark.parametrize(("recipe", "layers"), [("quick", 3), ("paper", 6)])
def test_own_copies_of_official_frames(
    recipe: Literal["quick", "paper"], layers: int, shared_data: Path, tracking_uri: str, tmp_path: Path
) -> None:
    """They make an entry of the official task, which names no folder, and verify it without the archive."""
    frames, test = (str(shared_data / "rmd17" / f"rmd17_ethanol_{part}_02.npz") for part in ("train", "test"))
    chosen = ForceFieldSettings(
        model="schnet", params=5365, train_size=50, steps=20, device="cpu", experiment="copies",
        recipe=recipe, data=frames, test_data=test, energy_unit="kcal/mol", length_unit="Angstrom",
    )  # fmt: skip
    with pytest.raises(SystemExit, match="0"):
        forcefield(chosen)
    path = submitted("copies", tmp_path)
    entry = files.load(path).entry
    assert (entry.task, entry.data, entry.runs[0].settings["split"]) == ("rmd17-ff@ethanol", "rmd17", "2")
    assert json.loads(next(path.with_suffix("").rglob("config.json")).read_text())["config"]["layers"] == layers
    assert str(shared_data) not in path.read_text()
    verify(VerifySettings(entry=str(path), level="reproduced", data=frames, test_data=test))
