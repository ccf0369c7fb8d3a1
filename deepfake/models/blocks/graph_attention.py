"""Attention over the nodes of a fully connected graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GraphAttention(nn.Module):
    r"""Graph attention layer (Jung et al., 2022, section 2.2; after Velickovic et al., 2018).

    A pair of nodes attends by the element-wise product of the two, \(\tanh(W (x_i \odot x_j))^\top a / \tau\), softmax
    over \(j\); a node becomes its projection plus the projection of what it attends to. Attribute names are the
    authors', so that their checkpoints load.

    Args:
        in_features: Dimensions of a node that comes in.
        out_features: Dimensions of a node that goes out.
        temperature: Divides the attention before its softmax; larger is flatter.
        dropout: Fraction of the input zeroed in training.

    Shape:
        nodes `[B, N, in_features]` -> nodes `[B, N, out_features]`
    """

    def __init__(self, in_features: int, out_features: int, *, temperature: float, dropout: float = 0.2) -> None:
        super().__init__()
        self.att_proj = nn.Linear(in_features, out_features)
        self.att_weight = attention_vector(out_features)
        self.proj_with_att = nn.Linear(in_features, out_features)
        self.proj_without_att = nn.Linear(in_features, out_features)
        self.bn = nn.BatchNorm1d(out_features)
        self.input_drop = nn.Dropout(dropout)
        self.temperature = temperature

    def forward(self, nodes: Tensor) -> Tensor:
        nodes = self.input_drop(nodes)
        affinity = torch.tanh(self.att_proj(pairwise_product(nodes))) @ self.att_weight  # [B, N, N, 1]
        attention = F.softmax(affinity.squeeze(-1) / self.temperature, dim=-1)  # [B, N, N]
        nodes = self.proj_with_att(attention @ nodes) + self.proj_without_att(nodes)  # [B, N, D]
        return F.selu(normalise_nodes(self.bn, nodes))


def attention_vector(n_features: int) -> nn.Parameter:
    """The learned vector that turns a gated pair of nodes into one number, `[n_features, 1]`, Xavier-normal."""
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(n_features, 1)))


def pairwise_product(nodes: Tensor) -> Tensor:
    """Element-wise product of every node with every other, `[B, N, D]` -> `[B, N, N, D]`."""
    return nodes[:, :, None] * nodes[:, None]


def normalise_nodes(norm: nn.BatchNorm1d, nodes: Tensor) -> Tensor:
    """Batch norm whose statistics run over the batch and its nodes alike, `[B, N, D]` -> `[B, N, D]`."""
    return norm(nodes.flatten(0, 1)).view_as(nodes)
