"""Gradient penalty: norms of the critic's gradient between real and generated features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_norms(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    r"""Norm of the critic's gradient at points between real and fake (Gulrajani et al., 2017, algorithm 1).

    \(\lVert \nabla_{\hat x} D(\hat x) \rVert_2\) with \(\hat x = \epsilon x + (1 - \epsilon) \tilde x\). The penalty is
    the mean of its squared distance from 1. The norm can be differentiated again. It is computed in float32 at least,
    even under autocast: the penalty is a small difference, which half precision would round away.

    Args:
        critic: Critic, each output of which depends on its own input alone.
        real: Real features \(x\).
        fake: Generated features \(\tilde x\), as many.
        epsilon: Share of the real features, from 0 to 1.

    Shape:
        real, fake `[B, C, L]`, epsilon `[B]` -> `[B]`
    """
    with torch.autocast(real.device.type, enabled=False):
        dtype = torch.promote_types(real.dtype, torch.float32)
        share = epsilon.to(dtype)[:, None, None]
        between = (share * real.to(dtype) + (1 - share) * fake.to(dtype)).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return gradient.flatten(1).norm(dim=1)
