"""The stem for features of any number of bands."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from deepfake.models.blocks.band_projection import BandProjection


@pytest.mark.parametrize("n_bands", [10, 60, 128])
def test_starts_as_an_average_of_neighbours(n_bands: int) -> None:
    stem = BandProjection(n_bands, 23)
    features = 50 * torch.randn(4, n_bands, 30) + 7
    scaled = (features - features.mean((0, 2), keepdim=True)) / features.std((0, 2), unbiased=False, keepdim=True)
    expected = F.adaptive_avg_pool2d(scaled, (23, 30))
    torch.testing.assert_close(stem(features), expected, rtol=0, atol=1e-4)
