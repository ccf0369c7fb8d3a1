"""The mel front end against librosa."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from deepfake.errors import InputError
from deepfake.features.mel import Mel


def speechlike(n: int) -> np.ndarray:
    """Loud and quiet stretches, and digital silence, of coloured noise."""
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=n)) * 1e-3
    x -= np.convolve(x, np.ones(101) / 101, mode="same")
    x *= np.repeat(10.0 ** rng.uniform(-3, 0, size=n // 1000 + 1), 1000)[:n]
    x[n // 2 : n // 2 + 5_000] = 0.0
    return x.astype(np.float32)


def test_five_seconds_are_128_by_157():
    assert Mel()(torch.zeros(1, 80_000)).shape == (1, 128, 157)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"n_bands": 80, "n_fft": 1024, "hop_length": 160, "win_length": 400}, {}),
        ({"n_bands": 40, "n_fft": 512, "hop_length": 128, "f_min": 300.0, "f_max": 3400.0}, {}),
        ({"sample_rate": 8_000, "n_bands": 64}, {}),
    ],
)
def test_equals_librosa(ours, theirs):
    x = speechlike(40_000)
    names = {"sample_rate": "sr", "n_bands": "n_mels", "f_min": "fmin", "f_max": "fmax"}
    theirs = {"sr": 16_000, **{names.get(key, key): value for key, value in ours.items()}}
    power = librosa.feature.melspectrogram(y=x.astype(np.float64), **theirs)
    unit = librosa.power_to_db(power, ref=np.max, top_db=80) / 80 + 1
    waveform = torch.from_numpy(x)[None]
    assert (Mel(**ours)(waveform)[0] - torch.from_numpy(unit)).abs().max() < 1e-4
    log = torch.from_numpy(np.log(power + 1e-10))
    assert (Mel(**ours, scale="log")(waveform)[0] - log).abs().max() < 1e-3


def test_unit_forgets_the_level_and_log_keeps_it():
    waveform = 100 * torch.from_numpy(speechlike(20_000))[None]  # 80 dB below its maximum is above the floor
    unit, log = Mel(), Mel(scale="log")
    assert unit(waveform).amin() == 0.0
    assert unit(waveform).amax() == 1.0
    assert torch.allclose(unit(waveform), unit(0.5 * waveform), atol=2e-3)
    loud = log(waveform) > -10
    assert torch.allclose((log(waveform) - log(0.5 * waveform))[loud], torch.tensor(4.0).log(), atol=1e-3)


def test_unit_is_relative_to_each_clip():
    waveform = torch.from_numpy(speechlike(20_000))
    out = Mel()(torch.stack((waveform, 0.1 * waveform)))
    assert out.amax(dim=(1, 2)).tolist() == [1.0, 1.0]


def test_what_does_not_fit():
    with pytest.raises(InputError, match="unit, log"):
        Mel(scale="db")
    with pytest.raises(InputError, match="half the sample rate"):
        Mel(f_max=9_000.0)
    with pytest.raises(InputError, match="fewer bands"):
        Mel(n_fft=256)
    with pytest.raises(InputError, match="win_length=4096"):
        Mel(win_length=4096)
    with pytest.raises(InputError, match="f_min"):
        Mel(f_min=4_000.0, f_max=1_000.0)
