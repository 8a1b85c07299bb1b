"""What a wheel gives to somebody who has no checkout: every verb, in an empty folder.

The fresh environment has the wheel of its own and the dependencies of the one that runs the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = (
    "MLproject",
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
    "chemscale_bench",
    "benchmarks",
    "leaderboard",
)
VERBS = """
import glob, sys
from chemscale_bench.cli import main

for line in sys.stdin.read().splitlines():
    print(f"> {line}")
    try:
        main(line.replace("ENTRY", "".join(glob.glob("leaderboard/entries/*/*/*.json"))).split())
    except SystemExit as end:
        print(f"exit code {end.code}")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one to be published, where a release names it; else built from a copy with a task in it that is gone."""
    if "CHEMSCALE_WHEEL" in os.environ:
        return Path(os.environ["CHEMSCALE_WHEEL"]).absolute()
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    old = folder / "build" / "lib" / "chemscale_bench" / "carried" / "benchmarks"
    old.mkdir(parents=True)
    (old / "gone-lm.yaml").touch()
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir=dist", "."]
    subprocess.run([sys.executable, "-m", "pip", *build], cwd=folder, check=True)
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)],
        check=True,
    )
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def start(installed: Path, folder: Path, *command: str, given: str = "") -> str:
    """Standard output of a command of the fresh environment in an empty folder, with nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
    environment |= {"CHEMSCALE_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "1"}
    program = str(installed / command[0])
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, env=environment, input=given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_what_the_wheel_carries(wheel: Path) -> None:
    prefix = "chemscale_bench/carried/"
    carried = {name.removeprefix(prefix) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(prefix)}
    declared = [*ROOT.glob("benchmarks/*.yaml"), *ROOT.glob("leaderboard/published/*.json")]
    declared += [*ROOT.glob("leaderboard/entries/*/*/*.json"), ROOT / "leaderboard" / "entry.schema.json"]
    declared.append(ROOT / "MLproject")
    assert {str(path.relative_to(ROOT)) for path in declared} <= carried
    assert "benchmarks/gone-lm.yaml" not in carried
    assert not any(name.endswith((".py", ".safetensors")) for name in carried)
    assert wheel.stat().st_size < 3e6


def test_the_console_script(installed: Path, tmp_path: Path) -> None:
    assert start(installed, tmp_path, "chemscale", "--version") == "chemscale 0.1.0\n"
    where = "import chemscale_bench as cs; print(cs.__file__, cs.__version__)"
    file, version = start(installed, tmp_path, "python", "-c", where).split()
    assert Path(file).is_relative_to(installed.parent)
    assert version == "0.1.0"


def test_verbs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    alkanes = "".join(f"{'C' * (n % 17 + 1)}O{'N' * (n // 17 + 1)}\n" for n in range(400))
    (tmp_path / "molecules.smi").write_text(alkanes)
    rows = [f"{n},{d},{0.5 + 5 * n**-0.2 + 20 * d**-0.3}" for n in (1e4, 3e4, 1e5, 3e5) for d in (1e5, 3e5, 1e6)]
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n" + "\n".join(rows))
    entries = len(list(ROOT.glob("leaderboard/entries/*/*/*.json")))
    small = "--params 1e4 --device cpu"
    lines = {
        "tasks": "embedded-lm: ",
        f"chemgpt --task embedded-lm --data molecules.smi --tokens 3e3 {small}": "val nats/token",
        f"forcefield --task embedded-ff --model schnet --train_size 20 --steps 5 {small} --experiment ff": "force MAE",
        "fit --table runs.csv --replicates 100 --log False": "Joint law",
        "leaderboard --experiment chemscale --out page.html --log False": f"{entries + 1} studies, 0 refused",
        "submit --run ff --submitter Ada": "in a clone of the project",
        "verify --entry ENTRY --level reproduced": "is reproduced",
        "speed": "exit code 2",
    }
    said = start(installed, tmp_path, "python", "-c", VERBS, given="\n".join(lines))
    told = dict(part.split("\n", 1) for part in said.removeprefix("> ").split("\n> "))
    assert list(told) == list(lines)
    for line, expected in lines.items():
        assert expected in told[line], told[line]
        assert "exit code" not in told[line] or "exit code 0" in told[line] or line == "speed"
