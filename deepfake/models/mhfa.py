"""MHFA: heads of attention over time, of keys and values that weigh the layers of a front end each their way."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.models.blocks.head import Head
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.network import Network


class MHFA(Network):
    """Multi-head factorised attentive pooling (Peng et al., SLT 2022), as WeDefense uses it for spoofing.

    Keys and values are learned means over the layers, each compressed; a head is a weight of every frame by its key,
    and the mean of the values with these weights; the heads together become an embedding. Published on all layers of
    WavLM (`features.pool=none`); a front end that hands over one layer works as well. Each frame is centred over its
    channels first, as in WeDefense.

    Args:
        in_channels: Channels of the front end, of all layers together.
        n_layers: Layers among them.
        head: `linear` (two logits, as published) or `cosine`.
        n_heads: Heads of attention.
        compression: Channels of keys and values.
        embedding: Dimensions of the embedding.
        dropout: On the embedding.

    Shape:
        features `[B, C, L]` -> logits `[B, 2]` (index 1 is bona fide), or cosine `[B, 1]`

    Raises:
        InputError: Raw audio, or a hyper-parameter out of range.
    """

    takes = ("spectrum", "embedding")
    layered = True
    front_ends = "wavlm_base_plus_layers, xlsr_300m or mel"

    def __init__(
        self,
        *,
        in_channels: int,
        n_layers: int = 1,
        head: str = "linear",
        n_heads: int = 32,
        compression: int = 128,
        embedding: int = 256,
        dropout: float = 0.0,
    ) -> None:
        require_numbers(n_heads=n_heads, compression=compression, embedding=embedding, n_layers=n_layers)
        super().__init__(in_channels, dropout=dropout)
        dim = in_channels // n_layers
        self.weights_k = nn.Parameter(torch.ones(n_layers))
        self.weights_v = nn.Parameter(torch.ones(n_layers))
        self.cmp_linear_k = nn.Linear(dim, compression)
        self.cmp_linear_v = nn.Linear(dim, compression)
        self.att_head = nn.Linear(compression, n_heads)
        self.pooling_fc = nn.Linear(n_heads * compression, embedding)
        self.norm = nn.BatchNorm1d(embedding)
        self.head = Head(embedding, head, n_outputs=2)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input, `[B, C, L]` -> `[B, embedding]`."""
        self.require_shape(features)
        x = features.unflatten(1, (len(self.weights_k), -1)).transpose(2, 3)  # [B, N, L, D]
        pooled = self.pool(x - x.mean(dim=3, keepdim=True))
        return self.dropout(F.relu(self.norm(pooled)))

    def pool(self, x: Tensor) -> Tensor:
        """All heads' weighted means as one embedding, `[B, N, L, D]` of N layers -> `[B, embedding]`."""
        keys = self.cmp_linear_k(torch.einsum("n,bnld->bld", self.weights_k.softmax(dim=0), x))
        values = self.cmp_linear_v(torch.einsum("n,bnld->bld", self.weights_v.softmax(dim=0), x))
        attention = self.att_head(keys).softmax(dim=1)  # [B, L, heads]
        heads = attention.transpose(1, 2) @ values  # [B, heads, compression]
        return self.pooling_fc(heads.flatten(1))
