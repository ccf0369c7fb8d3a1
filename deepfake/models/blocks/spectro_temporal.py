"""The graph half of AASIST: spectral and temporal nodes, joined by two branches of heterogeneous attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepfake.models.blocks.graph_attention import GraphAttention
from deepfake.models.blocks.graph_pool import GraphPool
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.stack_attention import StackAttention
from deepfake.models.network import Network


class SpectroTemporalGraphs(Network):
    """Base of the networks that make a spectral and a temporal graph of a map and read both out (Jung et al., 2022).

    Each graph attends within itself and is pooled; two parallel branches of heterogeneous attention join them, and
    their element-wise maximum is read out. A subclass calls `add_graphs` in its constructor, has an `out_layer`, and
    gives `read_out` its nodes. Attribute names are the authors', so that their weights load strictly.
    """

    out_layer: Head

    def add_graphs(
        self,
        n_rows: int,
        n_channels: int,
        *,
        dims: Sequence[int],
        pool_ratios: Sequence[float],
        temperatures: Sequence[float],
        node_dropout: float,
        pool_dropout: float,
        branch_dropout: float,
    ) -> None:
        """Make the layers of the graphs.

        Args:
            n_rows: Spectral nodes.
            n_channels: Dimensions of a node that comes in.
            dims: Dimensions of a node in the first graphs, and in the joined ones.
            pool_ratios: Fraction of nodes kept of the spectral graph, the temporal graph, and in the branches.
            temperatures: Of the attention of the same three.
            node_dropout: On the input of each attention layer.
            pool_dropout: On the input of each graph pooling's relevance.
            branch_dropout: On what each of the two branches gives.
        """
        graph, joined = dims
        attention = {"dropout": node_dropout}
        self.pos_S = nn.Parameter(torch.randn(1, n_rows, n_channels))
        self.GAT_layer_S = GraphAttention(n_channels, graph, temperature=temperatures[0], **attention)
        self.GAT_layer_T = GraphAttention(n_channels, graph, temperature=temperatures[1], **attention)
        self.pool_S = GraphPool(graph, ratio=pool_ratios[0], dropout=pool_dropout)
        self.pool_T = GraphPool(graph, ratio=pool_ratios[1], dropout=pool_dropout)

        attention["temperature"] = temperatures[2]
        pool = {"ratio": pool_ratios[2], "dropout": pool_dropout}
        for i in (1, 2):  # the two branches, by the authors' names
            self.register_parameter(f"master{i}", nn.Parameter(torch.randn(1, 1, graph)))
            self.add_module(f"HtrgGAT_layer_ST{i}1", StackAttention(graph, joined, **attention))
            self.add_module(f"pool_hS{i}", GraphPool(joined, **pool))
            self.add_module(f"pool_hT{i}", GraphPool(joined, **pool))
            self.add_module(f"HtrgGAT_layer_ST{i}2", StackAttention(joined, joined, **attention))
        self.drop_way = nn.Dropout(branch_dropout)

    def forward(self, features: Tensor) -> Tensor:
        return self.out_layer(self.embed(features))

    def read_out(self, spectral: Tensor, temporal: Tensor) -> Tensor:
        """The head's input, of nodes `[B, rows, D]` and `[B, frames, D]` -> `[B, 5 x joined]`."""
        spectral = self.pool_S(self.GAT_layer_S(spectral))
        temporal = self.pool_T(self.GAT_layer_T(temporal))
        branches = self.branch(1, temporal, spectral), self.branch(2, temporal, spectral)
        temporal, spectral, stack = map(torch.maximum, *branches)
        readout = [
            *(temporal.abs().amax(dim=1), temporal.mean(dim=1)),
            *(spectral.abs().amax(dim=1), spectral.mean(dim=1)),
            stack.squeeze(1),
        ]
        return self.dropout(torch.cat(readout, dim=1))  # [B, 5 x joined]

    def branch(self, i: int, temporal: Tensor, spectral: Tensor) -> list[Tensor]:
        """Branch 1 or 2 of heterogeneous attention: temporal nodes, spectral nodes and stack node."""
        part = self.get_submodule
        temporal, spectral, stack = part(f"HtrgGAT_layer_ST{i}1")(temporal, spectral, self.get_parameter(f"master{i}"))
        nodes = part(f"pool_hT{i}")(temporal), part(f"pool_hS{i}")(spectral), stack
        return [self.drop_way(a + b) for a, b in zip(nodes, part(f"HtrgGAT_layer_ST{i}2")(*nodes), strict=True)]
