"""Published layouts with tiny random weights, and what the authors' own code gave on them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deepfake.features.ssl import SSL
from deepfake.features.ssl_weights import of_state


def arrays(shared: Path, name: str) -> dict[str, Tensor]:
    """The arrays of a file below `reference/ssl_parity`; the test is skipped where it is not there."""
    file = shared / "reference/ssl_parity" / name
    if not file.is_file():
        pytest.skip(f"needs {file}, made by the authors' implementations")
    with np.load(file) as content:
        return {key: torch.from_numpy(content[key]) for key in content}


def clips(shared: Path) -> Tensor:
    """Two synthetic clips `[2, 64600]`."""
    found = arrays(shared, "inputs.npz")
    return torch.stack([found["x21"], found["x22"]])


def checkpoint(shared: Path, name: str, *, base: str = "ssl_model.model.", **settings) -> tuple[SSL, dict[str, Tensor]]:
    """The front end of a checkpoint, not scaling the waveform, and the tensors of its head by the authors' names."""
    content = torch.load(shared / "reference/ssl_parity" / name, weights_only=True, map_location="cpu")
    head = {key: tensor for key, tensor in content.items() if not key.startswith(base)}
    state, found = of_state({key.removeprefix(base): t for key, t in content.items() if key not in head})
    front_end = SSL(**{**found, "n_heads": 4, "scale_waveform": False, "weights": "random", **settings})
    front_end.base.load_state_dict(state)
    return front_end.eval(), head


def renamed(head: dict[str, Tensor], *rules: tuple[str, str]) -> dict[str, Tensor]:
    """The tensors with the parts of their names replaced."""
    for pattern, replacement in rules:
        head = {re.sub(pattern, replacement, name): tensor for name, tensor in head.items()}
    return head
