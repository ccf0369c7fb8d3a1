"""A small convolutional network on a time-frequency picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepfake.errors import InputError
from deepfake.models.blocks.conv_block import ConvBlock
from deepfake.models.blocks.fraction import require_fraction
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.statistics import mean_and_deviation
from deepfake.models.network import Network


class CNN(Network):
    """Convolutions of 3 x 3 with batch norm, ReLU and max-pooling by two, statistics over time, one logit.

    Every block halves both axes. The mean and the standard deviation over time of each channel in each remaining row of
    bands are the embedding: any duration fits, a short artefact is not averaged away, and where in frequency it lay
    stays known. 47,185 parameters for 80 bands.

    Args:
        in_channels: Bands of the front end; at least 2 to the power of the number of blocks.
        head: `linear` (one logit) or `cosine`.
        channels: Output channels of the blocks.
        dropout: On the embedding.

    Shape:
        features `[B, C, L]` -> log-odds of bona fide `[B, 1]`

    Raises:
        InputError: Raw audio or too few bands, too few frames, or a hyper-parameter out of range.
    """

    takes = ("spectrum",)  # its convolutions slide over the bands

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        channels: Sequence[int] = (16, 32, 48, 64),
        dropout: float = 0.3,
    ) -> None:
        if not channels or min(channels) < 1:
            raise InputError(f"model.channels is {list(channels)}, wanted the positive channel counts of the blocks.")
        require_fraction("model.dropout", dropout)
        least = 2 ** len(channels)
        super().__init__(in_channels, min_channels=least, min_frames=least)
        widths = [1, *channels]
        self.blocks = nn.Sequential(*(ConvBlock(widths[i], widths[i + 1]) for i in range(len(channels))))
        self.blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster pooling on a CPU
        self.dropout = nn.Dropout(dropout)
        n_rows = in_channels // least
        self.head = Head(2 * channels[-1] * n_rows, head)

    @property
    def last_map(self) -> LastMap:
        """The last convolution after its ReLU, before its pooling."""
        pooled = self.min_frames // 2
        return LastMap(self.blocks[-1][2], bands=pooled, frames=pooled)  # type: ignore[index]

    def embed(self, features: Tensor) -> Tensor:
        """What the head is given: mean and standard deviation over time, `[B, C, L]` -> `[B, 2 x channels x rows]`."""
        self.require_shape(features)
        picture = self.blocks(features.unsqueeze(1)).flatten(1, 2)  # [B, D C / 16, L / 16]
        return self.dropout(mean_and_deviation(picture))  # [B, 2 D C / 16]
