"""Self-supervised speech networks as front ends: wav2vec 2.0, XLS-R, HuBERT and WavLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.models import wav2vec2_model, wavlm_model

from deepfake.errors import InputError
from deepfake.features.pretrained import SAMPLE_RATE, Pretrained
from deepfake.features.ssl_weights import read_weights

KERNELS = ((10, 5), *((3, 2),) * 4, *((2, 2),) * 2)  # samples and stride of the convolutions: 400 and 320 in all
N_WINDOW, HOP = 400, 320
NORMS = ("group", "layer")


class SSL(Pretrained):
    """Frames of a self-supervised transformer, 50 a second: torchaudio's networks, with the weights of a file.

    Baevski et al. (NeurIPS 2020), Babu et al. (XLS-R, Interspeech 2022), Hsu et al. (HuBERT, TASLP 2021) and Chen et
    al. (WavLM, JSTSP 2022). No dropout, no dropped layers, no mask over padding: every clip has the same length, and
    with group norm in the convolutions a mask would be wrong.

    Args:
        sample_rate: In hertz; 16,000.
        wavlm: Whether attention has WavLM's gated relative positions. This and the sizes after it: None for those of
            the file, see `completed`.
        norm: `group` (first convolution only, the transformer normalises last) or `layer` (it normalises first).
        conv_bias: Whether the convolutions have a bias.
        conv_channels: Channels of the convolutions.
        dim: Channels of the transformer, and of the feature.
        n_layers: Its layers.
        n_heads: Its attention heads.
        ffn: Channels between the two maps of a layer.
        scale_waveform: Whether each clip is scaled to zero mean and unit variance first, as it was in pre-training;
            None for yes with `layer`.
        **common: `weights`, what is used of the network and what is trained, see `Pretrained`.

    Shape:
        waveform `[B, T]` -> features `[B, dim, (T - 400) // 320 + 1]`; a shorter clip is filled with silence

    Raises:
        InputError: Another sample rate, a setting out of range, or sizes that are not given.
    """

    sizes = ("wavlm", "norm", "conv_bias", "conv_channels", "dim", "n_layers", "n_heads", "ffn")
    any_size, described = "ssl", "xlsr_300m"

    def __init__(
        self,
        *,
        sample_rate: int = SAMPLE_RATE,
        wavlm: bool | None = None,
        norm: str | None = None,
        conv_bias: bool | None = None,
        conv_channels: int | None = None,
        dim: int | None = None,
        n_layers: int | None = None,
        n_heads: int | None = None,
        ffn: int | None = None,
        scale_waveform: bool | None = None,
        **common: Any,
    ) -> None:
        sizes = (wavlm, norm, conv_bias, conv_channels, dim, n_layers, n_heads, ffn)
        self.require(sample_rate, common.get("weights"), dict(zip(self.sizes, sizes, strict=True)))
        start = (N_WINDOW - HOP) / 2 / sample_rate  # a frame is centred on its window
        super().__init__(_network(*sizes), dim, n_layers, HOP, start, **common)  # type: ignore[arg-type]
        self.scale_waveform = norm == "layer" if scale_waveform is None else scale_waveform

    @classmethod
    def read(cls, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return read_weights(file)

    @property
    def blocks(self) -> nn.ModuleList:
        return self.base.encoder.transformer.layers

    @property
    def stem(self) -> tuple[list[nn.Module], list[nn.Module]]:
        encoder = self.base.encoder
        others = [encoder.feature_projection, encoder.transformer.pos_conv_embed]
        if encoder.transformer.layer_norm_first:
            others.append(encoder.transformer.layer_norm)
        return [self.base.feature_extractor], others

    @property
    def last_norm(self) -> nn.Module | None:
        transformer = self.base.encoder.transformer
        return None if transformer.layer_norm_first else transformer.layer_norm

    def embed(self, waveform: Tensor) -> Tensor:
        if self.scale_waveform:
            waveform = F.layer_norm(waveform, waveform.shape[-1:])
        x = self.base.feature_extractor(F.pad(waveform, (0, max(0, N_WINDOW - waveform.shape[1]))), None)[0]
        transformer = self.base.encoder.transformer
        x = self.base.encoder.feature_projection(x)
        x = x + transformer.pos_conv_embed(x)
        return transformer.layer_norm(x) if transformer.layer_norm_first else x

    def through(self, block: Any, x: Tensor, carried: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return block(x, None, carried)  # WavLM's relative positions, made by its first layer


def _network(
    wavlm: bool, norm: str, conv_bias: bool, conv_channels: int, dim: int, n_layers: int, n_heads: int, ffn: int
) -> Any:
    """The network of torchaudio with random weights, without dropout."""
    if norm not in NORMS:
        raise InputError(f"features.norm={norm}: one of {', '.join(NORMS)} was expected")
    if min(conv_channels, dim, n_layers, n_heads, ffn) < 1 or dim % n_heads or dim % 16:
        sizes = f"dim={dim}, n_heads={n_heads}, n_layers={n_layers}, ffn={ffn}, conv_channels={conv_channels}"
        raise InputError(f"features: {sizes}: numbers above 0, dim a multiple of n_heads and of 16, were expected")
    settings: dict[str, Any] = {
        "extractor_mode": f"{norm}_norm",
        "extractor_conv_layer_config": [(conv_channels, *kernel) for kernel in KERNELS],
        "extractor_conv_bias": conv_bias,
        "encoder_embed_dim": dim,
        "encoder_projection_dropout": 0.0,
        "encoder_pos_conv_kernel": 128,
        "encoder_pos_conv_groups": 16,
        "encoder_num_layers": n_layers,
        "encoder_num_heads": n_heads,
        "encoder_attention_dropout": 0.0,
        "encoder_ff_interm_features": ffn,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.0,
        "encoder_layer_norm_first": norm == "layer",
        "encoder_layer_drop": 0.0,
        "aux_num_out": None,
    }
    if wavlm:
        return wavlm_model(**settings, encoder_num_buckets=320, encoder_max_distance=800)
    return wav2vec2_model(**settings)
