"""Reading the weights of self-supervised speech networks, in the layouts they are published in."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepfake.features.weights_file import weights_of

PRETRAINING = re.compile(  # parts of the published files that only pre-training or speech recognition needs
    r"(masked_spec_embed|mask_emb|label_embs_concat)$|(quantizer|project_q|project_hid|final_proj|lm_head)\."
)
TRANSFORMERS = (  # names there -> names in torchaudio
    (r"^(wav2vec2|hubert|wavlm)\.", ""),
    (r"^encoder\.", "encoder.transformer."),
    (r"^feature_projection\.", "encoder.feature_projection."),
)
FAIRSEQ = (  # and Microsoft's WavLM
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(1\.)?", r"\1.layer_norm."),
    (r"^encoder\.", "encoder.transformer."),
    (r"^post_extract_proj\.", "encoder.feature_projection.projection."),
    (r"^layer_norm\.", "encoder.feature_projection.layer_norm."),
    (r"\.pos_conv\.0\.", ".pos_conv_embed.conv."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.self_attn\.", ".attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
    (r"\.grep_linear\.", ".gru_rel_pos_linear."),
    (r"\.grep_a$", ".gru_rel_pos_const"),
    (r"\.relative_attention_bias\.", ".rel_attn_embed."),
)
WEIGHT_NORM = ((r"\.weight_g$", ".parametrizations.weight.original0"),)
WEIGHT_NORM += ((r"\.weight_v$", ".parametrizations.weight.original1"),)
GATE = "encoder.transformer.layers.0.attention.gru_rel_pos_const"
JOINED = r"(encoder\.transformer\.layers\.\d+\.attention)\."


def read_weights(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file by their names in torchaudio, and the settings of the network that they are of.

    The file is torchaudio's (`.pth`), of transformers (`.safetensors`, or `.bin`), of fairseq or Microsoft's WavLM
    (`.pt`); no code in it is executed. What only pre-training needs is left out.

    Args:
        file: The file. A `config.json` beside it, as transformers writes it, tells the number of heads.

    Returns:
        The tensors, and `wavlm`, `norm`, `conv_bias`, `conv_channels`, `dim`, `n_layers`, `n_heads`, `ffn`,
        `scale_waveform` as `deepfake.features.ssl.SSL` takes them.

    Raises:
        InputError: There is no such file, or it is in none of these layouts.
    """
    with weights_of(file, "torchaudio, transformers or fairseq") as content:
        told = _told(file, content)
        content = content.get("model", content)
        return of_state({k: v for k, v in content.items() if isinstance(v, Tensor)}, told)


def of_state(
    state: Mapping[str, Tensor], told: Mapping[str, Any] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a state dict in one of these layouts, and the settings, as `read_weights` gives them.

    Args:
        state: Its tensors.
        told: Settings that are known otherwise.

    Raises:
        KeyError: A tensor that tells a size is not there.
    """
    renamed = _renamed(state)
    return renamed, _settings(renamed, told or {})


def _told(file: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the file's own settings tell that the tensors do not."""
    cfg, beside = content.get("cfg") or content.get("args"), file.with_name("config.json")
    if isinstance(cfg, argparse.Namespace):
        cfg = vars(cfg)
    if isinstance(cfg, dict):  # of fairseq in parts, else of WavLM
        found = {**cfg, **(cfg.get("task") or {}), **(cfg.get("model") or {})}
        told = {"n_heads": found.get("encoder_attention_heads"), "scale_waveform": found.get("normalize")}
    elif beside.is_file():
        told = {"n_heads": json.loads(beside.read_text())["num_attention_heads"]}
    else:
        told = {}
    return {name: value for name, value in told.items() if value is not None}


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by their names in torchaudio, as float32 tensors."""
    state = {re.sub(r"^(module\.|model\.)+", "", name): tensor for name, tensor in state.items()}
    if any(name.startswith("encoder.transformer.") for name in state):
        rules: tuple[tuple[str, str], ...] = ()
    else:
        rules = FAIRSEQ if "post_extract_proj.weight" in state else TRANSFORMERS
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        own = name
        for pattern, replacement in (*rules, *WEIGHT_NORM):
            own = re.sub(pattern, replacement, own)
        if not PRETRAINING.match(own):
            renamed[own] = tensor.float()
    if rules and any(name.endswith("rel_attn_embed.weight") for name in renamed):
        renamed = _joined(renamed)
    return renamed


def _joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values of WavLM in one tensor, in this order, as torch's attention has them."""
    joined: dict[str, Tensor] = {}
    for name, tensor in state.items():
        own = re.sub(JOINED + r"out_proj", r"\1.attention.out_proj", name)
        if found := re.fullmatch(JOINED + r"[qkv]_proj\.(weight|bias)", name):
            layer, kind = found.groups()
            own = f"{layer}.attention.in_proj_{kind}"
            tensor = torch.cat([state[f"{layer}.{part}_proj.{kind}"] for part in "qkv"])
        joined[own] = tensor
    return joined


def _settings(state: Mapping[str, Tensor], told: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the network that the tensors are of; raises KeyError for a tensor that is not there."""
    first, layers = "feature_extractor.conv_layers.0.conv", "encoder.transformer.layers"
    dim = state["encoder.feature_projection.projection.weight"].shape[0]
    norm = "layer" if "feature_extractor.conv_layers.1.layer_norm.weight" in state else "group"
    wavlm = GATE in state
    of_layers = {int(found[1]) for name in state if (found := re.match(rf"{layers}\.(\d+)\.", name))}
    return {
        "wavlm": wavlm,
        "norm": norm,
        "conv_bias": f"{first}.bias" in state,
        "conv_channels": state[f"{first}.weight"].shape[0],
        "dim": dim,
        "n_layers": max(of_layers, default=0) + 1,
        # Published networks have 12 heads of 64 or 16 of 64, 80 or 120, and those with layer norm a scaled input.
        "n_heads": state[GATE].shape[1] if wavlm else 12 if dim == 768 else 16,
        "ffn": state[f"{layers}.0.feed_forward.intermediate_dense.weight"].shape[0],
        "scale_waveform": norm == "layer",
        **told,
    }
