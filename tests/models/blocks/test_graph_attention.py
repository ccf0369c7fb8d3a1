"""The graph layers against sums written out by hand."""

from __future__ import annotations

import torch

from deepfake.models.blocks.graph_attention import GraphAttention


def test_against_loops() -> None:
    layer = GraphAttention(4, 3, temperature=2.0).eval()
    nodes = torch.randn(1, 5, 4)
    rows = []
    for i in range(5):
        affinity = [
            (torch.tanh(layer.att_proj(nodes[0, i] * nodes[0, j])) * layer.att_weight[:, 0]).sum() / 2 for j in range(5)
        ]
        attention = torch.softmax(torch.stack(affinity), dim=0)
        gathered = sum(attention[j] * nodes[0, j] for j in range(5))
        rows.append(layer.proj_with_att(gathered) + layer.proj_without_att(nodes[0, i]))
    expected = torch.selu(layer.bn(torch.stack(rows)))
    torch.testing.assert_close(layer(nodes)[0], expected)


def test_nodes_have_no_order() -> None:
    layer = GraphAttention(4, 3, temperature=2.0).eval()
    nodes = torch.randn(2, 6, 4)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(layer(nodes[:, order]), layer(nodes)[:, order])
