"""Hours of GPUs as hours of the clock, by what each engine gives its workers."""

import pytest

from chemscale_bench.runs.gpu_hours import by_the_clock, gpus_of
from chemscale_bench.settings.study import StudySettings


@pytest.mark.parametrize(
    ("engine", "options", "hours"), [("slurm", "", 2.0), ("ray", "num_gpus=1", 2.0), ("ray", "num_gpus=0.25", 8.0)]
)
def test_hours_of_gpus_are_those_of_the_clock_times_what_the_workers_hold(
    engine: str, options: str, hours: float, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"gpu_hours": "16", "workers": "8", "engine": engine, "engine_options": options}
    settings = StudySettings.read(given, "study")
    found = by_the_clock(settings, prints=True)
    assert (found.hours, found.gpu_hours, found.workers) == (hours, 0.0, 8)
    assert f"are hours={hours:g}" in capsys.readouterr().err
    assert by_the_clock(found, prints=True) == found  # as a worker reads it


def test_gpus_here_are_shared_by_the_workers() -> None:
    for workers, gpus in (("2", 2), ("4", 4), ("8", 4)):
        settings = StudySettings.read({"gpu_hours": "8", "workers": workers}, "study")
        assert gpus_of(settings, here=4) == gpus
