"""Heterogeneous attention with its stack node."""

from __future__ import annotations

import torch

from deepfake.models.blocks.stack_attention import StackAttention


def test_attention_uses_the_vector_of_the_pair_s_kinds() -> None:
    layer = StackAttention(4, 3, temperature=1.5).eval()
    nodes = torch.randn(1, 5, 4)  # two temporal, three spectral
    attention = layer.attend(nodes, n_temporal=2)[0]
    vectors = {2: layer.att_weight11, 1: layer.att_weight12, 0: layer.att_weight22}
    for i in range(5):
        affinity = [
            (torch.tanh(layer.att_proj(nodes[0, i] * nodes[0, j])) @ vectors[(i < 2) + (j < 2)]) / 1.5 for j in range(5)
        ]
        torch.testing.assert_close(attention[i], torch.softmax(torch.cat(affinity), dim=0))


def test_shapes_and_one_way_stack_node() -> None:
    layer = StackAttention(4, 3, temperature=100.0).eval()
    temporal, spectral, stack = torch.randn(2, 7, 4), torch.randn(2, 5, 4), torch.randn(1, 1, 4)
    out = layer(temporal, spectral, stack)
    assert [list(x.shape) for x in out] == [[2, 7, 3], [2, 5, 3], [2, 1, 3]]
    other = layer(temporal, spectral, stack + 1)
    assert torch.equal(out[0], other[0])
    assert torch.equal(out[1], other[1])
    assert not torch.allclose(out[2], other[2])


def test_stack_node_gathers_by_attention() -> None:
    layer = StackAttention(4, 3, temperature=2.0).eval()
    nodes, stack = torch.randn(1, 5, 4), torch.randn(1, 1, 4)
    affinity = torch.tanh(layer.att_projM(nodes[0] * stack[0])) @ layer.att_weightM / 2
    torch.testing.assert_close(layer.attend_stack(nodes, stack)[0, 0], torch.softmax(affinity[:, 0], dim=0))
