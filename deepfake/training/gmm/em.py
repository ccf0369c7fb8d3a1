"""Expectation maximisation of a Gaussian mixture with diagonal covariances, in chunks of frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from deepfake.models.gmm import natural, statistics

CHUNK = 4096  # frames at a time
LEAST = 1e-10  # smallest count of frames of a component


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

    def rescaled(self, mean: Tensor, std: Tensor) -> Mixture:
        """The mixture of `std * x + mean` if this is the mixture of x; mean and std are `[C]`."""
        return Mixture(self.log_weights, self.means * std + mean, self.log_variances + 2 * std.log())


def standardise(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Standardise frames `[N, C]` in place, channel by channel, and return mean and standard deviation `[C]`.

    The fit does not depend on the scale of the channels, but float32 is most precise at this one. A constant channel
    becomes 0.
    """
    n = len(frames)
    mean = sum(chunk.double().sum(dim=0) for chunk in frames.split(CHUNK)) / n
    variance = sum((chunk.double() - mean).square().sum(dim=0) for chunk in frames.split(CHUNK)) / n
    std = torch.where(variance > 0, variance, 1.0).sqrt()  # type: ignore[arg-type,operator]
    for chunk in frames.split(CHUNK):
        chunk.copy_((chunk.double() - mean) / std)
    return mean, std  # type: ignore[return-value]


def initial_mixture(frames: Tensor, n_components: int, generator: torch.Generator) -> Mixture:
    """Initial mixture of VLFeat's `vl_gmm`, as in the challenges' baselines: random frames as means, global variances.

    The frames `[N, C]` are standardised; none is drawn twice.
    """
    drawn = torch.randperm(len(frames), generator=generator)[:n_components]
    means = frames[drawn].double()
    log_weights = torch.full((n_components,), -math.log(n_components), dtype=torch.float64)
    return Mixture(log_weights, means, torch.zeros_like(means))


def fit_mixture(
    frames: Tensor,
    mixture: Mixture,
    *,
    max_iterations: int,
    tolerance: float,
    variance_floor: float,
    device: str | torch.device = "cpu",
) -> Iterator[tuple[Mixture, float]]:
    """Iterations of EM (Dempster, Laird and Rubin, 1977), until the likelihood converges.

    Args:
        frames: Standardised frames `[N, C]`, on any device.
        mixture: Initial mixture.
        max_iterations: Largest number of iterations.
        tolerance: Gain in nats per frame below which the iterations end.
        variance_floor: Smallest variance of a component.
        device: Device to compute on.

    Yields:
        The mixture after each iteration, and the mean log-likelihood of a frame before it.
    """
    before = -math.inf
    for _ in range(max_iterations):
        moments, likelihood = e_step(frames, mixture, device)
        mixture = m_step(moments, variance_floor)
        yield mixture, likelihood
        if likelihood - before < tolerance:
            return
        before = likelihood


def e_step(frames: Tensor, mixture: Mixture, device: str | torch.device, chunk: int = CHUNK) -> tuple[Tensor, float]:
    """The E step: moments of the frames of each component, and the mean log-likelihood.

    Moments are summed in float32 within a chunk and in float64 over chunks.

    Args:
        frames: Standardised frames `[N, C]`.
        mixture: Mixture of K components.
        device: Device to compute on.
        chunk: Number of frames at a time.

    Returns:
        Number, sum and sum of squares of the frames of each component, `[K, 1 + 2 C]`, and the mean log-likelihood.
    """
    parameters = natural(*mixture).to(device, frames.dtype).T.contiguous()
    moments = torch.zeros(parameters.shape[::-1], dtype=torch.float64, device=device)
    likelihood = torch.zeros((), dtype=torch.float64, device=device)
    for part in frames.split(chunk):
        observed = statistics(part.to(device, non_blocking=True))  # [n, 1 + 2 C]
        joint = observed @ parameters  # [n, K]
        highest = joint.amax(dim=1, keepdim=True)
        shares = joint.sub_(highest).exp_()  # of the components, up to a factor for each frame
        total = shares.sum(dim=1, keepdim=True)
        likelihood += (highest + total.log()).sum(dtype=torch.float64)
        moments += shares.T @ (observed / total)
    return moments.cpu(), float(likelihood) / len(frames)


def m_step(moments: Tensor, variance_floor: float) -> Mixture:
    """The M step: the mixture of the highest expected likelihood with no variance below the floor."""
    n_channels = moments.shape[1] // 2
    counts = moments[:, :1].clamp(min=LEAST)
    means, squares = (moments[:, 1:] / counts).split(n_channels, dim=1)
    log_variances = (squares - means.square()).clamp(min=variance_floor).log()
    return Mixture((counts / counts.sum()).log()[:, 0], means, log_variances)
