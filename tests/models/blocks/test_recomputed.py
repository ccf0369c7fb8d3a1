"""A residual block that is trained clip by clip."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from deepfake.models.aasist import AASIST
from deepfake.models.blocks.residual import ResidualBlock

BLOCKS: list[dict[str, Any]] = [
    {"in_channels": 1, "out_channels": 4, "first": True},
    {"in_channels": 3, "out_channels": 3},
    {"in_channels": 3, "out_channels": 5, "time_pool": 1},
]


@pytest.fixture(params=BLOCKS, ids=["first", "identity", "widened"])
def pair(request: pytest.FixtureRequest) -> tuple[ResidualBlock, ResidualBlock]:
    """A block and its twin that recomputes, in double precision."""
    torch.manual_seed(0)
    block = ResidualBlock(**request.param).double()
    for p in block.bn2.parameters():
        torch.nn.init.normal_(p)
    twin = copy.deepcopy(block)
    twin.recompute = True
    return block, twin


def trained(block: ResidualBlock, x: Tensor) -> dict[str, Tensor]:
    """Output, gradients and running statistics of a training step."""
    x = x.clone().requires_grad_()
    y = block.train()(x)
    y.sin().sum().backward()
    found = {name: p.grad for name, p in block.named_parameters() if p.requires_grad}
    return {"y": y.detach(), "x": x.grad, **found, **dict(block.bn2.named_buffers())}  # type: ignore[dict-item]


@pytest.mark.parametrize("n_frames", [5, 12, 900])  # one frame of a maximum and two left over; in several steps
def test_output_gradients_and_statistics_are_those_of_the_batch(
    pair: tuple[ResidualBlock, ResidualBlock], n_frames: int
) -> None:
    x = 3 + torch.randn(4, pair[0].conv1.in_channels, 5, n_frames, dtype=torch.float64)
    plain, recomputed = (trained(block, x) for block in pair)
    assert plain.keys() == recomputed.keys()
    for name, value in plain.items():
        torch.testing.assert_close(recomputed[name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_in_single_precision_it_is_as_exact(pair: tuple[ResidualBlock, ResidualBlock]) -> None:
    x = 3 + torch.randn(4, pair[0].conv1.in_channels, 5, 12, dtype=torch.float64)
    exact, single = trained(pair[0], x), trained(pair[1].float(), x.float())
    for name, value in exact.items():
        torch.testing.assert_close(single[name].to(value.dtype), value, rtol=1e-3, atol=1e-4, msg=name)


def test_the_gradient_is_that_of_finite_differences() -> None:
    block = ResidualBlock(1, 2, time_pool=1, first=True, recompute=True).double().train()
    x = torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,))


def test_of_the_maps_of_a_batch_only_the_place_of_each_maximum_is_kept() -> None:
    block, x = ResidualBlock(1, 16, first=True), torch.randn(4, 1, 5, 30)
    assert kept(lambda: block.train()(x)) > 3 * 4 * 16 * 5 * 30
    block.recompute = True
    assert kept(lambda: block.train()(x)) == x.numel() + 4 * 16 * 5 * 10 + 2 * 16


def kept(run: Callable[[], object]) -> int:
    """How many numbers are saved for backward."""
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(sizes)


def test_scoring_folds_the_norm_into_the_convolution() -> None:
    block = ResidualBlock(2, 3)
    for value in (*block.bn2.parameters(), *block.bn2.buffers()):
        if value.is_floating_point():
            torch.nn.init.uniform_(value, 0.5, 2.0)
    seen = {}
    block.conv2.register_forward_pre_hook(lambda _, inputs: seen.update(inner=inputs[0]))
    x = torch.randn(2, 2, 4, 9)
    block.eval()(x)
    torch.testing.assert_close(seen["inner"], torch.selu(block.bn2(block.conv1(x))), rtol=1e-5, atol=1e-5)


def test_so_many_of_the_first_blocks_of_aasist() -> None:
    network = AASIST(in_channels=1, recompute=2)
    assert [block[0].recompute for block in network.encoder] == [True, True, False, False, False, False]  # type: ignore[index]


def test_in_scoring_the_encoder_takes_clip_by_clip() -> None:
    network = AASIST(in_channels=1, channels=[2] * 6, graph_dims=[2, 2]).eval()
    seen: list[int] = []
    network.first_bn.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    x = torch.randn(3, 1, 4000)
    with torch.inference_mode():
        network(x)
    network(x.requires_grad_())  # for explanations, all together
    network.train()(x)
    assert seen == [1, 1, 1, 3, 3]
