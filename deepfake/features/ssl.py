"""Self-supervised speech networks as front ends: wav2vec 2.0, XLS-R, HuBERT and WavLM."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchaudio.models import wav2vec2_model, wavlm_model

from deepfake.errors import InputError
from deepfake.features.frontend import FrontEnd
from deepfake.features.ssl_weights import missing, read_weights

SAMPLE_RATE = 16_000
KERNELS = ((10, 5), *((3, 2),) * 4, *((2, 2),) * 2)  # samples and stride of the convolutions: 400 and 320 in all
N_WINDOW, HOP = 400, 320
POOLS = ("weighted", "gate", "last", "none")
NORMS = ("group", "layer")
RANDOM = "random"
NETWORK = ("wavlm", "norm", "conv_bias", "conv_channels", "dim", "n_layers", "n_heads", "ffn")


class SSL(FrontEnd):
    """Frames of a pre-trained transformer, 50 a second: torchaudio's networks, with the weights of a file.

    Baevski et al. (NeurIPS 2020), Babu et al. (XLS-R, Interspeech 2022), Hsu et al. (HuBERT, TASLP 2021) and Chen et
    al. (WavLM, JSTSP 2022). No dropout, no dropped layers, no mask over padding: every clip has the same length, and
    with group norm in the convolutions a mask would be wrong.

    Args:
        sample_rate: In hertz; 16,000.
        weights: File of the pre-trained weights, see `read_weights`, or `random`. Read by `pretrain`, not here.
        address: Where the file can be had, for messages.
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
        layers: `last`, the network's output; `all`, the outputs of its layers; `states`, with the input of the first
            before them; or a list of them, 0 for that input.
        pool: Of several layers: `weighted` (a learnt mean), `gate` (the sum, each with a sigmoid of its mean over time:
            SLS, Zhang et al., ACM Multimedia 2024), `last` of them, or `none`: their channels one after another, for
            networks that weigh the layers themselves.
        freeze: Part that is not trained: `all`, `cnn` (the convolutions), `first_N` (and the first N layers) or `none`.
        checkpointing: Recompute the layers in the backward pass, which takes less memory and a third more time.
        **common: `normalise` and `denoise`, see `FrontEnd`.

    Shape:
        waveform `[B, T]` -> features `[B, dim, (T - 400) // 320 + 1]`, with `none` the number of layers times as many
        channels; a shorter clip is filled with silence

    Raises:
        InputError: Another sample rate, a setting out of range, or sizes that are not given.
    """

    def __init__(
        self,
        *,
        sample_rate: int = SAMPLE_RATE,
        weights: str | None = None,
        address: str = "",
        wavlm: bool | None = None,
        norm: str | None = None,
        conv_bias: bool | None = None,
        conv_channels: int | None = None,
        dim: int | None = None,
        n_layers: int | None = None,
        n_heads: int | None = None,
        ffn: int | None = None,
        scale_waveform: bool | None = None,
        layers: str | Sequence[int] = "all",
        pool: str = "weighted",
        freeze: str = "all",
        checkpointing: bool = False,
        **common: Any,
    ) -> None:
        if sample_rate != SAMPLE_RATE:
            raise InputError(f"sample_rate={sample_rate}: {SAMPLE_RATE} Hz, as in pre-training, was expected")
        sizes = (wavlm, norm, conv_bias, conv_channels, dim, n_layers, n_heads, ffn)
        if dim is None or n_layers is None or None in sizes:
            raise InputError(
                f"features.weights={weights}: a file was expected, which tells the sizes; or choose features=xlsr_300m"
            )
        chosen = _layers(layers, n_layers)
        stacked = len(chosen) if pool == "none" else 1
        start = (N_WINDOW - HOP) / 2 / sample_rate  # a frame is centred on its window
        super().__init__(n_channels=stacked * dim, frames_per_second=sample_rate / HOP, start_seconds=start, **common)
        self.n_stacked = stacked
        self.weights, self.address = weights, address
        self.scale_waveform = norm == "layer" if scale_waveform is None else scale_waveform
        self.checkpointing = checkpointing
        self.base = _network(*sizes)  # type: ignore[arg-type]
        self.final = layers == "last"
        self.layers = chosen
        if pool not in POOLS:
            raise InputError(f"features.pool={pool}: one of {', '.join(POOLS)} was expected")
        several = len(self.layers) > 1
        self.weight = nn.Parameter(torch.zeros(len(self.layers))) if pool == "weighted" and several else None
        self.gate = nn.Linear(dim, 1) if pool == "gate" else None
        self._freeze(freeze)

    @classmethod
    def completed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings with those that the file of weights tells, where it is given, and its absolute path.

        Raises:
            InputError: The file cannot be read, or its network is another than the settings describe.
        """
        if (weights := settings.get("weights")) in (None, RANDOM):
            return settings
        file = Path(weights).expanduser().resolve()
        found = read_weights(file)[1]
        differing = [k for k in NETWORK if settings.get(k) is not None and settings[k] != found[k]]
        if differing:
            there, here = ({k: s[k] for k in differing} for s in (found, settings))
            raise InputError(f"features.weights={weights}: {here} was expected, not {there}; choose features=ssl")
        given = {name: value for name, value in settings.items() if value is not None}
        return settings | found | given | {"weights": str(file)}

    def pretrain(self) -> None:
        """Read the pre-trained weights.

        Raises:
            InputError: No file is given, it cannot be read, or a tensor is missing, unknown or of another shape.
        """
        if self.weights == RANDOM:
            return
        if self.weights is None:
            have = f"; download {self.address} where there is internet, and copy it here" if self.address else ""
            raise InputError(f"features.weights=null: a file of weights, or {RANDOM}, was expected{have}")
        given, own = read_weights(Path(self.weights))[0], self.base.state_dict()
        if given.keys() != own.keys():
            names = missing(own.keys() - given.keys(), given.keys() - own.keys())
            raise InputError(f"features.weights={self.weights}: {names}")
        if clash := [name for name, tensor in own.items() if given[name].shape != tensor.shape]:
            shapes = f"{list(own[clash[0]].shape)}, not {list(given[clash[0]].shape)}"
            raise InputError(f"features.weights={self.weights}: {clash[0]} of the shape {shapes} was expected")
        self.base.load_state_dict(given)

    def extract(self, waveform: Tensor) -> Tensor:
        states = self.states(self.denoise(waveform))
        dtype = self.base.encoder.feature_projection.projection.weight.dtype  # whatever autocast makes of it
        if self.n_stacked > 1:
            return torch.cat(states, dim=2).transpose(1, 2).to(dtype)
        if self.gate is not None:
            shares = torch.stack([self.gate(x.mean(dim=1)).sigmoid() for x in states])  # [N, B, 1]
        elif self.weight is not None:
            shares = self.weight.softmax(dim=0)
        else:
            return states[-1].transpose(1, 2).to(dtype)
        parts = (share.unsqueeze(-1) * x for share, x in zip(shares, states, strict=True))
        return functools.reduce(torch.add, parts).transpose(1, 2).to(dtype)

    def states(self, waveform: Tensor) -> list[Tensor]:
        """The outputs of the chosen layers, `[B, T]` -> `[B, L, dim]` each; raw, but for `last`."""
        encoder = self.base.encoder
        waveform = waveform.to(encoder.feature_projection.projection.weight.dtype)
        if self.scale_waveform:
            waveform = F.layer_norm(waveform, waveform.shape[-1:])
        x = self.base.feature_extractor(F.pad(waveform, (0, max(0, N_WINDOW - waveform.shape[1]))), None)[0]
        transformer, bias = encoder.transformer, None
        x = encoder.feature_projection(x)
        x = x + transformer.pos_conv_embed(x)
        if transformer.layer_norm_first:
            x = transformer.layer_norm(x)
        states = [x]
        for layer in transformer.layers[: max(self.layers)]:
            if self.checkpointing and torch.is_grad_enabled():
                x, bias = checkpoint(layer, x, None, bias, use_reentrant=False)  # type: ignore[misc]
            else:
                x, bias = layer(x, None, position_bias=bias)
            states.append(x)
        if self.final and not transformer.layer_norm_first:
            states[-1] = transformer.layer_norm(states[-1])
        return [states[i] for i in self.layers]

    def _freeze(self, part: str) -> None:
        """Take the gradient from the part that is not trained, and from what no chosen layer uses."""
        transformer = self.base.encoder.transformer
        n_layers = len(transformer.layers)
        first = re.fullmatch(r"first_(\d+)", part)
        if part not in ("all", "cnn", "none") and not (first and int(first[1]) <= n_layers):
            raise InputError(f"features.freeze={part}: all, cnn, first_1 to first_{n_layers} or none was expected")
        frozen: list[nn.Module] = list(transformer.layers[max(self.layers) :])
        if not self.final and not transformer.layer_norm_first:
            frozen.append(transformer.layer_norm)
        if part == "all":
            frozen.append(self.base)
        elif part != "none":
            frozen.append(self.base.feature_extractor)
        if first:
            frozen += [self.base.encoder.feature_projection, transformer.pos_conv_embed]
            frozen += transformer.layers[: int(first[1])]
            if transformer.layer_norm_first:
                frozen.append(transformer.layer_norm)
        for module in frozen:
            module.requires_grad_(False)


def _layers(layers: str | Sequence[int], n_layers: int) -> list[int]:
    """The numbers of the chosen layers."""
    named: dict[str, Sequence[int]] = {"last": [n_layers], "all": range(1, n_layers + 1), "states": range(n_layers + 1)}
    chosen = named.get(layers, []) if isinstance(layers, str) else layers
    if not chosen or not all(type(i) is int and 0 <= i <= n_layers for i in chosen):
        numbers = f"a list of numbers from 0 to {n_layers}"
        raise InputError(f"features.layers={layers}: last, all, states or {numbers} was expected")
    return list(chosen)


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
