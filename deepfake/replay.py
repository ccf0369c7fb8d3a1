"""The scoring of single clips on a GPU as one CUDA graph, since its hundreds of small kernels take longer to start."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

N_WARM_UP = 3  # calls before the capture, which allocate and choose algorithms


Function = Callable[[Tensor], Sequence[Tensor]]


class Replay:
    """A function of batches, captured at its first call with a single clip and replayed on such from then on.

    The same kernels on the same memory: the results are those of the function, bit for bit. A function that cannot be
    captured (it waits for the device, or computes elsewhere) is called as it is.

    Args:
        state: What its results depend on beside its input; another state needs another capture.
    """

    def __init__(self, state: tuple[object, ...]) -> None:
        self.state = state
        self.graph: torch.cuda.CUDAGraph | None = None
        self.failed = False
        self.given = torch.zeros(0)
        self.found: Sequence[Tensor] = ()

    def __call__(self, function: Function, x: Tensor) -> Sequence[Tensor]:
        if self.graph is None and not self.failed and len(x) == 1:
            self._capture(function, x)
        if self.graph is None or x.shape != self.given.shape:
            return function(x)
        self.given.copy_(x)
        self.graph.replay()
        return [found.clone() for found in self.found]

    def _capture(self, function: Function, x: Tensor) -> None:
        """Warm up beside the current stream, as captures need it, then record."""
        self.given, graph = x.clone(), torch.cuda.CUDAGraph()
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(N_WARM_UP):
                    function(self.given)
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.found = function(self.given)
            self.graph = graph
        except RuntimeError:
            self.failed = True


_replays: weakref.WeakKeyDictionary[nn.Module, Replay] = weakref.WeakKeyDictionary()


def replayed(module: nn.Module, function: Function, *state: object) -> Function:
    """A function of a module: on single clips replayed where the module is on a GPU, else as it is.

    Args:
        module: In eval mode. It may be moved: its weights are captured anew.
        function: Of a tensor on the module's device, without gradients.
        *state: What it depends on beside the module's weights, as objects that are replaced and not changed.
    """
    weights = next(module.parameters(), None)
    if weights is None or weights.device.type != "cuda":
        return function
    replay = _replays.get(module)
    if replay is None or replay.state != (weights.data_ptr(), *map(id, state)):
        replay = _replays[module] = Replay((weights.data_ptr(), *map(id, state)))
    return partial(replay, function)  # the replay itself must not keep the module
