"""Models of installed packages: as good as ours, and found by metadata alone; what does not work is refused."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from ase import Atoms
from graphs import ELEMENTS

import chemscale_bench as cs
from chemscale_bench import cli
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.collect import read_entries, read_experiment
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.models import registry
from chemscale_bench.models.force_fields import config_for, size_of, size_polynomial
from chemscale_bench.models.language_models import family_of, options_of
from chemscale_bench.models.registry import FORCE_FIELDS, LANGUAGE_MODELS
from chemscale_bench.settings.language import LanguageSettings
from chemscale_bench.settings.submit import SubmitSettings
from chemscale_bench.verbs.submit import submit

PAIRS = (Path(__file__).parent / "toy_pairs.py").read_text()
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package of one module that declares models, as pip would."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    modules = []

    def of(model: str, code: str, package: str = "their-models", kind: str = "force_fields") -> None:
        module = package.replace("-", "_")
        (site / f"{module}.py").write_text(code)
        about = site / f"{module}-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text(f"[chemscale_bench.{kind}]\n{model} = {module}\n")
        modules.append(module)
        forget()

    yield of
    for module in modules:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    forget()


def forget() -> None:
    """What a process reads once."""
    registry.installed.cache_clear()
    registry.load.cache_clear()
    size_of.cache_clear()
    size_polynomial.cache_clear()


def test_the_whole_way(install: Install, tracking_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install("pairs", PAIRS)
    for words in (["forcefield", "--help"], ["tune", "--help"], ["tasks"]):
        cli.tool().main(words, standalone_mode=False)
        assert "pairs" in capsys.readouterr().out
    assert "their_models" not in sys.modules, "listed without an import"

    run = cs.train(
        "pairs", task="embedded-ff", train_size=50, params=2000, steps=100, device="cpu", experiment="theirs"
    )
    logged = mlflow.get_run(run.run_id).data
    assert logged.tags["version.their-models"] == "1.2"
    assert logged.metrics["check/force_is_gradient"] < 0.1
    folder = mlflow.artifacts.download_artifacts(run_id=run.run_id, artifact_path="model", dst_path=str(tmp_path))
    frames = mlflow.pyfunc.load_model(folder).input_example
    ethanol = Atoms(numbers=frames["numbers"][0], positions=frames["positions"][0])
    ethanol.calc = cs.load(run.run_id).calculator()  # type: ignore[union-attr]
    assert mlflow.pyfunc.load_model(folder).predict(frames)["energy_ev"][0] == ethanol.get_potential_energy()

    submit(SubmitSettings(run="theirs", submitter="Ada", out=str(tmp_path / "entries")))
    (path,) = (tmp_path / "entries").rglob("ada-*.json")
    assert judge(path, Level.REPRODUCED).level == Level.REPRODUCED
    (next((tmp_path / "site").glob("*.dist-info")) / "entry_points.txt").unlink()
    forget()
    verdict = judge(path, Level.REPRODUCED)
    assert verdict.level == Level.CONSISTENT
    assert "install the package that adds it" in verdict.why_not_next


DIRECT = (Path(__file__).parent / "toy_direct.py").read_text()


def test_forces_may_be_predicted_beside_the_energy_and_are_labelled(
    install: Install, tracking_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("direct", DIRECT)
    words = "forcefield --model direct --task embedded-ff --train_size 50 --params 2000 --steps 200 --device cpu"
    with contextlib.suppress(SystemExit):
        cli.main([*words.split(), "--experiment", "theirs"])
    assert "forces are predicted beside the energy, which motion does not conserve" in capsys.readouterr().err
    (run,) = mlflow.search_runs(experiment_names=["theirs"], output_format="list")
    logged = run.data  # type: ignore[union-attr]
    found, nothing = (logged.metrics[f"{name}_mae_mev_per_angstrom"] for name in ("test/force", "baseline/zero_force"))
    assert found < 0.8 * nothing
    assert logged.metrics["check/rotation"] < 1e-3
    assert logged.metrics["check/force_is_gradient"] > 10, "they belong to no energy"
    assert logged.params["forces"] == "predicted"

    submit(SubmitSettings(run="theirs", submitter="Ada", out=str(tmp_path / "entries")))
    (path,) = (tmp_path / "entries").rglob("ada-*.json")
    assert judge(path, Level.REPRODUCED).level == Level.REPRODUCED
    other = json.loads(path.read_text())
    del other["runs"][0]["settings"]["forces"]
    path.write_text(json.dumps(other))
    assert "forces must be predicted if those of the model are" in judge(path, Level.REPRODUCED).why_not_next
    other["runs"][0]["settings"]["forces"] = "predicted"
    path.write_text(json.dumps(other))
    studies = [*read_entries(tmp_path / "entries", Level.VALID)[0], *read_experiment("theirs")[0]]
    assert {study.model for study in studies} == {"direct (forces predicted)"}


LACKING = "PEAK_RATE, STACKED, layers_for = (1e-2, 32), False, int"
BAD = [
    ("painn", PAIRS, "painn is declared by chemscale-bench and the package their-models; uninstall the package"),
    ("llama", PAIRS, "llama is declared by chemscale-bench and the package their-models; uninstall the package"),
    ("Pairs", PAIRS, "must be of a-z, 0-9 and -, the package their-models declares 'Pairs'; rename it there"),
    (
        "pairs",
        "import nowhere",
        r"of the package their-models can't \(No module named 'nowhere'\); install",
    ),
    ("pairs", "1 / 0", r"their_models of the package their-models can't \(division by zero\); install what it needs"),
    ("pairs", PAIRS.replace("@dataclass(frozen=True)", ""), "Config must be a dataclass, their_models of the package"),
    ("pairs", PAIRS.replace("(1e-2, 32)", "1e-2"), "must be a learning rate and its width or None, their_models of"),
    ("pairs", LACKING, "must declare Config.layers, Config.width, Config.cutoff, Network, WIDTH_STEP, their_models of"),
]


@pytest.mark.parametrize(("model", "code", "says"), BAD)
def test_what_does_not_work_is_refused_and_harms_no_other(install: Install, model: str, code: str, says: str) -> None:
    install(model, code)
    kind = LANGUAGE_MODELS if model == "llama" else FORCE_FIELDS
    with pytest.raises(UserError, match=says) as refused:
        kind.family(model)
    assert "\n" not in str(refused.value)
    assert kind.names.count(model) == 1
    assert ("llama" in FORCE_FIELDS) is False
    assert FORCE_FIELDS.family("schnet").STACKED
    with pytest.raises(UserError, match="choose schnet or painn"):
        FORCE_FIELDS.check_stacked("seeds", 2, "mace")


ENERGIES = "return energy_E.new_zeros(len(graph.numbers_A)).index_add(0, graph.receivers_E, energy_E)"
OUTPUTS = [
    (PAIRS.replace(ENERGIES, f"{ENERGIES}[:, None]"), r"energies \(90,\), got \(90, 1\); change it there$"),
    (PAIRS.replace(ENERGIES, "return energy_E.sum()"), r"atomic_energies of .* must give energies \(90,\), got \(\);"),
    (PAIRS.replace(ENERGIES, f"{ENERGIES} / 0"), "must give finite numbers before any training"),
    (f"{PAIRS}\n    def forward(self, graph):\n        return super().forward(graph).sum()", r"\(10,\), got \(\);"),
    (DIRECT.replace("found_A4[:, 0]), found", "found_A4[:, :1]), found"), r"forces \(90, 3\), got \(10, 1\) and"),
    (DIRECT.replace("), found_A4[:, 1:]", ")"), r"energies \(10,\) and forces \(90, 3\), got \(10,\); change"),
    (DIRECT.replace("DIRECT = True", ""), r"got \(10,\) and \(90, 3\); change it there, or declare DIRECT = True"),
]


@pytest.mark.parametrize(("code", "says"), OUTPUTS)
def test_outputs_of_other_shapes_are_refused(install: Install, tracking_uri: str, code: str, says: str) -> None:
    install("pairs", code)
    with pytest.raises(UserError, match=says):
        cs.train("pairs", task="embedded-ff", train_size=50, params=2000, steps=20, device="cpu")


def test_predicted_forces_are_not_stacked(install: Install) -> None:
    install(
        "direct",
        DIRECT.replace("from toy_pairs import PEAK_RATE, STACKED,", "STACKED = True\nfrom toy_pairs import PEAK_RATE,"),
    )
    with pytest.raises(UserError, match=r"STACKED must be False where Network\.DIRECT is True, their_models of"):
        FORCE_FIELDS.family("direct")


def test_two_packages_may_not_have_one_name(install: Install) -> None:
    install("pairs", PAIRS)
    install("pairs", PAIRS, package="other-models")
    with pytest.raises(UserError, match="is declared by the package other-models and the package their-models"):
        FORCE_FIELDS.check("pairs")


def test_a_language_model_of_a_package(install: Install, tmp_path: Path) -> None:
    code = (Path(__file__).parent / "toy_lstm.py").read_text() + "\nuntrained = build\n"
    install("toy", f"{code}\nMODEL_TYPE = 'toy'\n", kind="language_models")
    (tmp_path / "config.json").write_text('{"model_type": "toy"}')
    assert family_of(tmp_path, "run") == "toy"
    assert "their_models" not in sys.modules
    settings = LanguageSettings(model="toy", ladder="chemgpt")
    with pytest.raises(UserError, match="ladder must be left out with model=toy"):
        options_of("toy", settings)
    LANGUAGE_MODELS.family("toy").OPTIONS = ("parametrization", "dropout")
    with pytest.raises(UserError, match="OPTIONS of a model must be settings of its verb, toy has dropout besides"):
        options_of("toy", settings)
    install("renamed", f"{code}\nMODEL_TYPE = 'toy'\n", package="other-models", kind="language_models")
    with pytest.raises(UserError, match="MODEL_TYPE of a package's model must be its name, renamed, got 'toy'"):
        LANGUAGE_MODELS.family("renamed")


@pytest.mark.parametrize(("asked", "width"), [(1985, 16), (3745, 32), (3900, 32), (100, 0), (2700, 0)])
def test_sizes_that_are_no_quadratic_are_found_or_refused(install: Install, asked: int, width: int) -> None:
    install("pairs", PAIRS.replace("width = config.width", "width = 16 * (config.width // 16 + 1)"))
    if width:
        config = config_for("pairs", asked, ELEMENTS)
        assert config.width // 16 == width // 16
        assert size_of("pairs", width, ELEMENTS, layers=1) == pytest.approx(asked, rel=0.05)
    else:
        with pytest.raises(UserError, match="params must be within 5 % of a size that pairs has"):
            config_for("pairs", asked, ELEMENTS)
