"""The scoring of single clips on a GPU as one CUDA graph, since its hundreds of small kernels take longer to start."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

N_WARM_UP = 3  # calls before the capture, which allocate and choose algorithms


class Replay:
    """A function of batches, captured at its first call with a single clip and replayed on such from then on.

    The same kernels on the same memory: the results are those of the function, bit for bit. A function that cannot be
    captured (it waits for the device, or computes elsewhere) is called as it is.

    Args:
        function: Of a tensor on a GPU, without gradients; its weights stay where they are.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.graph: torch.cuda.CUDAGraph | None = None
        self.failed = False
        self.given, self.found = torch.zeros(0), torch.zeros(0)

    def __call__(self, x: Tensor) -> Tensor:
        if self.graph is None and not self.failed and len(x) == 1:
            self._capture(x)
        if self.graph is None or x.shape != self.given.shape:
            return self.function(x)
        self.given.copy_(x)
        self.graph.replay()
        return self.found.clone()

    def _capture(self, x: Tensor) -> None:
        """Warm up beside the current stream, as captures need it, then record."""
        self.given, graph = x.clone(), torch.cuda.CUDAGraph()
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(N_WARM_UP):
                    self.function(self.given)
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.found = self.function(self.given)
            self.graph = graph
        except RuntimeError:
            self.failed = True


_replays: weakref.WeakKeyDictionary[nn.Module, tuple[int, Replay]] = weakref.WeakKeyDictionary()


def replayed(module: nn.Module, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A function of a module: on single clips replayed where the module is on a GPU, else as it is.

    Args:
        module: In eval mode. It may be moved: its weights are captured anew.
        function: Of a tensor on the module's device.
    """
    weights = next(module.parameters(), None)
    if weights is None or weights.device.type != "cuda":
        return function
    where, replay = _replays.get(module, (0, None))
    if replay is None or where != weights.data_ptr():
        replay = Replay(function)
        _replays[module] = weights.data_ptr(), replay
    return replay
