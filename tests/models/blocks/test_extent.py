"""Refusals in words."""

from __future__ import annotations

import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.blocks.extent import require_bands, require_fraction, require_frames, require_raw


def test_names_what_was_got_and_wanted() -> None:
    with pytest.raises(InputError, match=r"CNN needs .* 16 bands, got raw audio .*features=mel"):
        require_bands("CNN", 1, 16)
    with pytest.raises(InputError, match=r"RawNet2 needs raw audio .* 60 channels: choose features=raw"):
        require_raw("RawNet2", 60)
    with pytest.raises(InputError, match=r"at least 20 samples, got 3"):
        require_frames("AASIST", torch.zeros(1, 1, 3), 1, 20)
    with pytest.raises(InputError, match=r"\[B, 8, L\], got \[8, 3\]"):
        require_frames("CNN", torch.zeros(8, 3), 8, 1)
    with pytest.raises(InputError, match=r"model.dropout is nan"):
        require_fraction("model.dropout", float("nan"))


def test_the_least_is_enough() -> None:
    require_bands("CNN", 16, 16)
    require_raw("RawNet2", 1)
    require_frames("CNN", torch.zeros(1, 16, 16), 16, 16)
    require_fraction("model.dropout", 0.0)
