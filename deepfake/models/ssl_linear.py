"""Mean and deviation of the frames, then logits: the smallest network on a self-supervised front end."""

from __future__ import annotations

from torch import Tensor

from deepfake.models.blocks.head import Head
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.blocks.statistics import mean_and_deviation
from deepfake.models.network import Network


class SSLLinear(Network):
    """Mean and standard deviation over time of each channel, dropout, one linear layer.

    With the mean alone and two logits it is the head of AntiDeepfake (Ge et al., 2025).

    What a front end's frames tell without more: the linear probe of self-supervised features. On the 1,024 channels of
    XLS-R 300M it has 2,049 parameters.

    Args:
        in_channels: Channels of the front end.
        head: `linear` (one logit) or `cosine`.
        dropout: On the statistics.
        deviation: Whether the standard deviation is one of them.
        n_outputs: Logits of the linear head, 1 or 2.

    Shape:
        features `[B, C, L]` -> log-odds of bona fide `[B, 1]`, or logits `[B, 2]` (index 1 is bona fide)

    Raises:
        InputError: Raw audio, or a hyper-parameter out of range.
    """

    takes = ("spectrum", "embedding")
    front_ends = "xlsr_300m, wavlm_large or mel"

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        dropout: float = 0.0,
        deviation: bool = True,
        n_outputs: int = 1,
    ) -> None:
        super().__init__(in_channels, dropout=dropout)
        require_numbers(n_outputs=n_outputs, highest=2)
        self.deviation = deviation
        self.head = Head((2 if deviation else 1) * in_channels, head, n_outputs=n_outputs)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input, `[B, C, L]` -> `[B, 2 C]`, or `[B, C]` without the deviation."""
        self.require_shape(features)
        return self.dropout(mean_and_deviation(features) if self.deviation else features.mean(dim=2))
