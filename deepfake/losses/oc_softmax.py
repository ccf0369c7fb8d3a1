"""One-class softmax: bona fide speech in a narrow cone, everything else outside a wider one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError

CHECK_EVERY = 100  # batches on an accelerator, where reading the scores is a synchronisation


class OCSoftmax(nn.Module):
    r"""OC-softmax (Zhang, Jiang and Duan, 2021, equation 4).

    With the cosine \(s\) between an embedding and the learned bona fide direction,

    \[ \frac{1}{N} \sum_i \log\left(1 + e^{\alpha (m_{y_i} - s_i) (-1)^{y_i}}\right) \]

    where their \(y\) is 0 for bona fide and 1 for spoof: bona fide speech is pulled above `m_real`, spoofed
    speech pushed below `m_fake`, whatever the attack. It needs the cosine head (`model.head: cosine`).

    Args:
        m_real: Cosine that bona fide speech should exceed, in [-1, 1].
        m_fake: Cosine that spoofed speech should stay below, in [-1, `m_real`].
        alpha: Scale of the cosines, positive.

    Shape:
        score `[B]` in [-1, 1], label `[B]` (1 is bona fide; between the classes after mixup) -> scalar

    Raises:
        InputError: Margins or scale out of range; a score outside [-1, 1], checked in every batch on a CPU and in
            every hundredth on an accelerator.
    """

    def __init__(self, *, m_real: float = 0.9, m_fake: float = 0.2, alpha: float = 20.0) -> None:
        super().__init__()
        if not -1 <= m_fake <= m_real <= 1 or alpha <= 0:
            raise InputError(
                f"loss.m_real={m_real}, m_fake={m_fake}, alpha={alpha}: -1 <= m_fake <= m_real <= 1 and a positive "
                "alpha were expected"
            )
        self.m_real = m_real
        self.m_fake = m_fake
        self.alpha = alpha
        self.n_batches = 0

    def forward(self, score: Tensor, label: Tensor) -> Tensor:
        if score.device.type == "cpu" or self.n_batches % CHECK_EVERY == 0:
            self._require_cosine(score)
        self.n_batches += 1
        of_bonafide = F.softplus(self.alpha * (self.m_real - score))  # [B]
        of_spoof = F.softplus(self.alpha * (score - self.m_fake))
        return (label * of_bonafide + (1 - label) * of_spoof).mean()

    def _require_cosine(self, score: Tensor) -> None:
        largest = score.detach().abs().max().item()
        if largest > 1.01:  # half precision may round a cosine a little above one
            raise InputError(
                f"loss=oc_softmax, a score of size {largest:.3g}: a cosine in [-1, 1] was expected; set "
                "model.head=cosine or use another loss"
            )
