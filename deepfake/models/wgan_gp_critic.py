"""The critic of a WGAN-GP, which is a detector's network as well."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.self_attention import SelfAttention
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.blocks.statistics import mean_and_deviation
from deepfake.models.network import Network


class WGANGPCritic(Network):
    """Strided convolutions with layer norm and self-attention, statistics over time, one number.

    For a critic the number is how real the feature is, without bounds; for a detector it is the log-odds of bona fide.
    Every block, a convolution of 4 x 4 with stride 2, layer norm (not in the first) and leaky ReLU, halves both axes.
    There is no batch norm, because the gradient penalty is that of each clip by itself; layer norm is what Gulrajani et
    al. (2017, section 4) name instead. Self-attention as in SAGAN (Zhang et al., 2019). 335,746 parameters for 128
    bands.

    Args:
        in_channels: Bands of the front end; at least 2 to the power of the number of blocks.
        head: `linear` (one logit) or `cosine`.
        channels: Output channels of the blocks.
        attention_rows: Self-attention stands behind the first block whose map has at most so many rows; None for none.
        dropout: On the embedding.

    Shape:
        features `[B, C, L]` -> `[B, 1]`

    Raises:
        InputError: Raw audio or too few bands, too few frames, or a hyper-parameter out of range.
    """

    takes = ("spectrum",)  # its convolutions slide over the bands

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        channels: Sequence[int] = (32, 64, 96, 128),
        attention_rows: int | None = 16,
        dropout: float = 0.3,
    ) -> None:
        require_numbers(channels=channels)
        factor = 2 ** len(channels)
        super().__init__(in_channels, min_channels=factor, min_frames=factor, dropout=dropout)
        widths = [1, *channels]
        rows = [in_channels // 2 ** (i + 1) for i in range(len(channels))]
        small = [i for i, n in enumerate(rows) if attention_rows is not None and n <= attention_rows]
        blocks: list[nn.Module] = []
        for i in range(len(channels)):
            blocks.append(_block(widths[i], widths[i + 1], norm=i > 0))
            if small and i == small[0]:
                blocks.append(SelfAttention(widths[i + 1]))
        self.blocks = nn.Sequential(*blocks)
        self.head = Head(2 * channels[-1] * rows[-1], head)

    @property
    def last_map(self) -> LastMap:
        """The last block's output."""
        return LastMap(self.blocks[-1], bands=self.min_frames, frames=self.min_frames)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input: mean and deviation over time, `[B, C, L]` -> `[B, 2 x channels x rows]`."""
        self.require_shape(features)
        picture = self.blocks(features.unsqueeze(1)).flatten(1, 2)  # [B, D C / 16, L / 16]
        return self.dropout(mean_and_deviation(picture))


def _block(in_channels: int, out_channels: int, *, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1)]
    if norm:
        layers.append(nn.GroupNorm(1, out_channels))  # one group: layer norm over channels, rows and frames
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))
