"""How large a state is; tests/training/test_loop.py has how it is written."""

import torch

from chemscale_bench.training.checkpoints import size_of


def test_the_bytes_of_all_tensors_count() -> None:
    state = {"a": torch.zeros(3), "b": [torch.zeros(2, dtype=torch.float64), (torch.zeros(1),)], "c": 5, "d": None}
    assert size_of(state) == 12 + 16 + 4
    assert size_of({}) == size_of("text") == 0
