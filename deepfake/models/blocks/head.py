"""The last layer of every network: an embedding becomes logits."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError

KINDS = ("linear", "cosine")


class Head(nn.Linear):
    r"""Linear logits, or the cosine to one learned direction.

    `linear` is an affine map to one logit (log-odds of bona fide) or two (index 1 is bona fide). `cosine` is the head
    of one-class learning: \(\hat w_0^\top \hat x\), the cosine between the embedding and a learned bona fide direction,
    in [-1, 1] (Zhang, Jiang and Duan, 2021, equation 4). It has one output whatever `n_outputs` says and no bias, and
    belongs to the OC-softmax loss.

    Args:
        n_features: Dimensions of the embedding.
        kind: `linear` or `cosine`.
        n_outputs: Logits of the linear head, 1 or 2.

    Shape:
        embedding `[B, D]` -> logits `[B, n_outputs]`, or cosine `[B, 1]`

    Raises:
        InputError: An unknown kind.
    """

    def __init__(self, n_features: int, kind: str = "linear", n_outputs: int = 1) -> None:
        if kind not in KINDS:
            raise InputError(f"model.head={kind}: one of {', '.join(KINDS)} was expected")
        super().__init__(n_features, n_outputs if kind == "linear" else 1, bias=kind == "linear")
        self.kind = kind

    def forward(self, input: Tensor) -> Tensor:
        if self.kind == "linear":
            return super().forward(input)
        # In the precision of the weight and by a sum, not a matmul, which autocast would round out of [-1, 1].
        product = F.normalize(input.to(self.weight.dtype), dim=1) * F.normalize(self.weight, dim=1)
        return product.sum(dim=1, keepdim=True)  # [B, 1]
