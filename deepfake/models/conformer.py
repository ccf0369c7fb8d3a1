"""A conformer whose class token gathers the evidence of all frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.models.blocks.conformer import ConformerBlock
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.network import Network


class Conformer(Network):
    """Conformer blocks with a class token and head tokens, as in DF_Arena (Kulkarni et al., 2025).

    Rosello et al. (Interspeech 2023) put a conformer with a class token on XLS-R, Truong et al. (Interspeech 2024) gave
    its attention head tokens; DF_Arena has it at the width of XLS-R itself, on the gated sum of all its states
    (`features.layers=hidden_states`, `features.pool=attention`). The features are scaled as one map, get positions,
    and the class token after the last block is the embedding.

    Args:
        in_channels: Channels of the front end.
        head: `linear` (two logits, as published) or `cosine`.
        width: Channels of the blocks after a learned projection; None for those of the front end, without one.
        n_blocks: Blocks.
        n_heads: Heads of attention, and head tokens; the width is a multiple of it.
        expansion: Of the channels in feed-forward.
        conv_expansion: Of the channels in the convolution.
        kernel_size: Of the convolution, in frames.
        n_positions: Most frames of a clip.
        dropout: On the embedding.

    Shape:
        features `[B, C, L]` -> logits `[B, 2]` (index 1 is bona fide), or cosine `[B, 1]`

    Raises:
        InputError: Raw audio, a hyper-parameter out of range, or a clip of more frames than there are positions.
    """

    takes = ("spectrum", "embedding")
    front_ends = "xlsr_300m_attention, wavlm_large or mel"

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        width: int | None = None,
        n_blocks: int = 4,
        n_heads: int = 4,
        expansion: int = 4,
        conv_expansion: int = 2,
        kernel_size: int = 31,
        n_positions: int = 10_000,
        dropout: float = 0.0,
    ) -> None:
        channels = in_channels if width is None else width
        sizes = {"n_blocks": n_blocks, "n_heads": n_heads, "expansion": expansion, "conv_expansion": conv_expansion}
        require_numbers(width=channels, kernel_size=kernel_size, n_positions=n_positions, **sizes)
        super().__init__(in_channels, dropout=dropout)
        if channels % n_heads:
            raise InputError(
                f"model.width={width}: a multiple of model.n_heads={n_heads} was expected, not {channels}; set "
                f"model.width={channels // n_heads * n_heads or n_heads}"
            )
        self.project = None if width is None else nn.Linear(in_channels, width)
        self.first_bn = nn.BatchNorm2d(1)
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(n_positions, channels)[None])
        self.class_token = nn.Parameter(torch.rand(1, channels))
        own = (n_heads, expansion, conv_expansion, kernel_size)
        self.blocks = nn.ModuleList(ConformerBlock(channels, *own) for _ in range(n_blocks))
        self.head = Head(channels, head, n_outputs=2)

    def embed(self, features: Tensor) -> Tensor:
        """The class token after all blocks, the head's input, `[B, C, L]` -> `[B, width]`."""
        self.require_shape(features)
        n_frames, most = features.shape[2], self.positions.shape[1]
        if n_frames > most:
            raise InputError(f"Conformer, {n_frames} frames: at most model.n_positions={most} were expected")
        x = features.transpose(1, 2)
        x = x if self.project is None else self.project(x)
        x = F.selu(self.first_bn(x.unsqueeze(1))).squeeze(1) + self.positions[:, :n_frames]  # [B, L, D]
        x = torch.cat([self.class_token.expand(x.shape[0], 1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.dropout(x[:, 0])


def sinusoids(n: int, dim: int) -> Tensor:
    """Positions as sines and cosines in turn (Vaswani et al., 2017), `[n, dim]`."""
    even = torch.arange(dim, dtype=torch.float64) // 2 * 2
    angles = torch.arange(n, dtype=torch.float64)[:, None] * 10_000 ** (-even / dim)
    return torch.where(torch.arange(dim) % 2 == 0, angles.sin(), angles.cos()).float()
