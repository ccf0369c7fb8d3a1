"""Nes2Net-X: nested Res2Nets on the frames of a self-supervised front end."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.network import Network

POOLS = ("mean", "attentive")
ATTENTION = 128  # dimensions of attentive statistics


class Nes2NetX(Network):
    """Nested Res2Net (Liu et al., IEEE TIFS 2025), version X: 512,039 parameters on the 1,024 channels of XLS-R.

    The channels are split into groups, without a projection to fewer. The first group goes through a Res2Net block,
    whose output is added to the second group, and so on; the last group stays as it is. Published on the last layer of
    XLS-R with 64,600 samples, not scaled, and all weights trained.

    Args:
        in_channels: Channels of the front end; zeros fill them up to a multiple of groups and slices.
        head: `linear` (two logits, as published) or `cosine`.
        n_groups: Groups of channels.
        n_slices: Slices that a group is split into within its block.
        dilation: Frames between the taps of the convolutions.
        se_ratio: Channels of a group for one in the middle of its squeeze and excitation.
        pool: Over time: `mean`, or `attentive` (weighted mean and deviation, Okabe et al., Interspeech 2018).
        dropout: On the embedding.

    Shape:
        features `[B, C, L]` -> logits `[B, 2]` (index 1 is bona fide), or cosine `[B, 1]`

    Raises:
        InputError: Raw audio, or a hyper-parameter out of range.
    """

    takes = ("spectrum", "embedding")
    front_ends = "xlsr_300m_last, wavlm_large or mel"

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        n_groups: int = 8,
        n_slices: int = 8,
        dilation: int = 2,
        se_ratio: int = 1,
        pool: str = "mean",
        dropout: float = 0.0,
    ) -> None:
        require_numbers(n_groups=n_groups, n_slices=n_slices, lowest=2)
        require_numbers(dilation=dilation, se_ratio=se_ratio)
        if pool not in POOLS:
            raise InputError(f"model.pool={pool}: one of {', '.join(POOLS)} was expected")
        super().__init__(in_channels, dropout=dropout)
        step = n_groups * n_slices
        width = -(-in_channels // step) * n_slices  # of a group
        self.n_groups, self.n_filled = n_groups, n_groups * width
        self.blocks = nn.ModuleList(Res2Block(width, n_slices, dilation, se_ratio) for _ in range(n_groups - 1))
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(n_groups - 1))
        self.bn = nn.BatchNorm1d(self.n_filled)
        self.pooling = AttentiveStatistics(self.n_filled) if pool == "attentive" else None
        self.head = Head(self.n_filled * (2 if self.pooling else 1), head, n_outputs=2)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input, `[B, C, L]` -> `[B, C]`, or `[B, 2 C]` of attentive statistics."""
        self.require_shape(features)
        x = F.pad(features, (0, 0, 0, self.n_filled - self.in_channels))
        groups = x.chunk(self.n_groups, dim=1)
        out: list[Tensor] = []
        for group, block, norm in zip(groups, self.blocks, self.bns, strict=False):
            out.append(norm(F.relu(block(group + out[-1] if out else group))))
        x = F.relu(self.bn(torch.cat([*out, groups[-1]], dim=1)))
        return self.dropout(self.pooling(x) if self.pooling else x.mean(dim=2))


class Res2Block(nn.Module):
    """A residual block whose channels see more and more time, slice by slice (after Res2Net, Gao et al., 2021).

    Version X keeps every slice that joined on an axis of its own, and lets learned weights sum over it.

    Args:
        width: Channels, a multiple of the slices.
        n_slices: Slices; the last is left out of the convolutions but for starting them.
        dilation: Frames between the taps of the convolutions.
        se_ratio: Channels for one in the middle of squeeze and excitation.

    Shape:
        `[B, width, L]` -> `[B, width, L]`
    """

    def __init__(self, width: int, n_slices: int, dilation: int, se_ratio: int) -> None:
        super().__init__()
        own = width // n_slices
        self.conv1 = nn.Conv1d(width, width, kernel_size=1)
        self.bn1 = nn.BatchNorm1d(width)
        self.convs = nn.ModuleList(
            nn.Conv2d(own, own, kernel_size=(3, 1), dilation=(dilation, 1), padding=(dilation, 0))
            for _ in range(n_slices - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(own) for _ in range(n_slices - 1))
        self.weighted_sum = nn.ParameterList(torch.ones(1, 1, 1, j + 2) / (j + 2) for j in range(n_slices - 1))
        self.conv3 = nn.Conv1d(width, width, kernel_size=1)
        self.bn3 = nn.BatchNorm1d(width)
        middle = max(1, width // se_ratio)
        self.squeeze = nn.Conv1d(width, middle, kernel_size=1)
        self.excite = nn.Conv1d(middle, width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        slices = self.bn1(F.relu(self.conv1(x))).chunk(len(self.convs) + 1, dim=1)
        stack, out = slices[-1].unsqueeze(3), []  # [B, D, L, 1]
        for part, conv, norm, weights in zip(slices, self.convs, self.bns, self.weighted_sum, strict=False):
            stack = norm(F.relu(conv(torch.cat([stack, part.unsqueeze(3)], dim=3))))  # [B, D, L, j + 2]
            out.append((stack * weights).sum(dim=3))
        y = self.bn3(F.relu(self.conv3(torch.cat([*out, slices[-1]], dim=1))))
        gate = self.excite(F.relu(self.squeeze(y.mean(dim=2, keepdim=True)))).sigmoid()  # [B, width, 1]
        return y * gate + x


class AttentiveStatistics(nn.Module):
    """Mean and deviation over time with a learned weight for each channel and frame.

    Args:
        n_channels: Channels.

    Shape:
        `[B, D, L]` -> `[B, 2 D]`
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Conv1d(n_channels, ATTENTION, kernel_size=1)
        self.linear2 = nn.Conv1d(ATTENTION, n_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.linear2(self.linear1(x).tanh()).softmax(dim=2)
        mean = (weights * x).sum(dim=2)
        variance = (weights * x.square()).sum(dim=2) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-10).sqrt()], dim=1)
