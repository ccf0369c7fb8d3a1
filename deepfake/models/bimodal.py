"""Fusion of two views of a clip: a CNN on its mel spectrogram, an LSTM on its cepstrum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.models.blocks.conv_blocks import ConvBlocks
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.blocks.statistics import mean_and_deviation
from deepfake.models.network import Network


class Bimodal(Network):
    """A CNN on the mel spectrogram, a bidirectional LSTM on the LFCC of the same frames, one linear head on both.

    The front end `mel_lfcc` puts mel bands and cepstral coefficients into one feature; they are split here. The mel
    branch is that of the small `CNN`: blocks that halve both axes, mean and deviation over time of what remains. The
    sequence branch brings each coefficient to its own scale (batch norm: they differ a hundredfold), and takes mean and
    deviation over time of an LSTM's states in either direction. Both embeddings side by side go through one head, so
    that the logit is the sum of a part of either branch and a bias: `branch_logits` has the parts, each of which can be
    explained by itself. 112,073 parameters for 80 bands and 60 coefficients.

    Args:
        in_channels: Channels of the front end `mel_lfcc`: the mel bands, then the cepstral coefficients.
        n_mels: Number of mel bands; at least 2 to the power of the number of blocks.
        head: `linear` (one logit) or `cosine`.
        channels: Output channels of the mel branch's blocks.
        lstm_units: Units of the sequence branch's LSTM, per direction.
        dropout: On both embeddings.

    Shape:
        features `[B, C, L]` -> log-odds of bona fide `[B, 1]`

    Raises:
        InputError: Another front end, too few bands or frames, or a hyper-parameter out of range.
    """

    takes = ("spectrum",)
    front_ends = "mel_lfcc"
    branches = ("mel", "sequence")

    def __init__(
        self,
        *,
        in_channels: int,
        n_mels: int | None,
        head: str = "linear",
        channels: Sequence[int] = (16, 32, 48, 64),
        lstm_units: int = 64,
        dropout: float = 0.3,
    ) -> None:
        factor = 2 ** len(channels)
        if n_mels is None or not factor <= n_mels < in_channels:
            raise InputError(
                f"model.n_mels={n_mels} of {in_channels} channels: at least {factor} mel bands, and cepstral "
                f"coefficients after them, were expected; choose features={self.front_ends}"
            )
        require_numbers(lstm_units=lstm_units)
        super().__init__(in_channels, min_frames=factor, dropout=dropout)
        self.n_mels = n_mels
        self.blocks = ConvBlocks(channels, [2] * len(channels))
        n_coefficients = in_channels - n_mels
        self.norm = nn.BatchNorm1d(n_coefficients)
        self.lstm = nn.LSTM(n_coefficients, lstm_units, batch_first=True, bidirectional=True)
        self.n_of_mel = 2 * channels[-1] * (n_mels // factor)  # dimensions of the mel branch's embedding
        self.head = Head(self.n_of_mel + 4 * lstm_units, head)

    @property
    def last_map(self) -> LastMap:
        """The mel branch's last convolution after its ReLU, before its pooling."""
        pooled = self.min_frames // 2
        return LastMap(self.blocks.last_activation, bands=pooled, frames=pooled)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input: the mel branch's embedding, then the sequence branch's, `[B, C, L]` -> `[B, D]`."""
        self.require_shape(features)
        mel, cepstrum = features.split([self.n_mels, self.in_channels - self.n_mels], dim=1)
        picture = self.blocks(mel.unsqueeze(1)).flatten(1, 2)  # [B, channels x rows, L / 16]
        states, _ = self.lstm(self.norm(cepstrum).transpose(1, 2))  # [B, L, 2 x units]
        embeddings = mean_and_deviation(picture), mean_and_deviation(states.transpose(1, 2))
        return self.dropout(torch.cat(embeddings, dim=1))

    def branch_logits(self, features: Tensor) -> dict[str, Tensor]:
        """The part of each branch in the logit, and the bias, `[B, C, L]` -> `[B]` each; their sum is the logit.

        With the cosine head each branch's part is its share of the inner product of the two unit vectors.
        """
        embedding, weight = self.embed(features), self.head.weight[0]
        if self.head.kind == "cosine":
            embedding, weight = F.normalize(embedding, dim=1), F.normalize(weight, dim=0)
        sizes = [self.n_of_mel, len(weight) - self.n_of_mel]
        parts = {
            name: e @ w
            for name, e, w in zip(self.branches, embedding.split(sizes, dim=1), weight.split(sizes), strict=True)
        }
        bias = embedding.new_zeros(1) if self.head.bias is None else self.head.bias
        return {**parts, "bias": bias.expand(len(embedding))}
