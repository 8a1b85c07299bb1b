"""A function of tensors on a GPU that replays its own launches: a small model waits for them, not for arithmetic."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

WARM_UP = 2  # calls of a shape that run as they are: they compile, allocate and choose algorithms; the last is timed
LAUNCH_BOUND = 0.4  # least share of a call's time that its launches take, for a recording to be worth its memory


class Recording(NamedTuple):
    """One CUDA graph, where it reads and where it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Any]
    output: Any


class Captured:
    """Calls `function`; from the third call with arguments of the same shapes on, as one CUDA graph if that pays.

    The function must wait for nothing, and all that it uses beside its arguments must stay where it is. What it gives
    is overwritten by the next call.

    Args:
        function: takes tensors and plain values, also nested.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.stream = torch.cuda.Stream()
        self.forget()

    def forget(self) -> None:
        """Start afresh, because something that the function uses was replaced."""
        self.calls: Counter[Any] = Counter()
        self.launch_bound: dict[Any, bool] = {}
        self.recordings: dict[Any, Recording] = {}
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, *arguments: Any) -> Any:
        """What `function` gives for these arguments."""
        leaves, structure = tree_flatten(arguments)
        key = tuple((leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf for leaf in leaves)
        if key not in self.recordings:
            self.calls[key] += 1
            if self.calls[key] <= WARM_UP:
                return self.warm_up(key, arguments)
            if not self.launch_bound[key]:
                return self.function(*arguments)
            self.recordings[key] = self.record(leaves, structure)
        recording = self.recordings[key]
        for place, leaf in zip(recording.inputs, leaves, strict=True):
            if isinstance(leaf, Tensor):
                place.copy_(leaf)
        recording.graph.replay()
        return recording.output

    def warm_up(self, key: Any, arguments: tuple[Any, ...]) -> Any:
        """An ordinary call, on the stream that will be recorded."""
        torch.cuda.synchronize()
        started = time.perf_counter()
        with torch.cuda.stream(self.stream):
            output = self.function(*arguments)
        launched = time.perf_counter()
        torch.cuda.synchronize()
        self.launch_bound[key] = launched - started > LAUNCH_BOUND * (time.perf_counter() - started)
        return output

    def record(self, leaves: list[Any], structure: Any) -> Recording:
        """The launches of a call with copies of these arguments."""
        inputs = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        graph = torch.cuda.CUDAGraph()
        gc.collect()
        gc.disable()  # another graph must not be destroyed meanwhile
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                output = self.function(*tree_unflatten(inputs, structure))
        finally:
            gc.enable()
        return Recording(graph, inputs, output)
