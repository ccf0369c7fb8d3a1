"""Top-k pooling of nodes."""

from __future__ import annotations

import pytest
import torch

from deepfake.models.blocks.graph_pool import GraphPool


def test_keeps_the_most_relevant_weighted_by_their_relevance() -> None:
    pool = GraphPool(3, ratio=0.5).eval()
    nodes = torch.randn(2, 7, 3)
    kept = pool(nodes)
    assert kept.shape == (2, 3, 3)
    for b in range(2):
        relevance = torch.sigmoid(pool.proj(nodes[b]))[:, 0]
        best = sorted(range(7), key=lambda i: -relevance[i].item())[:3]
        expected = torch.stack([relevance[i] * nodes[b, i] for i in best])
        torch.testing.assert_close(kept[b], expected)


@pytest.mark.parametrize(("n_nodes", "n_kept"), [(1, 1), (2, 1), (23, 9), (29, 11)])
def test_number_kept(n_nodes: int, n_kept: int) -> None:
    assert GraphPool(3, ratio=0.4)(torch.randn(1, n_nodes, 3)).shape[1] == n_kept
