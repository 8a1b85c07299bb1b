"""The command line as a user meets it: help without heavy imports, one line and exit code 2 for bad input."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chemscale_bench import cli
from chemscale_bench.errors import UserError

ROOT = Path(__file__).parents[1]


def run(*arguments: str, capture: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of the tool."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(arguments))
    return exit_.value.code, capture.readouterr().err  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chemgp"], "chemgpt"),
        (["chemgpt", "--parms", "1e6"], "there is no parameter parms; did you mean params? `chemscale chemgpt --help`"),
        (["chemgpt", "--batch-tokns", "1"], "there is no parameter batch_tokns; did you mean batch_tokens?"),
        (["chemgpt", "--xyzzy", "1"], "there is no parameter xyzzy; `chemscale chemgpt --help` lists those of chemgpt"),
        (
            ["chemgpt", "--task", "embedded-ff", "--device", "cpu"],
            "embedded-ff is a force_field task; use the verb forcefield",
        ),
        (["chemgpt", "--params", "abc"], "params must be a whole number such as 1e8, got 'abc'"),
        (["chemgpt", "--params", "1e15"], "params must be less than or equal to 20000000000"),
        (["chemgpt", "--params", "1.5"], "got '1.5'"),
        (["chemgpt", "--params", ""], "got ''"),
        (["chemgpt", "--tokens", "-5"], "tokens must be greater than or equal to 1"),
        (["chemgpt", "--device", "tpu"], "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
        (["chemgpt", "--weight_decay", "inf"], "weight_decay must be a finite number, got 'inf'"),
        (["forcefield", "--force_weight", "inf"], "force_weight must be a finite number, got 'inf'"),
        (["study", "--hours", "inf"], "hours must be a finite number, got 'inf'"),
        (["chemgpt", "stray"], "stray"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = run(*arguments, capture=capsys)
    assert code == 2
    assert says in line
    assert line.startswith("error: ")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "code"), [(UserError("rule, value,\n cure"), 2), (KeyboardInterrupt(), 130), (SystemExit(143), 143)]
)
def test_exit_codes_of_a_running_verb(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: object) -> None:
        raise raised

    monkeypatch.setattr(cli, "import_module", lambda _: type("Module", (), {"chemgpt": staticmethod(work)}))
    found, line = run("chemgpt", capture=capsys)
    assert found == code
    assert line.strip() == ("error: rule, value, cure" if code == 2 else "")


def test_a_terminated_verb_clears_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before, cleared = signal.getsignal(signal.SIGTERM), []

    def work(_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            cleared.append(True)

    monkeypatch.setattr(cli, "import_module", lambda _: type("Module", (), {"embed": staticmethod(work)}))
    try:
        assert run("embed", capture=capsys) == (130, "\n")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert cleared


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_parameter_is_explained_with_its_default(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.tool().main([verb, "--help"], standalone_mode=False)
    text = " ".join(capsys.readouterr().out.split())
    for name, field in cli.VERBS[verb].model_fields.items():
        assert f"--{name} " in text
        assert field.description, f"{name} has no docstring"
        assert field.description.split()[0] in text
    assert text.count("[default:") == len(cli.VERBS[verb].model_fields)
    assert "[default: 0.0]" not in text


@pytest.mark.parametrize(
    ("verb", "first"),
    [
        ("chemgpt", "task params tokens"),
        ("language", "task params tokens"),
        ("forcefield", "task model molecule"),
        ("study", "task model hours"),
        ("tune", "task model trials"),
        ("fit", "experiment table"),
        ("embed", "run data out"),
        ("probe", "run budget tasks"),
    ],
)
def test_help_begins_with_what_a_verb_is_about(capsys: pytest.CaptureFixture[str], verb: str, first: str) -> None:
    cli.tool().main([verb, "--help"], standalone_mode=False)
    assert " ".join(re.findall(r"^  --(\w+)", capsys.readouterr().out, re.MULTILINE)).startswith(first)


def test_help_shows_the_words_that_a_parameter_takes(capsys: pytest.CaptureFixture[str]) -> None:
    cli.tool().main(["tune", "--help"], standalone_mode=False)
    text = " ".join(capsys.readouterr().out.split())
    assert "--engine local|slurm|ray Who starts" in text
    assert "weights. [default: 0]" in text


def test_dashes_and_underscores_are_both_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(cli, "import_module", lambda _: type("Module", (), {"chemgpt": staticmethod(seen.append)}))
    for name in ("--batch-tokens", "--batch_tokens"):
        cli.tool().main(["chemgpt", name, "4096"], standalone_mode=False)
    assert [settings.batch_tokens for settings in seen] == [4096, 4096]


HELP = """
import runpy, sys
try:
    runpy.run_module("chemscale_bench", run_name="__main__")
finally:
    print(sorted({"torch", "mlflow", "rdkit", "numpy"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["chemgpt", "-h"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"
