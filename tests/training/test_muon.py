"""Muon changes matrices as torch's own does, and all else as AdamW."""

import pytest
import torch
from small import Log, make_molecules, trainer
from torch import Tensor, nn

from chemscale_bench.errors import UserError
from chemscale_bench.training.muon import Muon, optimizer_of, orthogonal


def parameter(*shape: int, seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))


def step(optimizer: torch.optim.Optimizer, *gradients: tuple[nn.Parameter, Tensor]) -> None:
    for weight, gradient in gradients:
        weight.grad = gradient.clone()
    optimizer.step()


def muon(weight: nn.Parameter, parts: int = 1, rate: float = 0.1, decay: float = 0.2) -> Muon:
    return Muon([{"params": [weight], "lr": rate, "weight_decay": decay, "parts": parts}])


@pytest.mark.parametrize("shape", [(96, 32), (32, 96), (48, 48)])
def test_steps_of_a_matrix_are_those_of_torch(shape: tuple[int, int]) -> None:
    ours, theirs = parameter(*shape), parameter(*shape)
    own, reference = muon(ours), torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2, momentum=0.95, nesterov=True)
    for number in range(4):
        gradient = parameter(*shape, seed=number + 1).detach()
        step(own, (ours, gradient))
        step(reference, (theirs, gradient))
    moved = (ours - parameter(*shape)).norm()
    assert (ours - theirs).norm() / moved < 0.01  # torch works in bf16


def test_parts_of_a_matrix_are_changed_by_themselves() -> None:
    whole, gradient = parameter(60, 24), parameter(60, 24, seed=1).detach()
    thirds = [nn.Parameter(third.clone()) for third in whole.detach().chunk(3)]
    step(muon(whole, parts=3), (whole, gradient))
    for third, its in zip(thirds, gradient.chunk(3), strict=True):
        step(muon(third), (third, its))
    torch.testing.assert_close(whole, torch.cat(thirds))


def test_matrices_of_one_shape_do_not_touch_each_other() -> None:
    weights = [parameter(8, 16), parameter(8, 16, seed=1), parameter(16, 8, seed=2)]
    alone = [nn.Parameter(weight.detach().clone()) for weight in weights]
    gradients = [parameter(*weight.shape, seed=9 + number).detach() for number, weight in enumerate(weights)]
    group = {"params": weights, "lr": 0.1, "weight_decay": 0.2, "parts": 1}
    step(Muon([group]), *zip(weights, gradients, strict=True))
    for weight, mine, gradient in zip(weights, alone, gradients, strict=True):
        step(muon(mine), (mine, gradient))
        torch.testing.assert_close(weight, mine)


def test_a_step_is_orthogonal_whatever_the_gradient() -> None:
    for size in (1e-6, 1.0, 1e6):
        weight = nn.Parameter(torch.zeros(40, 20))
        step(muon(weight, rate=1.0), (weight, size * parameter(40, 20, seed=3).detach()))
        values = torch.linalg.svdvals(weight.detach()) / 2**0.5  # twice as many rows as columns
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_a_matrix_next_to_orthogonal_keeps_its_directions() -> None:
    left, _, right = torch.linalg.svd(parameter(32, 32).detach())
    nearest = left @ right
    found = orthogonal((left * torch.linspace(0.5, 1.5, 32) @ right)[None])[0]
    assert (left.mT @ found @ right.mT - torch.eye(32)).abs().max() < 0.35
    assert torch.nn.functional.cosine_similarity(found.flatten(), nearest.flatten(), dim=0) > 0.98


def test_other_groups_are_those_of_adamw() -> None:
    vector, matrix, same = parameter(7), parameter(5, 5, seed=1), parameter(7)
    groups = [{"params": [vector], "weight_decay": 0.3}, {"params": [matrix], "weight_decay": 0.0, "parts": 1}]
    ours, theirs = Muon(groups, lr=0.01), torch.optim.AdamW([same], lr=0.01, weight_decay=0.3)
    for number in range(3):
        gradient = parameter(7, seed=number).detach()
        step(ours, (vector, gradient), (matrix, parameter(5, 5, seed=number).detach()))
        step(theirs, (same, gradient))
    torch.testing.assert_close(vector, same)


def test_a_closure_is_called_once_before_the_step() -> None:
    ours, theirs = parameter(8, 16), parameter(8, 16)
    optimizer, calls = muon(ours), []

    def loss() -> Tensor:
        calls.append((ours**2).sum())
        calls[-1].backward()
        return calls[-1]

    assert optimizer.step(loss) is calls[0]
    step(muon(theirs), (theirs, 2 * theirs.detach()))
    torch.testing.assert_close(ours, theirs)
    assert len(calls) == 1


def test_optimizers_by_name() -> None:
    group = {"params": [parameter(4, 4)], "lr": 0.1, "parts": 1}
    assert type(optimizer_of("adamw", [dict(group)])) is torch.optim.AdamW
    assert type(optimizer_of("muon", [dict(group)])) is Muon
    assert optimizer_of("muon", [dict(group)]).param_groups[0]["betas"] == (0.9, 0.95)
    with pytest.raises(UserError, match="names no matrices for muon"):
        optimizer_of("muon", [{"params": [parameter(4, 4)]}])


def test_a_resumed_training_is_the_same_bit_for_bit() -> None:
    molecules, whole, begun, rest = make_molecules(), Log(), Log(stop_at=9), Log()
    trainer(molecules, whole, [6000], rate=0.02, optimizer="muon").run()
    trainer(molecules, begun, [6000], rate=0.02, optimizer="muon").run()
    resumed = trainer(molecules, rest, [6000], rate=0.02, optimizer="muon")
    resumed.resume(begun.states[-1])
    resumed.run()
    assert whole.reports[-1].loss < 1.5
    for name, weight in whole.budgets[6000].items():
        assert torch.equal(rest.budgets[6000][name], weight), name
