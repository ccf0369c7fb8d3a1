"""Pooling that keeps the nodes of a graph that matter most."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GraphPool(nn.Module):
    """Top-k graph pooling (Gao and Ji, 2019): each node is weighted by its learned relevance, the k best stay.

    Args:
        n_features: Dimensions of a node.
        ratio: Fraction of nodes that stay, in (0, 1]; at least one does.
        dropout: Fraction of the relevance's input zeroed in training.

    Shape:
        nodes `[B, N, D]` -> nodes `[B, max(1, floor(ratio N)), D]`, most relevant first
    """

    def __init__(self, n_features: int, *, ratio: float, dropout: float = 0.3) -> None:
        super().__init__()
        self.proj = nn.Linear(n_features, 1)
        self.drop = nn.Dropout(dropout)
        self.ratio = ratio

    def forward(self, nodes: Tensor) -> Tensor:
        relevance = torch.sigmoid(self.proj(self.drop(nodes)))  # [B, N, 1]
        n_kept = max(1, int(nodes.shape[1] * self.ratio))
        kept = relevance.topk(n_kept, dim=1).indices.expand(-1, -1, nodes.shape[2])  # [B, k, D]
        return (nodes * relevance).gather(1, kept)  # [B, k, D]
