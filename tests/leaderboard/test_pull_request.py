"""Pull requests as CI sees them: real git commits, read and never checked out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import pull_request
from chemscale_bench.leaderboard.planted import plant

ROOT = Path(__file__).parents[2]
Change = Callable[[Path], object]


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=os.environ | identity, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one entry, and a branch that adds a second."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q", "-b", "main")
    small = {"sizes": (30_000,), "budgets": (30_000,), "seeds": 1}
    plant(folder / "leaderboard" / "entries", "Grace", **small)  # type: ignore[arg-type]
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "base")
    git(folder, "checkout", "-q", "-b", "proposed")
    plant(folder / "leaderboard" / "entries", "Ada", **small)  # type: ignore[arg-type]
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "an entry")
    git(folder, "checkout", "-q", "main")
    return folder


def check(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change) -> list[str]:
    """The check of the branch with one more change."""
    repository = tmp_path / "repository"
    shutil.copytree(base, repository, symlinks=True)
    git(repository, "checkout", "-q", "proposed")
    change(repository / "leaderboard" / "entries" / "embedded-lm" / "chemgpt" / "ada-2026-11-22.json")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "--allow-empty", "-m", "more")
    git(repository, "checkout", "-q", "main")
    monkeypatch.chdir(repository)
    return pull_request.check("main", "proposed")


def test_an_honest_entry_passes(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = check(base, tmp_path, monkeypatch, lambda path: None)
    assert lines == ["embedded-lm/chemgpt/ada-2026-11-22.json is consistent"]


def test_an_entry_may_be_taken_back(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def remove(path: Path) -> None:
        for kind in (".json", ".parquet"):
            path.with_name(f"grace-2026-11-22{kind}").unlink()

    lines = check(base, tmp_path, monkeypatch, remove)
    assert "embedded-lm/chemgpt/grace-2026-11-22 is removed" in lines


def tune(path: Path) -> None:
    entry = json.loads(path.read_text())
    entry["runs"][0]["train_seconds"] /= 3
    path.write_text(json.dumps(entry))


def steal(path: Path) -> None:
    grace = path.with_name("grace-2026-11-22.json")
    entry = json.loads(grace.read_text()) | {"submitter": "Ada"}
    path.write_text(json.dumps(entry))
    shutil.copy(grace.with_suffix(".parquet"), path.with_suffix(".parquet"))


def link(path: Path) -> None:
    path.with_suffix(".parquet").unlink()
    path.with_suffix(".parquet").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (tune, "must be consistent, it is valid: train_seconds"),
        (steal, "a run may stand in one entry"),
        (link, "plain, not links or programs"),
        (lambda path: path.chmod(0o755), "plain, not links or programs"),
        (lambda path: path.unlink(), "must come with its .json"),
        (lambda path: path.with_suffix(".parquet").unlink(), "is refused"),
        (lambda path: path.write_text("{}"), "is refused"),
        (lambda path: path.with_name("notes.txt").write_text("x"), "must come with its .json"),
        (lambda path: (path.parents[4] / "MLproject").write_text("x"), "must change nothing else"),
        (lambda path: (path.parents[4] / "conftest.py").write_text("raise SystemExit(0)"), "must change nothing else"),
    ],
)
def test_refused(change: Change, says: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=says):
        check(base, tmp_path, monkeypatch, change)


def test_other_pull_requests_pass(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base)
    assert pull_request.check("main", "main") == []


def test_the_workflow_checks_out_the_base_only() -> None:
    import yaml

    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "entries.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    (checkout,) = [step for step in workflow["jobs"]["verify"]["steps"] if "checkout" in step.get("uses", "")]
    assert "ref" not in checkout["with"]
    commands = " ".join(step.get("run", "") for step in workflow["jobs"]["verify"]["steps"])
    assert "${{" not in commands, "nothing of the pull request may reach a shell"
