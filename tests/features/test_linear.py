"""The linear log spectrogram against a plain one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepfake.errors import InputError
from deepfake.features.linear import LinearBands


def bands_of(frame: np.ndarray, n_bands: int) -> np.ndarray:
    """Power of a windowed frame at 16 kHz in triangles, by the definition, bin by bin."""
    power = np.abs(np.fft.rfft(frame, 512)) ** 2
    width = 8_000 / (n_bands + 1)
    out = np.zeros(n_bands)
    for k, p in enumerate(power):
        for band in range(n_bands):
            out[band] += p * max(0.0, 1 - abs(k * 31.25 - (band + 1) * width) / width)
    return out


def test_equals_the_definition():
    x = np.random.default_rng(0).normal(scale=0.1, size=4_000)
    out = LinearBands()(torch.from_numpy(x)[None].float())[0].numpy()
    assert out.shape == (80, 26)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(320) / 320)
    for i in (1, 7, 24):
        frame = x[160 * i - 160 : 160 * i + 160] * window
        np.testing.assert_allclose(out[:, i], np.log(bands_of(frame, 80) + 1e-10), atol=1e-4)


@pytest.mark.parametrize("hz", [500.0, 3_000.0, 7_500.0])
def test_a_tone_lights_its_band(hz):
    waveform = torch.sin(2 * torch.pi * hz * torch.arange(16_000) / 16_000)[None]
    loudest = LinearBands()(waveform)[0].mean(dim=1).argmax().item()
    assert abs((loudest + 1) * 8_000 / 81 - hz) < 8_000 / 81


def test_more_bands_than_bins_are_refused():
    with pytest.raises(InputError, match="fewer bands"):
        LinearBands(n_bands=600)
    with pytest.raises(InputError, match="at least one"):
        LinearBands(n_bands=0)
