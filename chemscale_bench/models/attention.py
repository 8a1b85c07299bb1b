"""Causal attention inside short molecules on GPUs: one Triton program per molecule and head.

Legend: N tokens of all molecules of a batch, one after another; B molecules; H heads; D channels per head; C = H D;
BLOCK rows of a tile, so that most molecules are one tile; DIM its columns: D padded to what matrix units take.

The maths is FlashAttention's (Dao et al. 2022, algorithms 1 and 4). A program owns its molecule, so it needs no
atomics, no padding and no memory besides inputs and outputs. This pays where molecules are short: a program's work
grows with the square of the length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chemscale_bench.errors import UserError

try:
    import triton
    import triton.language as tl
except ImportError:  # comes with torch for GPUs only
    triton = None

NO_WINDOW = 2**30  # longer than any molecule


def available() -> bool:
    """Whether this machine can compile and run the kernels."""
    return triton is not None and torch.cuda.is_available()


def check(precision: str, who: str) -> None:
    """Refuse what the kernels can't do for a model.

    Raises:
        UserError: for an arithmetic that they lack, or if there are none.
    """
    if precision == "fp64":
        raise UserError(f"precision must be bf16 or fp32 for {who} on a GPU, got fp64; or use device=cpu")
    if not available():
        raise UserError(f"triton must be there for {who} on a GPU, it is not; pip install triton, or use device=cpu")


def jit(function: Any) -> Any:
    """`triton.jit` where there is triton."""
    return triton.jit(function) if triton is not None else function


@jit
def place(offsets: tl.tensor, H: tl.constexpr) -> tuple[tl.tensor, ...]:
    """Of a program: its molecule's first row and length, its head, and how many rows belong to any molecule."""
    molecule = tl.program_id(0) // H
    first = tl.load(offsets + molecule).to(tl.int64)  # N C can pass 2^31, what lies inside a molecule cannot
    length = (tl.load(offsets + molecule + 1) - first).to(tl.int32)
    return first, length, tl.program_id(0) % H, tl.load(offsets + tl.num_programs(0) // H).to(tl.int64)


@jit
def read(
    base: tl.tensor, rows: tl.tensor, length: tl.tensor, stride: tl.constexpr, D: tl.constexpr, DIM: tl.constexpr
) -> tl.tensor:
    """A tile (BLOCK, DIM), zero in rows from length on and columns from D on."""
    columns = tl.arange(0, DIM)
    exists = (rows < length)[:, None] & (columns < D)[None, :]
    return tl.load(base + rows[:, None] * stride + columns[None, :], mask=exists, other=0.0)


@jit
def write(
    tile: tl.tensor, base: tl.tensor, rows: tl.tensor, length: tl.tensor, stride: tl.constexpr, D: tl.constexpr
) -> None:
    """Store what exists of a tile (BLOCK, DIM)."""
    columns = tl.arange(0, tile.shape[1])
    exists = (rows < length)[:, None] & (columns < D)[None, :]
    tl.store(base + rows[:, None] * stride + columns[None, :], tile.to(base.dtype.element_ty), mask=exists)


@jit
def clear(
    base: tl.tensor, length: tl.tensor, stride: tl.constexpr, H: tl.constexpr, D: tl.constexpr,
    DIM: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """Write zeros to one head's rows; the programs of the head share them."""
    for start in range(tl.program_id(0) // H * BLOCK, length, tl.num_programs(0) // H * BLOCK):
        write(tl.zeros((BLOCK, DIM), tl.float32), base, start + tl.arange(0, BLOCK), length, stride, D)


@jit
def forward_kernel(
    qkv: tl.tensor, offsets: tl.tensor, out: tl.tensor, lse: tl.tensor,
    tokens: tl.tensor, scale: tl.tensor, window: tl.tensor,
    H: tl.constexpr, D: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """From qkv (N, 3, H, D) the output (N, H, D) and the log-sum-exp (N, H) of the logits; grid B H."""
    C: tl.constexpr = H * D
    first, length, head, owned = place(offsets, H)
    clear(out + owned * C + head * D, tokens - owned, C, H, D, DIM, BLOCK)
    qkv += first * 3 * C + head * D
    for query_start in range(0, length, BLOCK):
        queries = query_start + tl.arange(0, BLOCK)
        q = read(qkv, queries, length, 3 * C, D, DIM)
        o = tl.zeros((BLOCK, DIM), tl.float32)
        weight = tl.zeros((BLOCK,), tl.float32)
        peak = tl.full((BLOCK,), -1e30, tl.float32)  # finite, since a row may see nothing of its first tile of keys
        for key_start in range(tl.maximum(query_start - window + 1, 0) // BLOCK * BLOCK, query_start + 1, BLOCK):
            keys = key_start + tl.arange(0, BLOCK)
            k = read(qkv + C, keys, length, 3 * C, D, DIM)
            v = read(qkv + 2 * C, keys, length, 3 * C, D, DIM)
            s = scale * tl.dot(q, tl.trans(k), input_precision="ieee")
            ago = queries[:, None] - keys[None, :]
            s = tl.where((ago >= 0) & (ago < window), s, -1e30)
            new_peak = tl.maximum(peak, tl.max(s, 1))
            p = tl.exp(s - new_peak[:, None])
            shrink = tl.exp(peak - new_peak)
            weight = weight * shrink + tl.sum(p, 1)
            o = o * shrink[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
            peak = new_peak
        write(o / weight[:, None], out + first * C + head * D, queries, length, C, D)
        tl.store(lse + (first + queries) * H + head, peak + tl.log(weight), mask=queries < length)


@jit
def backward_tile(
    qkv: tl.tensor, out: tl.tensor, lse: tl.tensor, grad_out: tl.tensor, queries: tl.tensor, keys: tl.tensor,
    length: tl.tensor, scale: tl.tensor, window: tl.tensor, H: tl.constexpr, D: tl.constexpr, DIM: tl.constexpr,
) -> tuple[tl.tensor, ...]:  # fmt: skip
    """Queries, keys, the gradient of the output, and, both (keys, queries), the weights and the gradient of q.k."""
    C: tl.constexpr = H * D
    q = read(qkv, queries, length, 3 * C, D, DIM)
    k = read(qkv + C, keys, length, 3 * C, D, DIM)
    v = read(qkv + 2 * C, keys, length, 3 * C, D, DIM)
    o = read(out, queries, length, C, D, DIM)
    do = read(grad_out, queries, length, C, D, DIM)
    log_weight = tl.load(lse + queries * H, mask=queries < length, other=0.0)
    s = scale * tl.dot(k, tl.trans(q), input_precision="ieee")
    ago = queries[None, :] - keys[:, None]
    p = tl.where((ago >= 0) & (ago < window), tl.exp(s - log_weight[None, :]), 0.0)
    dp = tl.dot(v, tl.trans(do), input_precision="ieee")
    ds = scale * p * (dp - tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)[None, :])
    return q, k, do, p.to(q.dtype), ds.to(q.dtype)


@jit
def backward_kernel(
    qkv: tl.tensor, offsets: tl.tensor, out: tl.tensor, lse: tl.tensor, grad_out: tl.tensor, grad_qkv: tl.tensor,
    tokens: tl.tensor, scale: tl.tensor, window: tl.tensor,
    H: tl.constexpr, D: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """The gradient of qkv (N, 3, H, D); grid B H."""
    C: tl.constexpr = H * D
    first, length, head, owned = place(offsets, H)
    for part in range(3):
        clear(grad_qkv + (owned * 3 + part) * C + head * D, tokens - owned, 3 * C, H, D, DIM, BLOCK)
    qkv += first * 3 * C + head * D
    grad_qkv += first * 3 * C + head * D
    out += first * C + head * D
    grad_out += first * C + head * D
    lse += first * H + head
    for key_start in range(0, length, BLOCK):
        keys = key_start + tl.arange(0, BLOCK)
        dk = tl.zeros((BLOCK, DIM), tl.float32)
        dv = tl.zeros((BLOCK, DIM), tl.float32)
        for query_start in range(key_start, tl.minimum(key_start + BLOCK + window - 1, length), BLOCK):
            queries = query_start + tl.arange(0, BLOCK)
            q, k, do, p, ds = backward_tile(
                qkv, out, lse, grad_out, queries, keys, length, scale, window, H, D, DIM
            )  # fmt: skip
            dk += tl.dot(ds, q, input_precision="ieee")
            dv += tl.dot(p, do, input_precision="ieee")
            if length <= BLOCK:  # the usual molecule is done here; a longer one adds up its dq below
                write(tl.dot(tl.trans(ds), k, input_precision="ieee"), grad_qkv, queries, length, 3 * C, D)
        write(dk, grad_qkv + C, keys, length, 3 * C, D)
        write(dv, grad_qkv + 2 * C, keys, length, 3 * C, D)
    if length > BLOCK:
        for query_start in range(0, length, BLOCK):
            queries = query_start + tl.arange(0, BLOCK)
            dq = tl.zeros((BLOCK, DIM), tl.float32)
            for key_start in range(tl.maximum(query_start - window + 1, 0) // BLOCK * BLOCK, query_start + 1, BLOCK):
                keys = key_start + tl.arange(0, BLOCK)
                _, k, _, _, ds = backward_tile(
                    qkv, out, lse, grad_out, queries, keys, length, scale, window, H, D, DIM
                )  # fmt: skip
                dq += tl.dot(tl.trans(ds), k, input_precision="ieee")
            write(dq, grad_qkv, queries, length, 3 * C, D)


def launch(kernel: Any, heads: int, qkv: Tensor, offsets: Tensor, *arguments: Tensor | float) -> None:
    """Run a kernel for every molecule and head; nothing is autotuned, since that would synchronise."""
    D = qkv.shape[1] // (3 * heads)
    block = 64 if qkv.element_size() == 2 else 32  # fp32 tiles of 64 rows overflow shared memory at D = 128
    kernel[((len(offsets) - 1) * heads,)](
        qkv, offsets, *arguments, H=heads, D=D, DIM=max(16, triton.next_power_of_2(D)), BLOCK=block,
        num_warps=4 if D <= 64 else 8, num_stages=1,
    )  # fmt: skip


def empty_outputs(qkv: Tensor, offsets: Tensor, heads: int, scale: float, window: int) -> tuple[Tensor, Tensor]:
    """Memory for what `forward` returns."""
    tokens, width = qkv.shape
    return qkv.new_empty(tokens, width // 3), qkv.new_empty(tokens, heads, dtype=torch.float32)


@torch.library.custom_op("chemscale::molecule_attention", mutates_args=())
def forward(qkv: Tensor, offsets: Tensor, heads: int, scale: float, window: int) -> tuple[Tensor, Tensor]:
    """The output (N, C), and the log-sum-exp (N, H) of the logits, undefined in rows of no molecule."""
    out, lse = empty_outputs(qkv, offsets, heads, scale, window)
    launch(forward_kernel, heads, qkv, offsets, out, lse, len(qkv), scale, window)
    return out, lse


@torch.library.custom_op("chemscale::molecule_attention_backward", mutates_args=())
def backward(
    qkv: Tensor, offsets: Tensor, out: Tensor, lse: Tensor, grad_out: Tensor, heads: int, scale: float, window: int
) -> Tensor:
    """The gradient (N, 3 C) of qkv."""
    grad_qkv = torch.empty_like(qkv)
    tensors = qkv, offsets, out, lse, grad_out.contiguous(), grad_qkv
    launch(backward_kernel, heads, *tensors, len(qkv), scale, window)
    return grad_qkv


def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep what `differentiate` needs."""
    qkv, offsets, *ctx.settings = inputs
    ctx.save_for_backward(qkv, offsets, *output)


def differentiate(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of the arguments of `forward`."""
    return backward(*ctx.saved_tensors, grad_out, *ctx.settings), None, None, None, None


forward.register_fake(empty_outputs)
forward.register_autograd(differentiate, setup_context=save)
backward.register_fake(lambda qkv, *_: torch.empty_like(qkv))


def molecule_attention(qkv: Tensor, offsets: Tensor, heads: int, scale: float, window: int | None) -> Tensor:
    """Causal attention inside each molecule, for CUDA tensors; never waits for the GPU.

    Args:
        qkv: queries, keys and values (N, 3 C), laid out as (N, 3, H, D), in bf16, fp16 or fp32; D at most 128.
        offsets: first row of each molecule, and the end of the last one (B + 1,), int32. Molecules may be empty.
        heads: H.
        scale: factor on the logits q.k.
        window: how many tokens a token sees, itself included; None for all before it.

    Returns:
        The output (N, C) in the dtype of qkv. Rows of no molecule get zeros, as do their gradients.
    """
    out: Tensor = forward(qkv.contiguous(), offsets, heads, scale, NO_WINDOW if window is None else window)[0]
    return out
