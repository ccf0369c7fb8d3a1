"""A conformer block whose attention sees a token of each head: temporal and channel modelling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConformerBlock(nn.Module):
    """Half a feed-forward step, attention, convolution, half a feed-forward step, normalised (Gulati et al., 2020).

    The attention is that of Truong et al. (Interspeech 2024), see `HeadTokenAttention`.

    Args:
        width: Channels, a multiple of `n_heads`.
        n_heads: Of attention.
        expansion: Of the channels in feed-forward.
        conv_expansion: Of the channels in the convolution.
        kernel_size: Of the convolution, in frames.

    Shape:
        `[B, 1 + L, D]`, the class token first -> the same
    """

    def __init__(self, width: int, n_heads: int, expansion: int, conv_expansion: int, kernel_size: int) -> None:
        super().__init__()
        self.ff1 = FeedForward(width, expansion)
        self.attention = HeadTokenAttention(width, n_heads)
        self.conv = ConvolutionModule(width, conv_expansion, kernel_size)
        self.ff2 = FeedForward(width, expansion)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.ff1(x)
        x = x + self.attention(x)
        x = x + self.conv(x)
        return self.norm(x + 0.5 * self.ff2(x))


class FeedForward(nn.Module):
    """Two linear maps with a SiLU between them, of normalised input.

    Args:
        width: Channels.
        expansion: As many times the channels between the maps.

    Shape:
        `[B, N, D]` -> `[B, N, D]`
    """

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(F.silu(self.widen(self.norm(x))))


class HeadTokenAttention(nn.Module):
    """Self-attention among time steps and a token of each head's channels (Truong et al., Interspeech 2024).

    A head token is made of the mean over time of the channels that one head reads. The tokens take part in attention
    as further time steps; their mean, and the mean of the frames, is added to the class token, and they are left out.

    Args:
        width: Channels, a multiple of `n_heads`.
        n_heads: Heads, and head tokens.

    Shape:
        `[B, 1 + L, D]`, the class token first -> the same
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        own = width // n_heads
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)
        self.token_proj = nn.Linear(own, width)
        self.token_norm = nn.LayerNorm(own)
        self.token_positions = nn.Parameter(torch.zeros(1, n_heads, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        n_steps = x.shape[1]
        heads = self.qkv(torch.cat([x, self.tokens(x)], dim=1)).unflatten(2, (3, self.n_heads, -1))  # [B, N, 3, h, d]
        q, k, v = heads.transpose(1, 3).unbind(dim=2)  # [B, h, N, d] each
        x = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # [B, 1 + L + h, D]
        frames, tokens = x[:, 1:n_steps], x[:, n_steps:]
        first = x[:, :1] + tokens.mean(dim=1, keepdim=True) + frames.mean(dim=1, keepdim=True)
        return torch.cat([first, frames], dim=1)

    def tokens(self, x: Tensor) -> Tensor:
        """The token of each head, `[B, N, D]` -> `[B, h, D]`."""
        parts = self.token_proj(x.mean(dim=1).unflatten(1, (self.n_heads, -1)))  # [B, h, D]
        parts = F.gelu(self.token_norm(parts.unflatten(2, (self.n_heads, -1))))  # [B, h, h, d]
        return parts.flatten(2) + self.token_positions


class ConvolutionModule(nn.Module):
    """Convolution over time of each channel, between a gate and a linear map, of normalised input.

    Args:
        width: Channels.
        expansion: As many times the channels in between.
        kernel_size: In frames; an even one looks one frame further back than ahead.

    Shape:
        `[B, N, D]` -> `[B, N, D]`
    """

    def __init__(self, width: int, expansion: int, kernel_size: int) -> None:
        super().__init__()
        inner = expansion * width
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Conv1d(width, 2 * inner, kernel_size=1)
        self.depthwise = nn.Conv1d(inner, inner, kernel_size, groups=inner)
        self.bn = nn.BatchNorm1d(inner)
        self.narrow = nn.Conv1d(inner, width, kernel_size=1)
        self.padding = (kernel_size // 2, (kernel_size - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.widen(self.norm(x).transpose(1, 2)), dim=1)  # [B, inner, N]
        x = F.silu(self.bn(self.depthwise(F.pad(x, self.padding))))
        return self.narrow(x).transpose(1, 2)
