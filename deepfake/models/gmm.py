"""Two Gaussian mixtures over frames: the back end of the ASVspoof challenges' baselines."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.models.blocks.settings import require_numbers
from deepfake.models.network import Network


class GaussianMixtures(Network):
    r"""One mixture for bona fide speech, one for spoofed; the score is their log-likelihood ratio, a mean over frames.

    \[ s = \frac{1}{L} \sum_l \log p(x_l \mid \text{bona fide}) - \log p(x_l \mid \text{spoof}), \quad
       p(x) = \sum_k w_k \, \mathcal{N}(x; \mu_k, \operatorname{diag} \sigma_k^2) \]

    So score the LFCC-GMM baselines of ASVspoof 2019 and 2021 (the organisers' Matlab and Python scripts), with 512
    components each. Frames are not independent, so that their sum would be overconfident; the mean ranks, and has to be
    calibrated for likelihood ratios. The order of the frames does not matter.

    Fitted by `deepfake.training.gmm.task` (task=gmm), class by class, not by gradients; yet the score is a smooth
    function of features and parameters, so that explanations hold and training by gradients could follow.

    Args:
        in_channels: Channels of the front end, at least 2.
        n_components: Gaussians in each of the two mixtures.

    Shape:
        features `[B, C, L]` -> log-likelihood ratio `[B, 1]`, in nats per frame

    Raises:
        InputError: Raw audio, or fewer than one component.
    """

    takes = ("spectrum", "embedding")

    def __init__(self, *, in_channels: int, n_components: int = 512) -> None:
        super().__init__(in_channels, min_channels=2)
        require_numbers(n_components=n_components)
        self.n_components = n_components
        self.log_weights = nn.Parameter(torch.zeros(2, n_components))  # the first axis is the label
        self.means = nn.Parameter(torch.randn(2, n_components, in_channels))
        self.log_variances = nn.Parameter(torch.zeros(2, n_components, in_channels))

    def forward(self, features: Tensor) -> Tensor:
        spoof, bonafide = self.log_likelihoods(features).unbind(-1)
        return (bonafide - spoof).mean(dim=1, keepdim=True)

    def embed(self, features: Tensor) -> Tensor:
        """Mean log-likelihood of a frame as spoof and as bona fide, `[B, C, L]` -> `[B, 2]`."""
        return self.log_likelihoods(features).mean(dim=1)

    def log_likelihoods(self, features: Tensor) -> Tensor:
        """Of each frame under the mixtures for spoof and bona fide, `[B, C, L]` -> `[B, L, 2]`."""
        self.require_shape(features)
        with torch.autocast(features.device.type, enabled=False):
            centre = self.means.detach().mean(dim=(0, 1))  # squares of small numbers lose less
            frames = features.transpose(1, 2).to(centre.dtype) - centre
            log_weights = F.log_softmax(self.log_weights, dim=1)
            parameters = natural(log_weights, self.means - centre, self.log_variances)  # [2, K, 1 + 2 C]
            joint = statistics(frames) @ parameters.flatten(0, 1).T  # [B, L, 2 K]
            return joint.unflatten(-1, (2, -1)).logsumexp(dim=-1)

    @torch.no_grad()
    def put(self, label: int, log_weights: Tensor, means: Tensor, log_variances: Tensor) -> None:
        """Put a fitted mixture in its place: `[K]`, `[K, C]`, `[K, C]`."""
        self.log_weights[label] = log_weights.to(self.log_weights)
        self.means[label] = means.to(self.means)
        self.log_variances[label] = log_variances.to(self.log_variances)


def statistics(frames: Tensor) -> Tensor:
    """1, x and x squared, which a diagonal Gaussian's log density is linear in, `[..., C]` -> `[..., 1 + 2 C]`."""
    return torch.cat([torch.ones_like(frames[..., :1]), frames, frames.square()], dim=-1)


def natural(log_weights: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """What `statistics` are multiplied by in log(w_k N(x; mu_k, sigma_k)).

    Shape:
        `[..., K]`, `[..., K, C]`, `[..., K, C]` -> `[..., K, 1 + 2 C]`
    """
    precisions = (-log_variances).exp()
    constants = (log_variances + means.square() * precisions + math.log(2 * math.pi)).sum(dim=-1)
    first = (log_weights - constants / 2).unsqueeze(-1)
    return torch.cat([first, means * precisions, -precisions / 2], dim=-1)
