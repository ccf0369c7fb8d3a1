"""Projection of a feature of any number of bands to the number of rows that a network expects."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BandProjection(nn.Module):
    """Bands, each brought to its own scale, then projected to a fixed number of rows.

    Batch norm per band first, because cepstral coefficients differ a hundredfold in scale; then one learned matrix over
    the bands, the same in every frame. The matrix starts as the adaptive average over neighbouring bands, so that
    the rows are ordered in frequency, which the two-dimensional convolutions after it rely on.

    Args:
        n_bands: Channels of the feature.
        n_rows: Rows that come out.

    Shape:
        features `[B, C, L]` -> rows `[B, n_rows, L]`
    """

    def __init__(self, n_bands: int, n_rows: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_bands)
        self.project = nn.Conv1d(n_bands, n_rows, kernel_size=1, bias=False)  # first_bn follows it
        with torch.no_grad():
            average = F.adaptive_avg_pool1d(torch.eye(n_bands), n_rows)  # [n_bands, n_rows]
            self.project.weight.copy_(average.T[:, :, None])

    def forward(self, features: Tensor) -> Tensor:
        return self.project(self.norm(features))  # [B, n_rows, L]
