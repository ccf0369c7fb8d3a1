"""The generator of a WGAN-GP: from noise to a time-frequency feature."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from deepfake.errors import InputError
from deepfake.models.blocks.self_attention import SelfAttention


class Generator(nn.Module):
    """A dense layer, then blocks of doubling, convolution of 3 x 3, batch norm and ReLU, and a last convolution.

    Neighbours are repeated and convolved rather than convolved with a stride, which would leave a chequerboard (Odena,
    Dumoulin and Olah, 2016). The picture is cut to its size, and has the scale of normalised features: any value.

    Args:
        noise_dim: Dimensions of the noise.
        n_bands: Bands of the picture.
        n_frames: Frames of the picture.
        channels: Output channels of the blocks; each doubles both axes.
        attention_rows: Self-attention stands behind the last block whose map has at most so many rows; None for none.

    Shape:
        noise `[B, noise_dim]` -> features `[B, n_bands, n_frames]`

    Raises:
        InputError: A hyper-parameter out of range.
    """

    def __init__(
        self,
        *,
        noise_dim: int,
        n_bands: int,
        n_frames: int,
        channels: Sequence[int] = (96, 64, 32, 16),
        attention_rows: int | None = 16,
    ) -> None:
        super().__init__()
        if min(noise_dim, len(channels), *channels) < 1:
            got = f"task.noise_dim={noise_dim}, task.generator_channels={list(channels)}"
            raise InputError(f"{got}: numbers of at least 1 were expected")
        sizes = {"noise_dim": noise_dim, "n_bands": n_bands, "n_frames": n_frames}
        self.config = {**sizes, "channels": list(channels), "attention_rows": attention_rows}
        self.n_bands = n_bands
        self.n_frames = n_frames
        factor = 2 ** len(channels)
        self.first = (channels[0], -(-n_bands // factor), -(-n_frames // factor))
        self.dense = nn.Linear(noise_dim, self.first[0] * self.first[1] * self.first[2])
        widths = [channels[0], *channels]
        rows = [self.first[1] * 2 ** (i + 1) for i in range(len(channels))]
        small = [i for i, n in enumerate(rows) if attention_rows is not None and n <= attention_rows]
        blocks: list[nn.Module] = []
        for i in range(len(channels)):
            blocks.append(_block(widths[i], widths[i + 1]))
            if small and i == small[-1]:
                blocks.append(SelfAttention(widths[i + 1]))
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Conv2d(channels[-1], 1, kernel_size=3, padding=1)

    def forward(self, noise: Tensor) -> Tensor:
        picture = self.blocks(self.dense(noise).unflatten(1, self.first))  # [B, D, at least n_bands, at least n_frames]
        return self.last(picture)[:, 0, : self.n_bands, : self.n_frames]  # [B, n_bands, n_frames]


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
