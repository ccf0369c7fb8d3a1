"""A small convolutional network on a time-frequency feature."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from deepfake.models.blocks.conv_blocks import ConvBlocks
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
        factor = 2 ** len(channels)
        super().__init__(in_channels, min_channels=factor, min_frames=factor, dropout=dropout)
        self.blocks = ConvBlocks(channels, [2] * len(channels))
        n_rows = in_channels // factor
        self.head = Head(2 * channels[-1] * n_rows, head)

    @property
    def last_map(self) -> LastMap:
        """The last convolution after its ReLU, before its pooling."""
        pooled = self.min_frames // 2
        return LastMap(self.blocks.last_activation, bands=pooled, frames=pooled)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input: mean and standard deviation over time, `[B, C, L]` -> `[B, 2 x channels x rows]`."""
        self.require_shape(features)
        picture = self.blocks(features.unsqueeze(1)).flatten(1, 2)  # [B, D C / 16, L / 16]
        return self.dropout(mean_and_deviation(picture))  # [B, 2 D C / 16]
