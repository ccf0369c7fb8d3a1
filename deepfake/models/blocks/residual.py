"""The residual block of AASIST's encoder."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.models.blocks.folded_selu import GAIN, LOG2_E, SHIFT, folded_selu_
from deepfake.models.blocks.recomputed import Recomputed, trained


class ResidualBlock(nn.Module):
    """Two convolutions of 2 x 3 with a shortcut, then a maximum over neighbouring frames.

    As published (Jung et al., 2022; from RawNet2, Tak et al., 2021): the first convolution grows the rows
    by one and the second takes it back. Every block but the first has a batch norm `bn1` whose output the authors
    compute and throw away. It is not computed here, neither in training nor in evaluation, which changes no output; its
    weights stay, so that checkpoints and parameter counts agree, and are frozen: they never had a gradient, and
    data-parallel training would wait for one.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out; a 1 x 3 convolution fits the shortcut where they differ.
        time_pool: Frames of which one is kept; 1 keeps all.
        first: The encoder's first block, which has no `bn1`.
        recompute: In training on a CPU, compute clip by clip and again in backward: less memory, see `Recomputed`.

    Shape:
        `[B, in_channels, R, L]` -> `[B, out_channels, R, L // time_pool]`, with R rows
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, time_pool: int = 3, first: bool = False, recompute: bool = False
    ) -> None:
        super().__init__()
        if not first:
            self.bn1 = nn.BatchNorm2d(in_channels).requires_grad_(False)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=(2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=(2, 3), padding=(0, 1))
        self.conv_downsample: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.conv_downsample = nn.Conv2d(in_channels, out_channels, kernel_size=(1, 3), padding=(0, 1))
        self.time_pool, self.recompute = time_pool, recompute

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            mean, variance = self.bn2.running_mean, self.bn2.running_var
            assert mean is not None and variance is not None
            return self._pooled(self.mapped(x, mean, variance))
        if self.recomputes(x):
            return cast(Tensor, Recomputed.apply(x, self, *trained(self)))
        return self._pooled(self.conv2(F.selu(self.bn2(self.conv1(x)), inplace=True)) + self.conv_downsample(x))

    def recomputes(self, x: Tensor) -> bool:
        """Whether this is a training step that computes clip by clip and again in backward."""
        on_cpu = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        return self.training and self.recompute and on_cpu

    def mapped(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """What is pooled, with given statistics: the batch norm is folded into `conv1`, on a CPU SELU in part too."""
        conv, norm = self.conv1, self.bn2
        assert conv.bias is not None
        scale = norm.weight * (variance + norm.eps).rsqrt()
        weight, bias = conv.weight * scale.view(-1, 1, 1, 1), (conv.bias - mean) * scale + norm.bias
        if _plain(x):
            inner = folded_selu_(F.conv2d(x, weight * LOG2_E, bias * LOG2_E - SHIFT, padding=conv.padding))
            out = F.conv2d(inner, self.conv2.weight * GAIN, self.conv2.bias, padding=self.conv2.padding)
        else:
            out = self.conv2(F.selu(F.conv2d(x, weight, bias, padding=conv.padding), inplace=True))
        return out.add_(self.conv_downsample(x))

    def _pooled(self, out: Tensor) -> Tensor:
        return F.max_pool2d(out, (1, self.time_pool)) if self.time_pool > 1 else out  # [B, C, R, L // time_pool]


def _plain(x: Tensor) -> bool:
    """Whether numbers are all that is asked for: on a CPU, no gradient, no graph, no lower precision."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
