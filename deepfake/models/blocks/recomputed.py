"""A residual block that is trained clip by clip, with the memory of one clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from deepfake.models.blocks.residual import ResidualBlock


class Recomputed(torch.autograd.Function):
    """A `ResidualBlock` in training: no map of the batch is kept but the gradient for the input of its batch norm.

    The statistics of the batch are gathered clip by clip and merged in double precision (Chan, Golub and LeVeque,
    1983), which is more exact than the sum over the batch. Backward computes the maps again; it is the gradient through
    the statistics too (Ioffe and Szegedy, 2015), not an approximation. Cannot be differentiated twice.

    Shape:
        `[B, C, R, L]`, the block, and `trained(block)` -> the block's output
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: ResidualBlock, *parameters: Tensor) -> Tensor:
        mean, variance, n = _statistics(block.conv1(clip) for clip in x.split(1))
        _update(block.bn2, mean, variance * (n / (n - 1)))
        mean, variance = mean.to(x.dtype), variance.to(x.dtype)
        ctx.save_for_backward(x, mean, variance)
        ctx.block, ctx.n = block, n
        return torch.cat([block.after(block.conv1(clip), clip, mean, variance) for clip in x.split(1)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, variance = ctx.saved_tensors
        block, through = ctx.block, ctx.needs_input_grad[0]
        first, later = [*block.conv1.parameters()], trained(block)[2:]
        for_x = torch.zeros_like(x) if through else None
        sums, maps = [torch.zeros_like(p) for p in later], []
        for i, clip in enumerate(x.split(1)):
            inner = block.conv1(clip).requires_grad_()
            with torch.enable_grad():
                y = block.after(inner, clip := clip.detach().requires_grad_(through), mean, variance)
            found = torch.autograd.grad(y, [inner, *later, *([clip] if through else [])], gradient[i : i + 1])
            maps.append(found[0])  # as if the statistics were constant
            _add(found[1:], sums, for_x, i)

        norm = block.bn2
        of_weight, of_bias, weight, mean, variance = (
            v.view(-1, 1, 1) for v in (sums[0] / ctx.n, sums[1] / ctx.n, norm.weight, mean, variance)
        )
        inverse = (variance + norm.eps).rsqrt()
        slope = weight * inverse * inverse * of_weight
        offset = weight * inverse * of_bias - slope * mean
        first_sums = [torch.zeros_like(p) for p in first]
        for i, clip in enumerate(x.split(1)):
            with torch.enable_grad():
                inner = block.conv1(clip := clip.detach().requires_grad_(through))
            given, maps[i] = maps[i].sub_(offset).sub_(inner.detach() * slope), None
            found = torch.autograd.grad(inner, [*first, *([clip] if through else [])], given)
            _add(found, first_sums, for_x, i)
        return for_x, None, *first_sums, *sums


def trained(block: ResidualBlock) -> list[Tensor]:
    """The parameters of `Recomputed`: of `conv1`, `bn2`, `conv2` and the shortcut."""
    return [p for part in (block.conv1, block.bn2, block.conv2, block.conv_downsample) for p in part.parameters()]


def _statistics(maps: Iterable[Tensor]) -> tuple[Tensor, Tensor, int]:
    """Mean and variance of each channel over all maps `[1, C, R, L]`, and of how many numbers."""
    n, mean, squares = 0, torch.zeros(1), torch.zeros(1)
    for x in maps:
        variance, own_mean = (v.double() for v in torch.var_mean(x, dim=(0, 2, 3), correction=0))
        k = x[:, 0].numel()
        apart = own_mean - mean if n else torch.zeros_like(own_mean)
        squares = squares * bool(n) + variance * k + apart.square() * (n * k / (n + k))
        mean = (mean if n else own_mean) + apart * (k / (n + k))
        n += k
    return mean, squares / n, n


def _update(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, as batch norm does in training."""
    momentum = norm.momentum
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    assert momentum is not None
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), momentum)


def _add(found: Sequence[Tensor], sums: Sequence[Tensor], for_x: Tensor | None, i: int) -> None:
    """Add a clip's gradients, that for the clip last where there is one."""
    for total, part in zip(sums, found, strict=False):
        total += part
    if for_x is not None:
        for_x[i : i + 1] += found[-1]
