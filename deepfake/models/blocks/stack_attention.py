"""Attention over a graph of two kinds of nodes, with a stack node that gathers from all of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.models.blocks.graph_attention import attention_vector, normalise_nodes, pairwise_product


class StackAttention(nn.Module):
    """Heterogeneous stacking graph attention layer, HS-GAL (Jung et al., 2022, section 2.3).

    Temporal and spectral nodes are brought into one space and attend to one another, with an attention vector each for
    temporal pairs, spectral pairs and mixed pairs. A stack node (the authors' master) gathers from every node by an
    attention of its own, and none of them gathers from it. Attribute names are the authors'.

    Args:
        in_features: Dimensions of a node that comes in.
        out_features: Dimensions of a node that goes out.
        temperature: Divides the attention before its softmax; larger is flatter.
        dropout: Fraction of the input zeroed in training.

    Shape:
        temporal `[B, N, in_features]`, spectral `[B, M, in_features]`, stack `[1 or B, 1, in_features]` -> the same
        three with `out_features`
    """

    def __init__(self, in_features: int, out_features: int, *, temperature: float, dropout: float = 0.2) -> None:
        super().__init__()
        self.proj_type1 = nn.Linear(in_features, in_features)
        self.proj_type2 = nn.Linear(in_features, in_features)
        self.att_proj = nn.Linear(in_features, out_features)
        self.att_projM = nn.Linear(in_features, out_features)
        self.att_weight11 = attention_vector(out_features)
        self.att_weight22 = attention_vector(out_features)
        self.att_weight12 = attention_vector(out_features)
        self.att_weightM = attention_vector(out_features)
        self.proj_with_att = nn.Linear(in_features, out_features)
        self.proj_without_att = nn.Linear(in_features, out_features)
        self.proj_with_attM = nn.Linear(in_features, out_features)
        self.proj_without_attM = nn.Linear(in_features, out_features)
        self.bn = nn.BatchNorm1d(out_features)
        self.input_drop = nn.Dropout(dropout)
        self.temperature = temperature

    def forward(self, temporal: Tensor, spectral: Tensor, stack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n_temporal, n_spectral = temporal.shape[1], spectral.shape[1]
        nodes = torch.cat([self.proj_type1(temporal), self.proj_type2(spectral)], dim=1)  # [B, N + M, D]
        nodes = self.input_drop(nodes)
        gathered = self.attend(nodes, n_temporal) @ nodes
        stack = self.proj_with_attM(self.attend_stack(nodes, stack) @ nodes) + self.proj_without_attM(stack)
        nodes = self.proj_with_att(gathered) + self.proj_without_att(nodes)
        nodes = F.selu(normalise_nodes(self.bn, nodes))
        temporal, spectral = nodes.split([n_temporal, n_spectral], dim=1)
        return temporal, spectral, stack

    def attend(self, nodes: Tensor, n_temporal: int) -> Tensor:
        """Attention of every node to every node, `[B, N, D]` -> `[B, N, N]`; rows sum to one."""
        gate = torch.tanh(self.att_proj(pairwise_product(nodes)))  # [B, N, N, D]
        temporal, spectral = gate[:, :n_temporal], gate[:, n_temporal:]
        of_temporal = [temporal[:, :, :n_temporal] @ self.att_weight11, temporal[:, :, n_temporal:] @ self.att_weight12]
        of_spectral = [spectral[:, :, :n_temporal] @ self.att_weight12, spectral[:, :, n_temporal:] @ self.att_weight22]
        affinity = torch.cat([torch.cat(of_temporal, dim=2), torch.cat(of_spectral, dim=2)], dim=1)  # [B, N, N, 1]
        return F.softmax(affinity.squeeze(-1) / self.temperature, dim=-1)

    def attend_stack(self, nodes: Tensor, stack: Tensor) -> Tensor:
        """Attention of the stack node to every node, `[B, N, D]` -> `[B, 1, N]`; it sums to one."""
        affinity = torch.tanh(self.att_projM(nodes * stack)) @ self.att_weightM  # [B, N, 1]
        return F.softmax(affinity.transpose(1, 2) / self.temperature, dim=-1)
