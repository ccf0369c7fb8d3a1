"""A convolutional network that judges each frame of 20 ms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepfake.errors import InputError
from deepfake.models.blocks.conv_block import ConvBlock
from deepfake.models.blocks.extent import require_bands, require_fraction, require_frames
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap

FRAMES = 2  # of the front end that become one


class FrameCNN(nn.Module):
    """The blocks of `CNN` that keep time, dilated convolutions over it, a logit for each pair of frames.

    Every block halves the bands; the first one halves the frames, 20 ms at the usual hop of 10 ms. Dilated convolutions
    (as in WaveNet, van den Oord et al., 2016), each added to what it was given, let a frame hear its surroundings. The
    logit of the clip is the mean over frames of the *odds of spoof*, `-log(mean(exp(-x)))`: a clip is spoofed as far as
    any of it is (the rule of PartialSpoof, Zhang et al., IEEE/ACM TASLP 2023).

    Args:
        in_channels: Bands of the front end; at least 2 to the power of the number of blocks.
        head: `linear` (one logit) or `cosine`.
        channels: Output channels of the blocks.
        width: Channels over time.
        dilations: Of the convolutions over time, in frames; each has 3 taps.
        dropout: On the embedding of a frame.

    Shape:
        features `[B, C, L]` -> log-odds of bona fide `[B, 1]`

    Raises:
        InputError: Raw audio or too few bands, too few frames, or a hyper-parameter out of range.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        channels: Sequence[int] = (16, 32, 48, 64),
        width: int = 64,
        dilations: Sequence[int] = (1, 2, 4, 8),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if not channels or min([*channels, *dilations, width]) < 1:
            raise InputError("model.channels, width and dilations: positive numbers were expected.")
        require_fraction("model.dropout", dropout)
        self.min_bands = 2 ** len(channels)
        require_bands("FrameCNN", in_channels, self.min_bands)
        self.in_channels = in_channels
        widths = [1, *channels]
        pools = [(2, FRAMES)] + [(2, 1)] * (len(channels) - 1)
        self.blocks = nn.Sequential(*(ConvBlock(widths[i], widths[i + 1], pools[i]) for i in range(len(channels))))
        self.blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster pooling on a CPU
        self.project = nn.Conv1d(channels[-1] * (in_channels // self.min_bands), width, 1)
        self.context = nn.ModuleList(_context(width, d) for d in dilations)
        self.dropout = nn.Dropout(dropout)
        self.head = Head(width, head)

    @property
    def last_map(self) -> LastMap:
        """The last convolution of bands and frames after its ReLU, before its pooling."""
        return LastMap(self.blocks[-1][2], bands=self.min_bands // 2, frames=FRAMES)  # type: ignore[index]

    def forward(self, features: Tensor) -> Tensor:
        return self.pooled(self.frames(features))

    def pooled(self, frames: Tensor) -> Tensor:
        """The clip's log-odds from those of its frames, `[B, L / 2]` -> `[B, 1]`."""
        return math.log(frames.shape[1]) - torch.logsumexp(-frames, dim=1, keepdim=True)

    def frames(self, features: Tensor) -> Tensor:
        """Log-odds of bona fide by frame, `[B, C, L]` -> `[B, L / 2]`."""
        require_frames("FrameCNN", features, self.in_channels, FRAMES)
        x = self.project(self.blocks(features.unsqueeze(1)).flatten(1, 2))  # [B, width, L / 2]
        for layer in self.context:
            x = x + layer(x)
        x = self.dropout(x).transpose(1, 2)  # [B, L / 2, width]
        return self.head(x.flatten(0, 1)).view(x.shape[:2])


def _context(width: int, dilation: int) -> nn.Sequential:
    convolution = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), convolution)
