"""Filter-wise feature map scaling."""

from __future__ import annotations

import torch

from deepfake.models.blocks.feature_map_scaling import FeatureMapScaling


def test_formula() -> None:
    scaling, x = FeatureMapScaling(3), torch.randn(2, 3, 7)
    out = scaling(x)
    weight, bias = scaling.state_dict()["0.weight"], scaling.state_dict()["0.bias"]
    for b in range(2):
        for d in range(3):
            logit = sum(weight[d, k] * x[b, k].sum() / 7 for k in range(3)) + bias[d]
            scale = 1 / (1 + torch.exp(-logit))
            torch.testing.assert_close(out[b, d], x[b, d] * scale + scale)
