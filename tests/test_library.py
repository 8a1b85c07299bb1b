"""The library: its examples run, it returns what the commands print, and it raises where they exit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

import chemscale_bench as cs
from chemscale_bench.cli import main
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.runs.study_result import StudyResult
from chemscale_bench.runs.sweep_report import Tuned

ROOT = Path(__file__).parents[1]
LIGHT = """
import sys
import chemscale_bench as cs
assert {*cs.__all__, "__version__"} == set(dir(cs)), "what is offered is listed, and nothing else"
cs.__version__
print(sorted({"torch", "mlflow", "pandas", "pydantic", "click"} & set(sys.modules)))
"""


EXAMPLES = """
import doctest, sys
from importlib import import_module
names = ("", ".library.models", ".library.runs", ".library.training")
names += (".evaluation.dynamics", ".data.codec", ".data.vocabulary")
results = [doctest.testmod(import_module(f"chemscale_bench{name}")) for name in names]
sys.exit(any(result.failed or not result.attempted for result in results))
"""


def test_the_import_loads_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'fits'"):
        _ = cs.fits


def test_examples(tracking_uri: str, prepared: None, tmp_path: Path) -> None:
    (tmp_path / "leaderboard").symlink_to(ROOT / "leaderboard")
    # In a process of its own, where so few molecules are encoded without compiling the codec.
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def table() -> pd.DataFrame:
    cells = [(params, tokens) for params in (1e4, 1e5, 1e6) for tokens in (1e6, 1e7, 1e8)]
    runs = pd.DataFrame(cells, columns=["params", "tokens"])
    return runs.assign(loss=0.5 + 5 * runs["params"] ** -0.2 + 20 * runs["tokens"] ** -0.3, model="llama")


def frames() -> pd.DataFrame:
    return table().rename(columns={"tokens": "frames"}).assign(model="schnet")


def test_a_fit_of_a_file_prints_nothing_and_shows_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table().to_csv(tmp_path / "runs.csv", index=False)
    found = cs.fit(tmp_path / "runs.csv", model="llama", replicates=100)
    assert found.numbers()["joint/params_exponent"] == pytest.approx(0.2, abs=0.01)
    assert "Joint law" in found._repr_html_()
    assert repr(found) == found.text()  # of a console
    assert len(found.figure("residuals").data) > 0
    with pytest.raises(UserError, match=r"name must be one of loss_against_params, .*, got 'sankey'"):
        found.figure("sankey")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cs.fit(table(), level=2), "level must be less than 1, got 2"),
        (lambda: cs.fit(table(), model="lstm"), "the table must hold finished runs"),
        (lambda: cs.fit(table(), task="moses-lm"), "task=moses-lm selects by the column task"),
        (lambda: cs.fit("nowhere.csv"), "table must be a file that exists, got 'nowhere.csv'"),
        (lambda: cs.fit("nothing"), "experiment must be an experiment or a run id of this store, got 'nothing'"),
        (lambda: cs.read_runs("nothing"), "experiment must be an experiment or a run id of this store"),
        (lambda: cs.load("nothing"), "model must be a folder, or a run of this store"),
        (lambda: cs.train("gpt5"), "model must be one of chemgpt, llama, lstm"),
        (lambda: cs.train("llama", parms=1e4), "there is no parameter parms; did you mean params?"),
        (lambda: cs.train("llama", task="embedded-lm", seeds=2), "seeds must be 1 here, got 2"),
        (
            lambda: cs.train("llama", task="embedded-lm", register_as="a/b"),
            "register_as must be a name without / and :",
        ),
        (lambda: cs.generate("nothing"), "run must be an experiment, the id of a run"),
        (lambda: cs.generate("nothing", top_q=1), "there is no parameter top_q; did you mean top_"),
        (lambda: cs.probe("nothing", tasks="esol", target="logp"), "give tasks, or data and target"),
        (lambda: cs.simulate("nothing"), "run must be"),
        (lambda: cs.tune("nothing"), "task must be"),
        (lambda: cs.tune("embedded-lm", together=2), "together=2 needs trials with batches of one size"),
        (lambda: cs.replay("nowhere.csv"), "nowhere.csv"),
        (lambda: cs.replay(), "give one source of curves"),
        (lambda: cs.read_leaderboard("nothing"), "experiment must"),
        (lambda: cs.verify("entry.yaml"), "entry must be the path of an entry's .json"),
        (lambda: cs.plan(cs.fit(table(), replicates=100)), "plan needs one budget, got flops=0 and gpu_hours=0"),
        (lambda: cs.plan(cs.fit(table().head(2), replicates=100), flops=1e16), "a plan needs the forecast of a fit"),
        (lambda: cs.plan(cs.fit(frames(), replicates=100), flops=1e16), "got frames, whose FLOPs are not"),
        (lambda: cs.fit({"params": [1e4]}), "runs must be a table, a file's path or an experiment's name, got dict"),  # type: ignore[arg-type]
        (lambda: cs.plan(table(), flops=1e16), "a plan needs what fit or study has returned, got DataFrame"),  # type: ignore[arg-type]
        (lambda: cs.study("nothing"), "task must be"),
        (lambda: cs.study("embedded-lm"), "a study needs sizes or a budget, got neither"),
        (lambda: cs.study("embedded-lm", model="llama,lstm", params=1e4), "model must be one here, got 'llama,lstm'"),
        (
            lambda: cs.study("embedded-lm", model="llama", vocabulary="dataset,smiles", params=1e4),
            "vocabulary must be one here, got 'dataset,smiles'",
        ),
        (lambda: cs.study("embedded-lm", params=np.array([1e4, 1.5])), "must be a whole number such as 1e8, got '1.5'"),
        (lambda: cs.study("embedded-lm", params=1e4, dry_run=True), "dry_run must be left out here"),
    ],
)
def test_bad_input_raises(call: object, message: str, tracking_uri: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        call()  # type: ignore[operator]
    assert "\n" not in str(error.value)


def test_a_model_is_loaded_to_a_device_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = next(Path("leaderboard/entries/embedded-ff@ethanol/schnet").rglob("model.safetensors")).parent
    assert cs.load(folder, "auto").device == "cpu"
    with pytest.raises(UserError, match="device must be auto or cpu on this machine, got 'cuda'"):
        cs.load(folder, "cuda")


def test_a_run_is_trained_silently_read_and_loaded(
    tracking_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    size = {"task": "embedded-ff", "train_size": 20, "steps": 5, "params": 10_000, "device": "cpu"}
    refused = mlflow.exceptions.MlflowException("no permission")
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "create_model_version", Mock(side_effect=refused))
        with pytest.raises(UserError, match=r"no permission\); nothing is lost: .* by resume=") as error:
            cs.train("schnet", experiment="mine", register_as="ethanol", **size)
    run = cs.train("schnet", experiment="mine", resume=str(error.value).rpartition("=")[2])
    assert capsys.readouterr() == ("", "")
    runs = cs.read_runs("mine", run.metric)
    assert runs.loc[0, ["run_id", "loss"]].to_list() == [run.run_id, *run.reached.values()]
    assert runs.attrs["left_out"] == {}
    folder = mlflow.artifacts.download_artifacts(run_id=run.run_id, artifact_path="model", dst_path=str(tmp_path))
    from ase.build import molecule

    ethanol = molecule("CH3CH2OH")
    energies = []
    for source in (run.run_id, f"runs:/{run.run_id}/model", folder):
        ethanol.calc = cs.load(source).calculator()
        energies.append(ethanol.get_potential_energy())
    assert np.ptp(energies) == 0

    assert mlflow.MlflowClient().get_model_version("ethanol", "1").run_id == run.run_id
    model = mlflow.pyfunc.load_model("models:/ethanol/1")
    frame = pd.DataFrame({"numbers": [ethanol.numbers.tolist()], "positions": [ethanol.positions.tolist()]})
    predicted = model.predict(frame)
    assert predicted["energy_ev"].to_list() == energies[:1]
    assert np.array(predicted["forces_ev_per_angstrom"][0]) == pytest.approx(ethanol.get_forces(), abs=1e-6)
    assert len(model.predict(model.input_example)) == 1
    (shown,) = json.loads(mlflow.get_run(run.run_id).data.tags["mlflow.log-model.history"])
    assert shown["artifact_path"] == "model"
    assert "python_function" in shown["flavors"]
    assert "pickle" not in (Path(folder) / "MLmodel").read_text()


RINGS = "C1CC1 C1CCC1 C1CCCC1 C1CCCCC1 C1CCOC1 C1CCNC1 C1CCOCC1 C1CCNCC1 c1ccccc1 c1ccncc1"


def alcohols() -> pd.DataFrame:
    """And rings, so that there are scaffolds; in a file of the folder, too."""
    smiles = [f"{'C' * left}C(O){'C' * right}" for left in range(1, 13) for right in range(1, 13)]
    smiles += [f"{'C' * length}{ring}" for ring in RINGS.split() for length in range(1, 9)]
    found = pd.DataFrame({"smiles": smiles, "length": [float(len(text)) for text in smiles]})
    found.to_csv("alcohols.csv", index=False)
    return found


SMALL = {"data": "alcohols.csv", "params": 1e4, "tokens": 3000, "device": "cpu"}


def state() -> tuple[object, ...]:
    """What is the user's, and must be as it was."""
    import optuna
    import torch

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    return optuna.logging.get_verbosity(), torch.get_num_threads(), handlers


def test_a_search_is_made_silently_and_read_again(
    tracking_uri: str,
    prepared: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    alcohols()

    def tune(**more: object) -> Tuned:
        return cs.tune("embedded-lm", model="llama", trials=3, batch_tokens=256, **SMALL, **more)

    before = state()
    found = tune()
    assert not capsys.readouterr().out
    assert state() == before
    assert len(found.table) == 3
    assert found.numbers()["best/value"] == found.table["value"].min() == found.study.best_value
    assert found.numbers().items() <= mlflow.get_run(found.run_id).data.metrics.items()
    assert "best: trial" in found._repr_html_()
    assert len(found.figure().data) >= 3  # the curves of all
    assert set(found.figures()) == {"curves", "predicted_against_final", "compute_saved"}
    again = tune(prints=True)
    assert again.table.equals(found.table)
    assert again.text() in capsys.readouterr().out


def test_a_trained_model_is_put_to_use_silently_and_from_any_thread(
    tracking_uri: str,
    prepared: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    alcohols()
    run = cs.train("llama", task="embedded-lm", experiment="mine", **SMALL | {"tokens": 30_000})
    before = state()
    with ThreadPoolExecutor(1) as thread:
        drawn = thread.submit(cs.generate, run.run_id, molecules=100, device="cpu").result()
    assert len(drawn.table) == 100 * drawn.numbers()["generation/valid"]
    assert drawn.figure().size[0] > 1000  # pixels
    many = cs.generate("mine", molecules=100, device="cpu")
    assert many.table["run_id"].to_list() == [run.run_id]
    probed = cs.probe(run.run_id, data="alcohols.csv", target="length", splits=2, device="cpu")
    assert {"trained", "untrained", "baseline"} == set(probed.table["kind"])
    for found in (drawn, many, probed):
        assert found.numbers().items() <= mlflow.get_run(found.run_id).data.metrics.items()
        assert found.text().splitlines()[0] in found._repr_html_()
        assert repr(found) == found.text()
        with pytest.raises(UserError, match=r"name must be one of .*, got 'sankey'"):
            found.figure("sankey")
    assert not capsys.readouterr().out
    assert state() == before
    with pytest.raises(UserError, match="budget must be last for one run here"):
        cs.generate(run.run_id, budget="all")


def test_a_plan_is_that_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table().to_csv(tmp_path / "runs.csv", index=False)
    found = cs.plan(cs.fit(tmp_path / "runs.csv", replicates=100), gpu_hours=1, device="h100")
    assert capsys.readouterr().out == ""
    budget = ["--gpu_hours", "1", "--device", "h100"]
    main(["plan", "--table", str(tmp_path / "runs.csv"), "--replicates", "100", *budget])
    assert capsys.readouterr().out.startswith(found.text())
    assert found.table["loss"].to_list()[0] == found.numbers()["plan/loss"] == found.table["loss"].min()
    assert np.ptp(found.table["params"] * found.table["tokens"] / found.numbers()["plan/flops"]) < 1e-12
    _, curve, *points = found.figure().data
    assert [point.name for point in points] == found.table["split"].to_list()
    assert np.interp(points[0].x[0], curve.x, curve.y) == pytest.approx(points[0].y[0], rel=1e-3)


def test_the_board_has_entries_papers_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    found = cs.read_leaderboard(source="")  # papers alone
    assert set(found.table["level"]) == {"published"}
    assert found.numbers()["leaderboard/studies"] == 0
    shown = found.table[found.table["task"] == "rmd17-ff@ethanol"]
    assert sum(len(study.x) for study in found.figure("rmd17-ff@ethanol").data) == len(shown) > 3
    assert capsys.readouterr().out == ""


def test_versions_of_a_task_have_figures_of_their_own(tmp_path: Path) -> None:
    digest = json.loads(plant(tmp_path / "entries", "Ada").read_text())["task_digest"]
    other = plant(tmp_path / "entries", "Emmy")
    other.write_text(other.read_text().replace(digest, "f" * len(digest)))
    found = cs.read_leaderboard(source=str(tmp_path / "entries"))
    for name in (digest, "f" * len(digest)):
        (drawn,) = [study for study in found.figure(f"embedded-lm {name[:6]}").data if "," in study.name]
        assert len(drawn.x) == 3


def test_a_study_is_trained_silently_and_read_again(
    tracking_uri: str,
    prepared: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    alcohols()

    def study(**more: object) -> StudyResult:
        grid = {"params": [1e4, 3e4, 1e5], "tokens": 20_000, "data": "alcohols.csv", "device": "cpu"}
        return cs.study("embedded-lm", model="llama", **grid, **more)

    before = state()
    found = study()
    out, err = capsys.readouterr()
    assert not out
    assert all(line.startswith(("preparing", "compiling")) for line in err.replace("\r", "\n").split("\n") if line)
    assert state() == before

    assert found.trainings == len(found.table) == 3
    assert found.table["params"].is_monotonic_increasing
    logged = mlflow.get_run(found.run_id).data.metrics
    assert found.numbers().items() <= logged.items()
    assert found.law is None
    assert "JointLaw needs at least 3 different tokens, got 1" in found.refusals["joint law"]
    assert found.refusals["joint law"] in found.text()
    assert "Power law along params" in found._repr_html_()
    assert len(found.figure().data) == len(found.figures()["loss_over_params_and_tokens"].data) > 0
    with pytest.raises(UserError, match=r"name must be one of .*, got 'sankey'"):
        found.figure("sankey")

    assert cs.fit(found.table).numbers().items() <= found.numbers().items()
    assert found.foretold is not None  # of the largest, before it began
    assert found.foretold.table["params"].to_list() == [found.table["params"].max()]
    assert sorted(cs.read_runs(found.run_id)["run_id"]) == sorted(found.table["run_id"])
    assert study().table.equals(found.table)  # read, not trained again
    assert capsys.readouterr() == ("", "")
    shown = study(prints=True)
    assert shown.run_id == found.run_id
    assert shown.text() in capsys.readouterr().out
