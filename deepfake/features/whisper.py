"""The encoder of Whisper as a front end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.features.mel import mel_filterbank
from deepfake.features.pretrained import SAMPLE_RATE, Pretrained
from deepfake.features.spectrogram import Spectrogram
from deepfake.features.whisper_weights import read_weights

N_FFT, MEL_HOP = 400, 160  # samples
HOP = 2 * MEL_HOP  # the second convolution leaves every other frame out
N_POSITIONS = 1500  # frames of 30 s
FLOOR = 1e-10  # of power
RANGE = 8.0  # powers of ten below the clip's loudest point


class Whisper(Pretrained):
    """Frames of the encoder of Whisper, 50 a second, with the weights of a file.

    Radford et al. (ICML 2023): a log-mel spectrogram, two convolutions, a transformer that normalises first. A clip is
    taken at its own length: it is not filled with silence to 30 s, as for recognition, which would take most of the
    time and change the frames of speech (cosine 0.9). As a front end against spoofing: Kawa et al. (Interspeech 2023).

    Args:
        sample_rate: In hertz; 16,000.
        n_mels: Mel bands. This and the sizes after it: None for those of the file, see `completed`.
        dim: Channels of the transformer, and of the feature.
        n_layers: Its layers.
        n_heads: Its attention heads.
        ffn: Channels between the two maps of a layer.
        **common: `weights`, what is used of the network and what is trained, see `Pretrained`.

    Shape:
        waveform `[B, T]` -> features `[B, dim, ceil((T // 160) / 2)]`; a clip below 400 samples is filled with silence

    Raises:
        InputError: Another sample rate, a setting out of range, or sizes that are not given; a clip above 30 s.
    """

    sizes = ("n_mels", "dim", "n_layers", "n_heads", "ffn")
    any_size, described = "whisper", "whisper_tiny_en"

    def __init__(
        self,
        *,
        sample_rate: int = SAMPLE_RATE,
        n_mels: int | None = None,
        dim: int | None = None,
        n_layers: int | None = None,
        n_heads: int | None = None,
        ffn: int | None = None,
        **common: Any,
    ) -> None:
        sizes = (n_mels, dim, n_layers, n_heads, ffn)
        self.require(sample_rate, common.get("weights"), dict(zip(self.sizes, sizes, strict=True)))
        start = -HOP / 2 / sample_rate  # a frame is centred on a multiple of the hop
        super().__init__(Encoder(*sizes), dim, n_layers, HOP, start, **common)  # type: ignore[arg-type]
        filterbank = mel_filterbank(n_mels, N_FFT, sample_rate)  # type: ignore[arg-type]
        window = torch.hann_window(N_FFT)
        self.spectrogram = Spectrogram(window, filterbank, sample_rate, N_FFT, MEL_HOP, pad_mode="reflect")

    @classmethod
    def read(cls, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return read_weights(file)

    @property
    def blocks(self) -> nn.ModuleList:
        return self.base.blocks

    @property
    def stem(self) -> tuple[list[nn.Module], list[nn.Module]]:
        return [self.base.conv1, self.base.conv2], []

    @property
    def last_norm(self) -> nn.Module | None:
        return self.base.ln_post

    def embed(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            mel = self.log_mel(F.pad(waveform, (0, max(0, N_FFT - waveform.shape[1]))))
        x = F.gelu(self.base.conv1(mel.to(waveform.dtype)))
        x = F.gelu(self.base.conv2(x)).transpose(1, 2)  # [B, L, dim]
        if x.shape[1] > N_POSITIONS:
            seconds = waveform.shape[1] / SAMPLE_RATE
            raise InputError(
                f"seconds={seconds:g}: at most 30, the length that Whisper has positions for, was expected"
            )
        return x + self.base.positional_embedding[: x.shape[1]]

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Logarithm of the power in mel bands, 80 dB of it, `[B, T]` -> `[B, n_mels, T // 160]`."""
        power = self.spectrogram(waveform)[..., :-1]
        levels = power.clamp(min=FLOOR).log10()
        return (torch.maximum(levels, levels.amax(dim=(1, 2), keepdim=True) - RANGE) + 4.0) / 4.0


class Encoder(nn.Module):
    """The parts of the encoder by OpenAI's names."""

    def __init__(self, n_mels: int, dim: int, n_layers: int, n_heads: int, ffn: int) -> None:
        super().__init__()
        if min(n_mels, dim, n_layers, n_heads, ffn) < 1 or dim % n_heads or dim % 4:
            sizes = f"n_mels={n_mels}, dim={dim}, n_heads={n_heads}, n_layers={n_layers}, ffn={ffn}"
            raise InputError(f"features: {sizes}: numbers above 0, dim a multiple of n_heads and of 4, were expected")
        self.conv1 = nn.Conv1d(n_mels, dim, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, kernel_size=3, stride=2, padding=1)
        self.positional_embedding = nn.Parameter(sinusoids(N_POSITIONS, dim), requires_grad=False)
        self.blocks = nn.ModuleList(Block(dim, n_heads, ffn) for _ in range(n_layers))
        self.ln_post = nn.LayerNorm(dim)


class Block(nn.Module):
    """A layer of the transformer, `[B, L, dim]` -> `[B, L, dim]`."""

    def __init__(self, dim: int, n_heads: int, ffn: int) -> None:
        super().__init__()
        self.attn = Attention(dim, n_heads)
        self.attn_ln = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, ffn), nn.GELU(), nn.Linear(ffn, dim))
        self.mlp_ln = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_ln(x))
        return x + self.mlp(self.mlp_ln(x))


class Attention(nn.Module):
    """Attention of every frame to every other; keys have no bias."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(2, (self.n_heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )  # [B, n_heads, L, dim / n_heads]
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


def sinusoids(n_positions: int, dim: int) -> Tensor:
    """Sines, then cosines, of wavelengths from 2 pi to 20,000 pi frames, `[n_positions, dim]`."""
    rates = 10_000 ** (-torch.arange(dim // 2) / (dim // 2 - 1))
    angles = torch.arange(n_positions)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
