"""Files of weights in published formats."""

from __future__ import annotations

import json
import struct
from typing import Any

import torch


def write_safetensors(path, state):
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in state.items():
        raw = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        dtype = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[tensor.dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def write_ctranslate2(path, state, *, aliases=()):
    """Version 6, with the variables that say how many heads and which activation."""

    def text(word):
        return struct.pack("<H", len(word) + 1) + word.encode() + b"\0"

    types = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.float16: 4}
    data = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(state))
    for name, tensor in state.items():
        raw = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        shape = struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
        data += text(name) + shape + struct.pack("<BI", types[tensor.dtype], len(raw)) + raw
    data += struct.pack("<I", len(aliases)) + b"".join(text(word) for pair in aliases for word in pair)
    path.write_bytes(data)
    return path
