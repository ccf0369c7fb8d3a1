"""Mean and deviation of the frames, then logits: the smallest network on a self-supervised front end."""

from __future__ import annotations

from torch import Tensor

from deepfake.models.blocks.head import Head
from deepfake.models.blocks.statistics import mean_and_deviation
from deepfake.models.network import Network


class SSLLinear(Network):
    """Mean and standard deviation over time of each channel, dropout, one linear layer.

    What a front end's frames tell without more: the linear probe of self-supervised features. On the 1,024 channels of
    XLS-R 300M it has 2,049 parameters.

    Args:
        in_channels: Channels of the front end.
        head: `linear` (one logit) or `cosine`.
        dropout: On the statistics.

    Shape:
        features `[B, C, L]` -> log-odds of bona fide `[B, 1]`

    Raises:
        InputError: Raw audio, or a hyper-parameter out of range.
    """

    takes = ("spectrum", "embedding")
    front_ends = "xlsr_300m, wavlm_large or mel"

    def __init__(self, *, in_channels: int, head: str = "linear", dropout: float = 0.0) -> None:
        super().__init__(in_channels, dropout=dropout)
        self.head = Head(2 * in_channels, head)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input, `[B, C, L]` -> `[B, 2 C]`."""
        self.require_shape(features)
        return self.dropout(mean_and_deviation(features))
