"""Low-rank adapters of the matrices of a network that is not trained itself (Hu et al., ICLR 2022)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from deepfake.errors import InputError

LEFT_OUT = "gru_rel_pos_linear"  # WavLM's gate of relative positions: 8 outputs


class Factors(nn.Module):
    """The change of a matrix, `scale * up @ down`, which is zero at the start.

    Args:
        matrix: The matrix, `[n_out, n_in]`.
        rank: Rows of `down` and columns of `up`.
        scale: Of the change.
    """

    def __init__(self, matrix: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        n_out, n_in = matrix.shape
        self.scale = scale
        self.down = nn.Parameter(torch.empty(rank, n_in))
        self.up = nn.Parameter(torch.zeros(n_out, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as nn.Linear, and as the authors' code

    def forward(self, x: Tensor) -> Tensor:
        """What the change adds to the output, `[..., n_in]` -> `[..., n_out]`."""
        return self.scale * (x @ self.down.T @ self.up.T)


class AdaptedLinear(nn.Linear):
    """A linear map with the names of its weights, and `lora`."""

    lora: Factors

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.lora(x)


class AdaptedAttention(nn.MultiheadAttention):
    """WavLM's queries, keys and values in one matrix, which torchaudio reads: they share `down`."""

    lora: Factors

    @property
    def in_proj_weight(self) -> Tensor:  # type: ignore[override]
        change = self.lora.scale * self.lora.up @ self.lora.down
        return self._parameters["in_proj_weight"] + change  # type: ignore[operator]


def adapt(block: nn.Module, rank: int, alpha: float) -> None:
    """Add adapters to the matrices of attention and feed-forward of a layer; its own weights keep their names.

    Args:
        block: Layer of a transformer.
        rank: Of the adapters.
        alpha: Scale of the change times `rank`.
    """
    for name, module in list(block.named_modules()):
        if isinstance(module, nn.MultiheadAttention):
            module.lora = Factors(module.in_proj_weight, rank, alpha / rank)
            module.__class__ = AdaptedAttention
        elif isinstance(module, nn.Linear) and not name.endswith(LEFT_OUT):
            module.lora = Factors(module.weight, rank, alpha / rank)
            module.__class__ = AdaptedLinear


def settings_of(lora: Any) -> tuple[int, float]:
    """Rank and alpha of `features.lora`.

    Raises:
        InputError: Another setting, or one out of range.
    """
    found = {"rank": 0, "alpha": 16.0} | dict(lora or {})
    rank, alpha = found["rank"], found["alpha"]
    if found.keys() != {"rank", "alpha"} or type(rank) is not int or rank < 0 or not 0 < alpha < math.inf:
        raise InputError(f"features.lora={dict(lora)}: rank, a whole number from 0, and alpha, above 0, were expected")
    return rank, alpha
