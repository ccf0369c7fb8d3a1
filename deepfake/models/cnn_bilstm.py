"""Convolutions over a mel spectrogram, then recurrence over its frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.network import Network

POOLS = ((2, 2), (2, 2), (2, 3))  # bands x frames
MIN_BANDS, MIN_FRAMES = 8, 12


class CNNBiLSTM(Network):
    """Three convolution blocks, two bidirectional LSTMs over time, one dense layer, one logit.

    Each block is a convolution of 3 x 3, ReLU, max-pooling and batch norm, in this order. A spectrogram of 128 bands
    and 157 frames (5 s) leaves them as 13 steps of 16 bands x 128 channels. The first LSTM returns the sequence,
    the second the last state of either direction: after the last step forwards, after the first step backwards.
    1,221,185 parameters on 128 bands.

    Args:
        in_channels: Bands of the front end, at least 8.
        head: `linear` (one logit) or `cosine`.
        channels: Output channels of the three blocks.
        lstm_units: Units of the two LSTMs, per direction.
        dense_units: Units of the dense layer.
        dropout: After the dense layer.

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
        channels: Sequence[int] = (32, 64, 128),
        lstm_units: Sequence[int] = (64, 32),
        dense_units: int = 64,
        dropout: float = 0.3,
    ) -> None:
        require_numbers(3, channels=channels)
        require_numbers(2, lstm_units=lstm_units)
        require_numbers(dense_units=dense_units)
        super().__init__(in_channels, min_channels=MIN_BANDS, min_frames=MIN_FRAMES, dropout=dropout)
        widths = [1, *channels]
        self.blocks = nn.Sequential(*(_block(widths[i], widths[i + 1], POOLS[i]) for i in range(3)))
        self.blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster pooling on a CPU
        step = in_channels // MIN_BANDS * channels[-1]  # one time step: bands x channels
        self.lstm1 = nn.LSTM(step, lstm_units[0], batch_first=True, bidirectional=True)
        self.lstm2 = nn.LSTM(2 * lstm_units[0], lstm_units[1], batch_first=True, bidirectional=True)
        self.dense = nn.Linear(2 * lstm_units[1], dense_units)
        self.head = Head(dense_units, head)

    @property
    def last_map(self) -> LastMap:
        """The last convolution after its ReLU, before its pooling."""
        return LastMap(self.blocks[-1][1], bands=4, frames=4)  # type: ignore[index]  # two poolings by two before it

    def embed(self, features: Tensor) -> Tensor:
        """The head's input: the dense layer's output, `[B, C, L]` -> `[B, dense_units]`."""
        self.require_shape(features)
        picture = self.blocks(features.unsqueeze(1))  # [B, D, C / 8, L / 12]
        steps = picture.permute(0, 3, 2, 1).flatten(2)  # [B, L / 12, C / 8 x D]
        sequence, _ = self.lstm1(steps)  # [B, L / 12, 2 x units]
        _, (last, _) = self.lstm2(sequence)  # [2, B, units]
        state = torch.cat([last[0], last[1]], dim=1)  # [B, 2 x units]
        return self.dropout(F.relu(self.dense(state)))


def _block(in_channels: int, out_channels: int, pool: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(pool),
        nn.BatchNorm2d(out_channels),
    )
