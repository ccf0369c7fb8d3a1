"""CUDA graphs; what a machine without a GPU can tell of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepfake import replay as replay_module
from deepfake.replay import Replay, replayed


def test_on_a_cpu_a_function_stays_as_it_is() -> None:
    network = nn.Linear(2, 1)
    assert replayed(network, network.forward) == network.forward
    assert replayed(nn.Identity(), network.forward) == network.forward


class Graph:
    """Stands for a recorded graph of `given * 2 -> found`."""

    def __init__(self, replay: Replay) -> None:
        self.kept, self.n = replay, 0

    def replay(self) -> None:
        self.n += 1
        self.kept.found[0].copy_(self.kept.given * 2)


def plain(x: Tensor) -> list[Tensor]:
    return [x + 100]


def test_it_replays_on_copies_and_calls_the_function_for_other_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    def capture(self: Replay, _: Any, x: Tensor) -> None:
        self.given, self.found = x.clone(), [torch.zeros_like(x)]
        self.graph = Graph(self)  # type: ignore[assignment]

    monkeypatch.setattr(Replay, "_capture", capture)
    replay = partial(Replay(()), plain)
    [first], [second] = replay(torch.tensor([[1.0, 2.0]])), replay(torch.tensor([[3.0, 4.0]]))
    assert first.tolist() == [[2.0, 4.0]] and second.tolist() == [[6.0, 8.0]]  # the first is not overwritten
    assert replay(torch.tensor([[1.0]]))[0].tolist() == [[101.0]]
    assert replay(torch.tensor([[1.0], [2.0]]))[0].tolist() == [[101.0], [102.0]]


def test_what_cannot_be_captured_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def stream(*_: Any) -> None:
        tries.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", stream)
    replay = partial(Replay(()), plain)
    assert [replay(torch.tensor([float(i)]))[0].item() for i in range(3)] == [100.0, 101.0, 102.0]
    assert tries == [1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_the_results_are_those_of_the_function() -> None:
    network = nn.Sequential(nn.Conv1d(1, 4, 5), nn.BatchNorm1d(4), nn.SELU()).eval().cuda()

    def function(x: Tensor) -> list[Tensor]:
        return [network(x)]

    clips = torch.randn(3, 1, 1, 50, device="cuda")
    with torch.inference_mode():
        expected = [network(x) for x in clips]
        for _ in range(2):
            for x, y in zip(clips, expected, strict=True):
                assert torch.equal(replayed(network, function)(x)[0], y)
    [replay] = [kept for module, kept in replay_module._replays.items() if module is network]
    assert replay.graph is not None
    replayed(network, function, network)(clips[0])
    assert replay_module._replays[network] is not replay  # another state, another capture
