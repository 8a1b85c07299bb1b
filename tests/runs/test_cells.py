"""What several processes share of one study: who takes which training, and what comes of it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.runs.cells import Cells, Ended, Training
from chemscale_bench.tracking.lifetime import PID_TAG, PROCESS_STARTED_TAG, process_tags


@pytest.mark.parametrize("database", [False, True])
def test_of_two_processes_that_take_one_training_one_has_it(database: bool, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/cells.db" if database else str(tmp_path / "cells.log")
    first, second = (Cells({"a": 1}, "task", "both", storage) for _ in range(2))
    training = Training(1000, 20, 0)
    mine = first.claim(training)
    assert mine is not None
    assert second.claim(training) is None
    assert [one for one, _ in second.going()] == [training]
    other = second.claim(training._replace(seed=1))
    assert other is not None
    second.logs_to(other, "r3")
    first.give_up(mine)
    assert second.claim(training) is not None  # left by one, taken by another
    result = Ended(training._replace(seed=1), "r3", 1010, {20: 3.5}, 1.5, 2e9)
    assert second.complete(other, result, diverged=False)
    assert first.results() == [result]
    assert first.claim(training._replace(seed=1)) is None


def test_a_training_of_which_nothing_is_heard_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = Cells({"a": 1}, "task", "both", "")
    silent, heard = (cells.claim(Training(1000, 20, seed)) for seed in range(2))
    assert silent
    assert heard
    monkeypatch.setattr("chemscale_bench.runs.shared.SILENT", 0.5)
    time.sleep(0.6)
    cells.beat(heard)
    cells.fail_dead_trials()
    assert [training.seed for training, _ in cells.going()] == [1]
    cells.beat(silent)  # it speaks again, too late
    assert not cells.complete(silent, Ended(Training(1000, 20, 0), "r0", 1000, {20: 1.0}, 1.0, 1.0), diverged=False)


def test_of_several_proposals_the_first_stands_and_a_claim_of_a_dead_process_does_not(tmp_path: Path) -> None:
    first, second = (Cells({"a": 1}, "task", "both", str(tmp_path / "cells.log")) for _ in range(2))
    assert first.first("parent", "r1") == second.first("parent", "r2") == first.first("parent", "r3") == "r1"
    killed = "import os; from chemscale_bench.runs.cells import Cells, Training; "
    killed += f"Cells({{'a': 1}}, 'task', 'both', {str(tmp_path / 'cells.log')!r}).claim(Training(1000, 20, 0)); "
    subprocess.run([sys.executable, "-c", killed + "os.kill(os.getpid(), 9)"], check=False, env=os.environ)
    assert first.claim(Training(3000, 20, 0))
    assert len(first.going()) == 2
    first.fail_dead_trials()
    assert [training.params for training, _ in first.going()] == [3000]
    assert second.left(Training(1000, 20, 0)) == ""


@pytest.mark.parametrize("database", [False, True])
def test_a_study_in_which_nothing_was_begun_is_typed_anew(database: bool, tmp_path: Path) -> None:
    """As after a refusal: a file without its unit, say, and then with it."""
    storage = f"sqlite:///{tmp_path}/cells.db" if database else str(tmp_path / "cells.log")
    Cells({"unit": ""}, "task", "mine", storage).study.set_user_attr("paces of 2 cores", {"3000": [1.0]})
    second = Cells({"unit": "eV"}, "task", "mine", storage)
    assert second.study.user_attrs["about"] == {"unit": "eV"}
    assert "paces of 2 cores" not in second.study.user_attrs
    assert second.claim(Training(1000, 20, 0)) is not None
    with pytest.raises(UserError, match=r"another unit \(meV, it was eV\)"):
        Cells({"unit": "meV"}, "task", "mine", storage)


def test_a_study_that_another_process_prepares_is_not_typed_anew(tmp_path: Path) -> None:
    first = Cells({"unit": ""}, "task", "mine", str(tmp_path / "cells.log"))
    started = psutil.Process(os.getppid()).create_time()
    other = {PID_TAG: str(os.getppid()), PROCESS_STARTED_TAG: f"{started:.2f}"}
    first.study.set_user_attr("first", process_tags() | other)
    with pytest.raises(UserError, match=r"another unit \(eV, it was \)"):
        Cells({"unit": "eV"}, "task", "mine", str(tmp_path / "cells.log"))
    assert first.claim(Training(1000, 20, 0)) is not None
