import pytest
import torch

from chemscale_bench.training.averaging import RunningAverage


def test_it_forgets_the_start_soon_and_then_averages_over_the_last_steps() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = RunningAverage(model, 0.9)
    torch.nn.init.constant_(model.weight, 1000.0)  # the first step counts in full
    average.update_parameters(model)
    assert float(average.module.weight) == 1000.0
    kept = []
    for step in range(1, 61):
        torch.nn.init.constant_(model.weight, float(step % 2))
        average.update_parameters(model)
        kept.append(float(average.module.weight))
    by_hand = 1000.0
    for step in range(1, 61):
        decay = min(0.9, (1 + step) / (10 + step))
        by_hand = decay * by_hand + (1 - decay) * (step % 2)
    assert kept[-1] == pytest.approx(by_hand, rel=1e-5)
    assert not average.module.training, "what is measured has no dropout"
    assert abs(kept[-1] - 0.5) < 0.1  # 0.9^60 of the start would still be 1.8
