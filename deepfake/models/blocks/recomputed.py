"""A residual block that is trained clip by clip, with the memory of one clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

if TYPE_CHECKING:
    from deepfake.models.blocks.residual import ResidualBlock

N_ROWS = 4096  # rows of a map whose statistics are taken at once: they stay in the cache


class Recomputed(torch.autograd.Function):
    """A `ResidualBlock` in training: of the batch's maps only the output is kept, and which frame each maximum is.

    The statistics of the batch are gathered clip by clip and merged in double precision (Chan, Golub and LeVeque,
    1983), which is more exact than the sum over the batch. Backward computes the first convolution again; it is the
    gradient through the statistics too (Ioffe and Szegedy, 2015), not an approximation. Cannot be differentiated twice.

    Clips are computed in the layout of channels last, in which a maximum over frames is 10 times faster.

    Shape:
        `[B, C, R, L]`, the block, and `trained(block)` -> the block's output
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: ResidualBlock, *parameters: Tensor) -> Tensor:
        mean, variance, n = _statistics(block.conv1(clip) for clip in _clips(x))
        _update(block.bn2, mean, variance * (n / (n - 1)))
        mean, variance = mean.to(x.dtype), variance.to(x.dtype)
        shape = len(x), block.conv2.out_channels, x.shape[2], x.shape[3] // block.time_pool
        largest = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        which = torch.empty_like(largest, dtype=torch.uint8)
        for i, clip in enumerate(_clips(x)):
            _pool(block.mapped(clip, mean, variance), block.time_pool, largest[i : i + 1], which[i : i + 1])
        ctx.save_for_backward(x, which, mean, variance)
        ctx.block, ctx.n = block, n
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, which, mean, variance = ctx.saved_tensors
        block, through = ctx.block, ctx.needs_input_grad[0]
        parameters, norm = trained(block), block.bn2
        for_x = torch.empty_like(x, memory_format=torch.channels_last) if through else None
        sums = [torch.zeros_like(p) for p in parameters]
        for i, clip in enumerate(_clips(x)):  # as if the statistics were constant
            given = _unpooled(gradient[i : i + 1], which[i : i + 1], block.time_pool, x.shape[3])
            with torch.enable_grad():
                inner = block.conv1(clip.requires_grad_(through))
                out = F.batch_norm(inner, mean, variance, norm.weight, norm.bias, training=False, eps=norm.eps)
                out = F.selu(out, inplace=True)
            for_out, *later = _convolution_backward(block.conv2, out.detach(), given)
            found = torch.autograd.grad(out, [*parameters[:4], *([clip] if through else [])], for_out)
            shortcut, *last = _convolution_backward(block.conv_downsample, clip.detach(), given)
            _add([*found[:4], *later, *last], sums)
            if for_x is not None:
                for_x[i : i + 1] = found[4].add_(shortcut)

        of_weight, of_bias, weight, mean, variance = (
            v.view(-1, 1, 1) for v in (sums[2] / ctx.n, sums[3] / ctx.n, norm.weight, mean, variance)
        )
        inverse = (variance + norm.eps).rsqrt()
        slope = weight * inverse * inverse * of_weight
        offset = weight * inverse * of_bias - slope * mean
        for i, clip in enumerate(_clips(x)):  # through the statistics
            with torch.enable_grad():
                inner = block.conv1(clip.requires_grad_(through))
            given = torch.addcmul(offset, inner.detach(), slope).neg_()
            found = torch.autograd.grad(inner, [*parameters[:2], *([clip] if through else [])], given)
            _add(found[:2], sums[:2])
            if for_x is not None:
                for_x[i : i + 1] += found[2]
        return for_x, None, *sums


def trained(block: ResidualBlock) -> list[Tensor]:
    """The parameters of `Recomputed`: of `conv1`, `bn2`, `conv2` and the shortcut."""
    return [p for part in (block.conv1, block.bn2, block.conv2, block.conv_downsample) for p in part.parameters()]


def _statistics(maps: Iterable[Tensor]) -> tuple[Tensor, Tensor, int]:
    """Mean and variance of each channel over all maps `[1, C, R, L]`, channels last, and of how many numbers."""
    found = [_moments(piece) for x in maps for piece in x.permute(0, 2, 3, 1).flatten(0, 2).split(N_ROWS)]
    counts, means, squares = (torch.stack(parts).double() for parts in zip(*found, strict=True))  # [pieces, C]
    n = counts.sum()
    mean = (counts * means).sum(dim=0) / n
    return mean, (squares + counts * (means - mean).square()).sum(dim=0) / n, int(n)


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Number, mean and sum of squares about the mean, of each column of `[N, C]`."""
    mean = x.mean(dim=0)
    return torch.tensor([len(x)]), mean, (x - mean).square_().sum(dim=0)


def _update(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, as batch norm does in training."""
    momentum = norm.momentum
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    assert momentum is not None
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), momentum)


def _add(found: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
    """Add a clip's gradients."""
    for total, part in zip(sums, found, strict=True):
        total += part


def _clips(x: Tensor) -> Iterator[Tensor]:
    """Each clip, channels last."""
    for clip in x.detach().split(1):  # of one channel, `contiguous` would leave the strides as they are
        yield clip.clone(memory_format=torch.channels_last) if x.shape[1] == 1 else _channels_last(clip)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _pool(x: Tensor, size: int, largest: Tensor, which: Tensor) -> None:
    """The largest of each `size` frames and its place among them, `[1, C, R, L]` -> twice `[1, C, R, L // size]`."""
    parts = x[..., : largest.shape[3] * size].unflatten(3, (-1, size)).unbind(4)
    largest.copy_(parts[0])
    which.zero_()
    for i, part in enumerate(parts[1:], 1):
        torch.maximum(which, (part > largest).view(torch.uint8).mul_(i), out=which)
        torch.maximum(largest, part, out=largest)


def _unpooled(gradient: Tensor, which: Tensor, size: int, n_frames: int) -> Tensor:
    """The gradient of `_pool`, `[1, C, R, L // size]` -> `[1, C, R, n_frames]`."""
    n_pooled = gradient.shape[3] * size
    shape = *gradient.shape[:3], n_frames
    full = torch.empty(shape, dtype=gradient.dtype, memory_format=torch.channels_last)
    whole, zero = full[..., :n_pooled].unflatten(3, (-1, size)), gradient.new_zeros(())
    for i in range(size):
        torch.where(which == i, gradient, zero, out=whole[..., i])
    full[..., n_pooled:] = 0
    return full


def _convolution_backward(conv: nn.Module, x: Tensor, given: Tensor) -> tuple[Tensor, ...]:
    """Gradients for input, weight and bias; for the input alone where the shortcut is no convolution."""
    if not isinstance(conv, nn.Conv2d):
        return (given,)
    settings = conv.stride, conv.padding, conv.dilation, False, (0, 0), 1
    return torch.ops.aten.convolution_backward(
        given, x, conv.weight, [conv.out_channels], *settings, (True, True, True)
    )
