"""Scaling of features to zero mean and unit variance, per channel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deepfake.errors import InputError

MODES = ("none", "utterance", "train_stats")
MIN_STD = 1e-5  # a constant channel is not blown up


class Normalise(nn.Module):
    """Subtract a mean and divide by a standard deviation per channel, or do nothing.

    Args:
        mode: `none`; `utterance`: mean and deviation over the frames of each clip; `train_stats`: over all frames of
            the training partition, gathered by `update`, fixed by `finish`, and saved with the weights.
        n_channels: Channels (bands, coefficients) of the feature.

    Shape:
        `[B, C, L]` -> `[B, C, L]`

    Raises:
        InputError: An unknown mode; used as `train_stats` before it was fitted.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, mode: str, n_channels: int) -> None:
        super().__init__()
        if mode not in MODES:
            raise InputError(f"features.normalise={mode}: one of {', '.join(MODES)} was expected")
        self.mode = mode
        self._ready = mode != "train_stats"  # as a plain bool: a look at a tensor would stall the GPU in each step
        self._count = 0
        self._sum_mean = torch.zeros(n_channels, dtype=torch.float64)
        self._sum_squares = torch.zeros(n_channels, dtype=torch.float64)
        if mode == "train_stats":
            self.register_buffer("mean", torch.zeros(n_channels))
            self.register_buffer("std", torch.ones(n_channels))
            self.register_buffer("fitted", torch.tensor(False))

    def forward(self, features: Tensor) -> Tensor:
        if self.mode == "none":
            return features
        if self.mode == "utterance":
            std, mean = torch.std_mean(features, dim=-1, keepdim=True, correction=0)  # [B, C, 1]
            return (features - mean) / std.clamp(min=MIN_STD)
        if not self._ready:
            raise InputError(
                "features.normalise=train_stats, but its statistics are not fitted: train first, or load a detector "
                "trained with it"
            )
        return (features - self.mean[:, None]) / self.std[:, None]

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Add the frames of a batch `[B, C, L]` to the statistics; one pass over the partition, in float64.

        Mean and sum of squared deviations of two sets are merged exactly (Chan, Golub and LeVeque, 1979), so that
        nothing cancels and the batches need not be of one size.
        """
        frames = features.detach().to("cpu", torch.float64).transpose(0, 1).flatten(1)  # [C, B * L]
        n = frames.shape[1]
        if n == 0:
            return
        mean = frames.mean(dim=1)
        gap = mean - self._sum_mean
        total = self._count + n
        self._sum_squares += (frames - mean[:, None]).square().sum(dim=1) + gap.square() * (self._count * n / total)
        self._sum_mean += gap * (n / total)
        self._count = total

    def finish(self) -> None:
        """Fix the statistics of all frames given to `update`.

        Raises:
            InputError: Another mode than `train_stats`, or no frames, or frames that are not finite.
        """
        if self.mode != "train_stats":
            raise InputError(f"features.normalise={self.mode} has no statistics to fit; train_stats has")
        variance = self._sum_squares / max(self._count, 1)
        if self._count == 0 or not variance.isfinite().all():
            raise InputError(
                f"features.normalise=train_stats, {self._count} frames: finite frames were expected; check the "
                "training partition"
            )
        self.mean.copy_(self._sum_mean)
        self.std.copy_(variance.sqrt().clamp(min=MIN_STD))
        self.fitted.fill_(True)
        self._ready = True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.mode == "train_stats":
            self._ready = bool(self.fitted)
