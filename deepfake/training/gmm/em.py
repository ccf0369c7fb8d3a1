"""Expectation maximisation of a Gaussian mixture with diagonal covariances, in chunks of frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from deepfake.models.gmm import natural, statistics

CHUNK = 4096  # frames at a time
LEAST = 1e-10  # frames that a component which nothing belongs to is counted as


class Mixture(NamedTuple):
    """K Gaussians over C channels, in float64.

    Attributes:
        log_weights: Natural logarithms `[K]`.
        means: `[K, C]`.
        log_variances: Natural logarithms `[K, C]`.
    """

    log_weights: Tensor
    means: Tensor
    log_variances: Tensor

    def moved(self, mean: Tensor, std: Tensor) -> Mixture:
        """The mixture of `std * x + mean`, both `[C]`, where this is that of x."""
        return Mixture(self.log_weights, self.means * std + mean, self.log_variances + 2 * std.log())


def standardise(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Bring frames `[N, C]`, in place, to mean 0 and variance 1 per channel, and give mean and deviation `[C]`.

    The fit is the same for any scale of the channels; float32 keeps the most digits at this one. A constant channel
    becomes 0.
    """
    n = len(frames)
    mean = sum(chunk.double().sum(dim=0) for chunk in frames.split(CHUNK)) / n
    variance = sum((chunk.double() - mean).square().sum(dim=0) for chunk in frames.split(CHUNK)) / n
    std = torch.where(variance > 0, variance, 1.0).sqrt()  # type: ignore[arg-type,operator]
    for chunk in frames.split(CHUNK):
        chunk.copy_((chunk.double() - mean) / std)
    return mean, std  # type: ignore[return-value]


def from_frames(frames: Tensor, n_components: int, generator: torch.Generator) -> Mixture:
    """Where VLFeat's `vl_gmm` starts, and so the challenges' baselines: random frames as means, the variance of all.

    Frames are standardised, `[N, C]`; none is drawn twice.
    """
    drawn = torch.randperm(len(frames), generator=generator)[:n_components]
    means = frames[drawn].double()
    log_weights = torch.full((n_components,), -math.log(n_components), dtype=torch.float64)
    return Mixture(log_weights, means, torch.zeros_like(means))


def maximise(
    frames: Tensor,
    mixture: Mixture,
    *,
    max_iterations: int,
    tolerance: float,
    variance_floor: float,
    device: str | torch.device = "cpu",
) -> Iterator[tuple[Mixture, float]]:
    """Iterations of EM (Dempster, Laird and Rubin, 1977), until the likelihood grows too little.

    Args:
        frames: Standardised, `[N, C]`, anywhere.
        mixture: Where to start.
        max_iterations: At most so many.
        tolerance: In nats per frame: an iteration that began at less above the one before is the last.
        variance_floor: No variance becomes smaller.
        device: Where to compute.

    Yields:
        The mixture after each iteration, and the mean log-likelihood of a frame before it.
    """
    before = -math.inf
    for _ in range(max_iterations):
        moments, likelihood = expected(frames, mixture, device)
        mixture = maximal(moments, variance_floor)
        yield mixture, likelihood
        if likelihood - before < tolerance:
            return
        before = likelihood


def expected(frames: Tensor, mixture: Mixture, device: str | torch.device, chunk: int = CHUNK) -> tuple[Tensor, float]:
    """The E step: what belongs to each component, and the mean log-likelihood.

    Frames are counted in float32, chunk by chunk, and the chunks added up in float64.

    Args:
        frames: `[N, C]`.
        mixture: Of K components.
        device: Where to compute.
        chunk: Frames at a time.

    Returns:
        Number, sum and sum of squares of the frames of each component, `[K, 1 + 2 C]`, and the likelihood.
    """
    parameters = natural(*mixture).to(device, frames.dtype).T.contiguous()
    moments = torch.zeros(parameters.shape[::-1], dtype=torch.float64, device=device)
    likelihood = torch.zeros((), dtype=torch.float64, device=device)
    for part in frames.split(chunk):
        seen = statistics(part.to(device, non_blocking=True))  # [n, 1 + 2 C]
        joint = seen @ parameters  # [n, K]
        highest = joint.amax(dim=1, keepdim=True)
        shares = joint.sub_(highest).exp_()  # of the components, up to a factor for each frame
        total = shares.sum(dim=1, keepdim=True)
        likelihood += (highest + total.log()).sum(dtype=torch.float64)
        moments += shares.T @ (seen / total)
    return moments.cpu(), float(likelihood) / len(frames)


def maximal(moments: Tensor, variance_floor: float) -> Mixture:
    """The M step: the mixture of the highest expected likelihood with no variance below the floor."""
    n_channels = moments.shape[1] // 2
    counts = moments[:, :1].clamp(min=LEAST)
    means, squares = (moments[:, 1:] / counts).split(n_channels, dim=1)
    log_variances = (squares - means.square()).clamp(min=variance_floor).log()
    return Mixture((counts / counts.sum()).log()[:, 0], means, log_variances)
