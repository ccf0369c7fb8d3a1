"""A convolutional network that scores each frame of 20 ms."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from deepfake.models.blocks.conv_blocks import ConvBlocks
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.network import FrameNetwork

FRAMES = 2  # of the front end that become one


class FrameCNN(FrameNetwork):
    """The blocks of `CNN` that keep time, dilated convolutions over it, a logit for each pair of frames.

    Every block halves the bands; the first one halves the frames, 20 ms at the usual hop of 10 ms. Dilated convolutions
    (as in WaveNet, van den Oord et al., 2016), each added to what it was given, let a frame take in its surroundings.

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

    takes = ("spectrum",)  # its convolutions slide over the bands

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
        require_numbers(width=width, dilations=dilations or (1,))
        factor = 2 ** len(channels)
        super().__init__(in_channels, min_channels=factor, min_frames=FRAMES, dropout=dropout)
        self.blocks = ConvBlocks(channels, [FRAMES] + [1] * len(channels))
        self.project = nn.Conv1d(channels[-1] * (in_channels // factor), width, 1)
        self.context = nn.ModuleList(_context(width, d) for d in dilations)
        self.head = Head(width, head)

    @property
    def last_map(self) -> LastMap:
        """The last convolution of bands and frames after its ReLU, before its pooling."""
        return LastMap(self.blocks.last_activation, bands=2 ** (len(self.blocks) - 1), frames=FRAMES)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input by frame, `[B, C, L]` -> `[B, L / 2, width]`."""
        self.require_shape(features)
        x = self.project(self.blocks(features.unsqueeze(1)).flatten(1, 2))  # [B, width, L / 2]
        for layer in self.context:
            x = x + layer(x)
        return self.dropout(x).transpose(1, 2)  # [B, L / 2, width]


def _context(width: int, dilation: int) -> nn.Sequential:
    convolution = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), convolution)
