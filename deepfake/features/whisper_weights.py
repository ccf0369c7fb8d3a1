"""Reading the encoder of Whisper, in the layouts that it is published in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from deepfake.features.weights_file import weights_of

HEAD = 64  # channels of an attention head in every published size
DECODER = re.compile(r"(model\.)?decoder[./]|proj_out\.")
CTRANSLATE2 = (  # names there -> names of OpenAI
    (r"/", "."),
    (r"^(encoder)\.position_encodings\.encodings$", r"\1.positional_embedding"),
    (r"^(encoder\.)layer_norm\.", r"\1ln_post."),
    (r"\.layer_(\d+)\.", r".blocks.\1."),
    (r"\.self_attention\.layer_norm\.", ".attn_ln."),
    (r"\.self_attention\.linear_1\.", ".attn.out."),
    (r"\.self_attention\.", ".attn."),
    (r"\.ffn\.layer_norm\.", ".mlp_ln."),
    (r"\.ffn\.linear_0\.", ".mlp.0."),
    (r"\.ffn\.linear_1\.", ".mlp.2."),
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
)
TRANSFORMERS = (
    (r"^model\.", ""),
    (r"^(encoder)\.embed_positions\.weight$", r"\1.positional_embedding"),
    (r"^(encoder\.)layer_norm\.", r"\1ln_post."),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.self_attn\.q_proj\.", ".attn.query."),
    (r"\.self_attn\.k_proj\.", ".attn.key."),
    (r"\.self_attn\.v_proj\.", ".attn.value."),
    (r"\.self_attn\.out_proj\.", ".attn.out."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
)
FLAGS = {"activation", "alibi", "num_heads", "pre_norm", "scale_embeddings", "start_from_zero_embedding"}  # CTranslate2


def read_weights(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The encoder's tensors by OpenAI's names, as float32, and the settings of the network that they are of.

    The file is OpenAI's (`.pt`), of transformers (`.safetensors`) or of CTranslate2 (`model.bin`, not quantised to
    whole numbers); no code in it is executed. The decoder is left out.

    Args:
        file: The file. A `config.json` beside it, as transformers writes it, tells the number of heads; else a head has
            64 channels, as in every published size.

    Returns:
        The tensors, and `n_mels`, `dim`, `n_layers`, `n_heads`, `ffn` as `Whisper` takes them.

    Raises:
        InputError: There is no such file, or it is in none of these layouts.
    """
    with weights_of(file, "Whisper by OpenAI, transformers or CTranslate2") as content:
        n_heads = _n_heads(file, content)
        content = content.get("model_state_dict", content)
        state = {k: v for k, v in content.items() if isinstance(v, Tensor) and not DECODER.match(k)}
        state = _renamed(state, _rules(state))
        return state, _settings(state, n_heads)


def _n_heads(file: Path, content: Mapping[str, Any]) -> int | None:
    """The number of heads that the file says, or None."""
    if "dims" in content:
        return content["dims"]["n_audio_head"]
    if "encoder/num_heads" in content:
        return int(content["encoder/num_heads"])
    beside = file.with_name("config.json")
    return json.loads(beside.read_text()).get("encoder_attention_heads") if beside.is_file() else None


def _rules(state: Mapping[str, Tensor]) -> tuple[tuple[str, str], ...]:
    if "encoder/conv1/weight" in state:
        return CTRANSLATE2
    return TRANSFORMERS if any(re.search(r"\.fc1\.", name) for name in state) else ()


def _renamed(state: Mapping[str, Tensor], rules: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """The tensors by OpenAI's names, without `encoder.`; queries, keys and values of CTranslate2 each by itself.

    Raises:
        ValueError: Whole numbers, or a bias of keys, which Whisper has not.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if rules is CTRANSLATE2 and name.startswith("encoder/") and name.removeprefix("encoder/") in FLAGS:
            continue
        if not tensor.is_floating_point():
            raise ValueError(f"{name} holds whole numbers: float16 or float32 was expected")
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        name = name.removeprefix("encoder.")
        if found := re.fullmatch(r"(blocks\.\d+\.attn)\.linear_0\.(weight|bias)", name):
            at, kind = found.groups()
            query, key, value = tensor.float().chunk(3)
            renamed |= {f"{at}.query.{kind}": query, f"{at}.value.{kind}": value}
            if kind == "weight":
                renamed[f"{at}.key.weight"] = key
            elif key.any():
                raise ValueError(f"{name}: no bias of keys was expected")
        else:
            renamed[name] = tensor.float()
    return renamed


def _settings(state: Mapping[str, Tensor], n_heads: int | None) -> dict[str, Any]:
    """The settings of the network that the tensors are of; raises KeyError for a tensor that is not there."""
    dim, n_mels, _ = state["conv1.weight"].shape
    of_layers = {int(found[1]) for name in state if (found := re.match(r"blocks\.(\d+)\.", name))}
    return {
        "n_mels": n_mels,
        "dim": dim,
        "n_layers": max(of_layers, default=0) + 1,
        "n_heads": n_heads or dim // HEAD,
        "ffn": state["blocks.0.mlp.0.weight"].shape[0],
    }
