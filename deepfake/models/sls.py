"""The classifier of SLS: the maxima of a map of frames and channels, two dense layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.models.blocks.head import Head
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.network import Network

POOL = 3  # channels of which one is kept


class SLS(Network):
    """Sensitive layer selection (Zhang, Wen and Hu, ACM Multimedia 2024): what follows the sum of the layers.

    Published on XLS-R with `features.pool=gate`, which is the sum: its 24 layers, each with a sigmoid of its mean over
    time. The features are scaled as one map, pooled to a third of the channels and to 67 stretches of time, and
    classified densely. Of the published clip's 201 frames a stretch is 3; here any duration works, since the stretches
    grow and shrink with it.

    Args:
        in_channels: Channels of the front end.
        head: `linear` (two logits, as published: of a last SELU the logarithms of both classes' probabilities, whose
            second is the authors' score) or `cosine`.
        n_stretches: Of time, of each of which the maximum is taken.
        hidden: Dimensions of the embedding.
        dropout: On the embedding.

    Shape:
        features `[B, C, L]` -> logits `[B, 2]` (index 1 is bona fide), or cosine `[B, 1]`

    Raises:
        InputError: Raw audio, or a hyper-parameter out of range.
    """

    takes = ("spectrum", "embedding")
    front_ends = "xlsr_300m_gate, wavlm_large or mel"

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        n_stretches: int = 67,
        hidden: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        require_numbers(n_stretches=n_stretches, hidden=hidden)
        super().__init__(in_channels, min_channels=POOL, dropout=dropout)
        self.n_stretches = n_stretches
        self.first_bn = nn.BatchNorm2d(1)
        self.project = nn.Linear(n_stretches * (in_channels // POOL), hidden)
        self.head = Head(hidden, head, n_outputs=2)

    def forward(self, features: Tensor) -> Tensor:
        logits = self.head(self.embed(features))
        return logits if self.head.kind == "cosine" else F.selu(logits).log_softmax(dim=1)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input, `[B, C, L]` -> `[B, hidden]`."""
        self.require_shape(features)
        x = F.selu(self.first_bn(features.transpose(1, 2).unsqueeze(1)))  # [B, 1, L, C]
        x = F.max_pool2d(x, (1, POOL)).squeeze(1)  # [B, L, C // 3]
        x = self.maxima(x)  # [B, n_stretches, C // 3]
        return self.dropout(F.selu(self.project(x.flatten(1))))

    def maxima(self, x: Tensor) -> Tensor:
        """The maximum of each stretch of time, `[B, L, D]` -> `[B, n_stretches, D]`; neighbours may share a frame."""
        n, n_frames = self.n_stretches, x.shape[1]
        if n_frames % n == 0:
            return x.unflatten(1, (n, n_frames // n)).amax(dim=2)
        ends = [(i * n_frames // n, -(-(i + 1) * n_frames // n)) for i in range(n)]
        return torch.stack([x[:, start:end].amax(dim=1) for start, end in ends], dim=1)
