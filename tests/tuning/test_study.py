import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from chemscale_bench.errors import UserError
from chemscale_bench.settings.chemgpt import ChemGPTSettings
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.tuning import study as studies
from chemscale_bench.tuning.named import PRUNERS
from chemscale_bench.tuning.study import open_storage


@pytest.mark.parametrize(
    ("family", "settings"), [("language_model", ChemGPTSettings), ("force_field", ForceFieldSettings)]
)
def test_what_is_searched_are_settings_of_the_verb(family: str, settings: type) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = studies.SPACES[family]
    for _ in range(50):
        chosen = studies.suggest(study.ask(), space)
        settings(**chosen)  # refuses what the verb would refuse
        assert all(one.low <= chosen[one.name] <= one.high for one in space)
        assert isinstance(chosen["batch_tokens" if family == "language_model" else "batch_frames"], int)


def test_where_is_searched() -> None:
    spaces = {family: {one.name: (one.low, one.high) for one in space} for family, space in studies.SPACES.items()}
    assert spaces == {
        "language_model": {
            "learning_rate": (1 / 8192, 1 / 64), "batch_tokens": (256, 8192), "warmup": (0.01, 1), "decay": (0.1, 0.6),
            "weight_decay": (0.001, 1),
        },
        "force_field": {
            "learning_rate": (0.0001, 0.03), "batch_frames": (2, 32), "warmup": (0.001, 0.3), "decay": (0.1, 0.9),
            "weight_decay": (1e-6, 0.1),
        },
    }  # fmt: skip
    linear = {one.name for space in studies.SPACES.values() for one in space if one.linear}
    assert linear == {"decay"}


def test_a_trial_draws_the_same_whichever_process_runs_it_and_no_two_draw_alike() -> None:
    def draw(number: int, seed: int = 0) -> float:
        study = optuna.create_study(sampler=studies.make_sampler("RandomSampler", seed, number))
        return study.ask().suggest_float("x", 0, 1)

    assert draw(3) == draw(3)
    assert len({draw(number) for number in range(100)} | {draw(0, seed=1)}) == 101


@pytest.mark.parametrize("name", ["", "journal.log", "sqlite:///study.db"])
def test_every_storage_keeps_the_study(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    otherwise = tmp_path / "deep" / "default.log"
    first = optuna.create_study(storage=studies.open_storage(name, otherwise), study_name="s")
    first.tell(first.ask(), 1.0)
    again = optuna.load_study(storage=studies.open_storage(name, otherwise), study_name="s")
    assert [trial.value for trial in again.trials] == [1.0]
    assert otherwise.exists() == (name == "")


def test_a_study_behind_a_proxy_is_kept_where_the_proxy_keeps_it() -> None:
    pytest.importorskip("grpc")
    from optuna.storages._grpc.server import make_server

    behind = optuna.storages.InMemoryStorage()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    server = make_server(behind, "localhost", port)
    server.start()
    try:
        study = optuna.create_study(storage=open_storage(f"grpc://localhost:{port}", Path("x")), study_name="s")
        study.tell(study.ask(), 1.0)
    finally:
        server.stop(None)
    assert [trial.value for trial in optuna.load_study(storage=behind, study_name="s").trials] == [1.0]


def test_a_database_that_others_make_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import IntegrityError

    tried = []

    def made_twice(address: str) -> None:
        tried.append(address)
        assert len(tried) <= studies.TRIES
        raise IntegrityError("INSERT", None, Exception("UNIQUE constraint failed"))

    monkeypatch.setattr(optuna.storages, "RDBStorage", made_twice)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(UserError, match="storage must be a database URL"):
        open_storage("sqlite:///x.db", Path("x"))
    assert len(tried) == studies.TRIES == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: studies.open_storage("postgresql+nothing://localhost/x", Path("x")), "storage must be a database URL"),
        (lambda: studies.open_storage("/proc/no/journal.log", Path("x")), "storage must be a database URL"),
        (lambda: studies.make_sampler("RandmSampler", 0, 0), "did you mean RandomSampler"),
    ],
)
def test_what_can_not_be_opened_gives_one_line(call: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        call()  # type: ignore[operator]
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_lets_a_good_trial_finish(name: str) -> None:
    study = optuna.create_study(pruner=PRUNERS[name](100, 0))
    for level in (5.0, 4.0, 3.0, 2.0, 1.0):
        trial = study.ask()
        for step in range(10, 101, 10):
            trial.report(level + 1 / step, step)
            assert not trial.should_prune()
        study.tell(trial, level)


def test_savings_count_every_trial_that_ended() -> None:
    def trial(state: TrialState, flops: float, **about: bool) -> optuna.trial.FrozenTrial:
        value = 1.0 if state == TrialState.COMPLETE else None
        return create_trial(state=state, value=value, user_attrs={"flops": flops, "flops_in_full": 10.0, **about})

    ended = [trial(TrialState.COMPLETE, 10.0), trial(TrialState.PRUNED, 2.0), trial(TrialState.PRUNED, 3.0)]
    assert studies.spent([*ended, trial(TrialState.RUNNING, 1.0), trial(TrialState.FAIL, 1.0)]).saved_percent == 50
    assert studies.spent([]).saved_percent == 0
    assert studies.spent([ended[0], trial(TrialState.PRUNED, 1.0, diverged=True)]).saved_percent == 0


@pytest.mark.parametrize(
    ("trials", "of_second", "expected"),
    [(6, 100.0, ["second", "first"]), (3, 100.0, ["first", "second"]), (6, 0.0, None)],
)
def test_what_made_most_of_the_difference_comes_first_once_four_have_finished(
    trials: int, of_second: float, expected: list[str] | None
) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(trials):
        trial = study.ask()
        first, second = (trial.suggest_float(name, 0, 1) for name in ("first", "second"))
        study.tell(trial, first * bool(of_second) + of_second * second)
    found = studies.by_importance(study)
    assert sorted(found) == ["first", "second"], "all of them, even if nothing differs"
    assert expected is None or found == expected


# -- journals that were left behind -------------------------------------------------------------------------------


def journal(path: Path, trials: int = 3) -> Path:
    study = optuna.create_study(storage=open_storage(str(path), path), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials)
    return path


def test_a_line_that_was_not_written_to_its_end_is_dropped_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = journal(tmp_path / "s.log")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":5,"worker_id":"a')
    study = optuna.load_study(storage=open_storage(str(path), path), study_name="s")
    assert len(study.trials) == 3
    assert path.read_bytes() == whole
    assert "was not written to its end, and is dropped" in capsys.readouterr().err
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert len(optuna.load_study(storage=open_storage(str(path), path), study_name="s").trials) == 4
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("line", "word"), [(b"", "blank"), (b"{", "not one"), (b"5", "not one")])
def test_a_damaged_line_before_the_last_is_named_and_nothing_is_changed(line: bytes, word: str, tmp_path: Path) -> None:
    path = journal(tmp_path / "s.log")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[2:]]))
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"line 3 of .*s.log is {word}; take it out: sed -i 3d"):
        open_storage(str(path), path)
    assert path.read_bytes() == before
    subprocess.run(["sed", "-i", "3d", str(path)], check=True)
    assert len(optuna.load_study(storage=open_storage(str(path), path), study_name="s").trials) == 3


def test_a_last_line_that_ends_is_damaged_not_torn(tmp_path: Path) -> None:
    path = journal(tmp_path / "s.log")
    number = len(path.read_bytes().splitlines()) + 1
    path.write_bytes(path.read_bytes() + b"{\n")
    with pytest.raises(UserError, match=f"line {number} of .*s.log is not one; take it out: sed -i {number}d"):
        open_storage(str(path), path)


def test_a_relative_journal_has_a_lock_that_can_be_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("studies").mkdir()
    journal(Path("studies/s.log"))
    lock = tmp_path / "studies" / "s.log.lock"
    lock.symlink_to("studies/s.log")  # as Optuna leaves it when it is killed; seen from its folder it leads nowhere
    assert not lock.exists()
    storage = open_storage("studies/s.log", Path("unused"))
    assert lock.exists(), "Optuna can see how old it is"
    assert lock.is_symlink(), "somebody may still be at work"
    storage._backend._lock.grace_period = 1  # type: ignore[attr-defined]
    started = time.monotonic()
    study = optuna.load_study(storage=storage, study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert time.monotonic() - started < 30


def test_of_several_that_find_a_database_empty_all_can_open_it(tmp_path: Path) -> None:
    """As when one command is started on many machines; Optuna alone fails for some."""
    for number in range(3):
        address, ready = f"sqlite:///{tmp_path / str(number)}.db", threading.Barrier(4)

        def come(address: str = address, ready: threading.Barrier = ready) -> None:
            ready.wait()
            open_storage(address, Path("x"))

        with ThreadPoolExecutor(4) as pool:
            for one in [pool.submit(come) for _ in range(4)]:
                one.result()
