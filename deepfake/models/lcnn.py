"""The light CNN of the ASVspoof challenges: convolutions whose filters compete."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepfake.errors import InputError
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.max_feature_map import MaxFeatureMap
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.network import Network

POOLED = 16  # bands, and frames, that become one: four poolings by two


class LCNN(Network):
    """Max-feature-map convolutions, two bidirectional LSTMs with a shortcut around both, mean over time, one logit.

    The LCNN-LSTM-sum of Wang and Yamagishi (Interspeech 2021), in the form that is the LFCC-LCNN baseline of ASVspoof
    2021: the light CNN of Lavrentyeva et al. (STC, Interspeech 2019) up to its last pooling and, instead of its dense
    layers, which need a fixed duration, recurrence and a mean. Any front end of 16 bands or more takes the place of the
    60 LFCC, with which it has 269,729 parameters. Layers, with their channels after the max-feature-map (MFM):

    | convolution | kernel | channels | then |
    |---|---|---|---|
    | 1 | 5 x 5 | 32 | pooling |
    | 2, 3 | 1 x 1, 3 x 3 | 32, 48 | pooling, batch norm |
    | 4, 5 | 1 x 1, 3 x 3 | 48, 64 | pooling |
    | 6, 7 | 1 x 1, 3 x 3 | 64, 32 | batch norm |
    | 8, 9 | 1 x 1, 3 x 3 | 32, 32 | pooling, dropout |

    with a batch norm behind each MFM of 1 x 1, all of them without learned scale and shift. The rows and channels that
    remain are one step of the sequence; each LSTM gives as many numbers as it gets.

    Args:
        in_channels: Bands of the front end, at least 16.
        head: `linear` (one logit, as in the baseline) or `cosine`.
        channels: After the MFM of convolutions 1, 3, 5, 7 and 9; the last is even.
        dropout: On the last map.

    Shape:
        features `[B, C, L]` -> log-odds of bona fide `[B, 1]`

    Raises:
        InputError: Raw audio or too few bands, too few frames, or a hyper-parameter out of range.
    """

    takes = ("spectrum",)  # its convolutions slide over the bands

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        channels: Sequence[int] = (32, 48, 64, 32, 32),
        dropout: float = 0.7,
    ) -> None:
        require_numbers(5, channels=channels)
        if channels[-1] % 2:
            raise InputError(f"model.channels={list(channels)}: an even last number was expected")
        super().__init__(in_channels, min_channels=POOLED, min_frames=POOLED, dropout=dropout)
        one, two, three, four, five = channels
        self.blocks = nn.Sequential(
            nn.Sequential(*_convolution(1, one, 5), nn.MaxPool2d(2)),
            nn.Sequential(*_pair(one, two), nn.MaxPool2d(2), _norm(two)),
            nn.Sequential(*_pair(two, three), nn.MaxPool2d(2)),
            nn.Sequential(*_pair(three, four), _norm(four)),
            nn.Sequential(*_pair(four, five), nn.MaxPool2d(2)),
        )
        self.blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU
        step = in_channels // POOLED * five  # one time step: rows x channels
        self.lstm = nn.LSTM(step, step // 2, num_layers=2, batch_first=True, bidirectional=True)
        self.head = Head(step, head)

    @property
    def last_map(self) -> LastMap:
        """The last convolution after its max-feature-map, before its pooling."""
        return LastMap(self.blocks[-1][-2], bands=POOLED // 2, frames=POOLED // 2)  # type: ignore[index]

    def embed(self, features: Tensor) -> Tensor:
        """The mean over time of sequence and recurrence, `[B, C, L]` -> `[B, rows x channels]`."""
        self.require_shape(features)
        picture = self.dropout(self.blocks(features.unsqueeze(1)))  # [B, D, C / 16, L / 16]
        steps = picture.permute(0, 3, 2, 1).flatten(2)  # [B, L / 16, C / 16 x D]
        recurrent, _ = self.lstm(steps)
        return (recurrent + steps).mean(dim=1)  # [B, C / 16 x D]


def _convolution(in_channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps the size, and the max-feature-map that halves its channels."""
    return [nn.Conv2d(in_channels, 2 * out_channels, kernel, padding=kernel // 2), MaxFeatureMap()]


def _pair(in_channels: int, out_channels: int) -> list[nn.Module]:
    """Network in network: a convolution of 1 x 1 before that of 3 x 3."""
    return [*_convolution(in_channels, in_channels, 1), _norm(in_channels), *_convolution(in_channels, out_channels, 3)]


def _norm(n_channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(n_channels, affine=False)
