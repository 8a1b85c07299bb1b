"""The kernels against dense attention in float64: compiled on a GPU, else in Triton's interpreter if there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chemscale_bench.models.attention import NO_WINDOW, available, forward, molecule_attention

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
anywhere = pytest.mark.skipif(
    not INTERPRETED and not available(), reason="needs a GPU, or triton and TRITON_INTERPRET=1"
)
on_gpu = pytest.mark.skipif(INTERPRETED or not available(), reason="needs a GPU and triton")
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}  # of the largest element
EVERY_LENGTH = [1, 2, 43, 0, 63, 64, 0, 0, 65, 128, 200, 300, 0, 0]


@pytest.mark.skipif(INTERPRETED, reason="runs the others in the interpreter")
def test_the_kernels_in_the_interpreter() -> None:
    triton = pytest.importorskip("triton")
    if [int(part) for part in triton.__version__.split(".")[:2]] < [3, 7]:
        pytest.skip("needs triton >= 3.7, whose interpreter runs on numpy >= 2.4")
    command = [sys.executable, "-m", "pytest", __file__]
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # read when triton is imported
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def example(lengths: list[int], heads: int, D: int, dtype: torch.dtype, spare: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of molecules and `spare` further rows; offsets; the gradient of the output."""
    offsets = torch.tensor([0, *lengths]).cumsum(0).to(DEVICE, torch.int32)
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(sum(lengths) + spare, 4 * heads * D, generator=generator).to(DEVICE, dtype)
    qkv, grad = draws.split([3 * heads * D, heads * D], dim=1)
    return qkv.contiguous().requires_grad_(), offsets, grad


def dense(qkv: Tensor, offsets: Tensor, heads: int, scale: float, window: int | None) -> Tensor:
    """The same in float64 by a mask (N, N)."""
    rows = torch.arange(len(qkv), device=qkv.device)
    molecule = torch.bucketize(rows, offsets[1:], right=True)
    ago = rows[:, None] - rows
    visible = (molecule[:, None] == molecule) & (ago >= 0) & (ago < (window or len(rows)))
    q, k, v = qkv.double().view(len(qkv), 3, heads, -1).permute(1, 2, 0, 3)
    y = (scale * q @ k.mT).masked_fill(~visible, -torch.inf).softmax(-1) @ v
    return y.transpose(0, 1).reshape(len(qkv), -1) * (rows < offsets[-1])[:, None]


@anywhere
@pytest.mark.parametrize(
    ("lengths", "heads", "D", "window", "scale", "dtype"),
    [
        (EVERY_LENGTH, 1, 16, 256, 0.25, torch.float32),
        (EVERY_LENGTH, 1, 16, None, 0.25, torch.float16),
        ([5, 0, 43], 4, 4, None, 1.0, torch.float32),
        ([70, 3], 1, 12, None, 0.5, torch.float32),
        ([40, 100], 2, 20, 33, 0.25, torch.float32),
        ([66], 3, 32, 7, 0.2, torch.float16),
        ([130], 1, 64, 64, 0.125, torch.float16),
        ([33], 1, 64, 1, 0.125, torch.float32),
        ([20, 0, 0], 1, 128, None, 0.1, torch.float32),
        (EVERY_LENGTH, 12, 64, 256, 0.125, torch.bfloat16),
        (EVERY_LENGTH, 4, 128, None, 0.1, torch.bfloat16),
    ],
)
def test_output_and_gradient_are_those_of_dense_attention(
    lengths: list[int], heads: int, D: int, window: int | None, scale: float, dtype: torch.dtype
) -> None:
    if INTERPRETED and dtype == torch.bfloat16:
        pytest.skip("triton's interpreter multiplies the bit patterns of bfloat16")
    qkv, offsets, grad = example(lengths, heads, D, dtype, spare=70)
    ours, theirs = (f(qkv, offsets, heads, scale, window) for f in (molecule_attention, dense))
    grad_ours, grad_theirs = (torch.autograd.grad(y, qkv, grad.to(y.dtype))[0] for y in (ours, theirs))
    assert ours.dtype == dtype
    for got, expected in ((ours, theirs), (grad_ours, grad_theirs)):
        assert (got - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max()
        assert not got[sum(lengths) :].any()


@anywhere
def test_the_operator_keeps_to_the_rules_of_torch_compile() -> None:
    qkv, offsets, _ = example([5, 3], 2, 16, torch.float32, spare=0)
    torch.library.opcheck(forward, (qkv, offsets, 2, 0.25, NO_WINDOW))


@on_gpu
def test_a_captured_graph_takes_other_molecules() -> None:
    qkv, offsets, grad = example([43, 65, 7, 0], 2, 32, torch.bfloat16, spare=9)

    def step() -> tuple[Tensor, Tensor]:
        y = molecule_attention(qkv, offsets, 2, 0.2, None)
        return y, torch.autograd.grad(y, qkv, grad)[0]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # compiles
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        qkv.mul_(0.5)
    offsets.copy_(torch.tensor([0, 10, 10, 110, 120]))
    graph.replay()
    for replayed, eager in zip(captured, step(), strict=True):
        assert torch.equal(replayed, eager)


@on_gpu
def test_compiled_by_torch_it_gives_the_same() -> None:
    qkv, offsets, grad = example([43, 65, 7, 0], 2, 32, torch.bfloat16, spare=9)
    compiled = torch.compile(molecule_attention, fullgraph=True)
    results = []
    for function in (molecule_attention, compiled):
        y = function(qkv, offsets, 2, 0.2, None)
        results.append((y, torch.autograd.grad(y, qkv, grad)[0]))
    for eager, compiled_result in zip(*results, strict=True):
        assert torch.equal(eager, compiled_result)
