from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfilt

from deepfake.augment.codec import CODECS, Codec, transcoded
from deepfake.errors import InputError

RATE, N = 16_000, 24_000
KBPS = {"mp3": (16, 24, 32, 64), "opus": (16, 24, 32, 64), "aac": (16, 24, 32, 64)}
CASES = [(name, kbps) for name in CODECS for kbps in KBPS.get(name, (0,))]


@pytest.fixture(autouse=True)
def media():
    pytest.importorskip("av")


def voice() -> np.ndarray:
    """A buzz with modulated, formant-like noise, in which a delay shows."""
    rng, t = np.random.default_rng(0), np.arange(N) / RATE
    pulses = (np.diff(np.floor(130 * t + 3 * np.sin(5 * t)), prepend=0) != 0).astype(float)
    sound = sosfilt(butter(2, [300, 3_000], "bandpass", fs=RATE, output="sos"), pulses + 0.02 * rng.standard_normal(N))
    sound *= 0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)
    return 0.5 * sound / np.abs(sound).max()


def lag(x: np.ndarray, y: np.ndarray) -> int:
    spectrum = np.fft.rfft(y, 2 * N) * np.conj(np.fft.rfft(x, 2 * N))
    at = int(np.fft.irfft(spectrum).argmax())
    return at if at < N else at - 2 * N


def level_above(x: np.ndarray, hz: float) -> float:
    """Share of the power above a frequency."""
    power = np.abs(np.fft.rfft(x)) ** 2
    return power[int(hz * len(x) / RATE) :].sum() / power.sum()


@pytest.mark.parametrize(("name", "kbps"), CASES)
def test_in_time_and_recognisable(name, kbps):
    x = voice()
    y = transcoded(x, name, sample_rate=RATE, kbps=kbps)
    assert len(y) == N
    assert abs(lag(x, y)) <= (1 if name == "opus" else 0)  # at its lowest rates it also turns phases
    assert 0.85 < np.corrcoef(x, y)[0, 1] < 0.9999999
    assert 0.6 < np.mean(y**2) / np.mean(x**2) < 1.2  # of pulses, ADPCM loses a third
    assert np.mean(y[-300:] ** 2) > 0.3 * np.mean(x[-300:] ** 2)  # the end is there too


@pytest.mark.parametrize(("name", "kbps", "hz"), [("mulaw", 0, 4_100), ("alaw", 0, 4_100), ("mp3", 16, 7_000)])
def test_the_upper_band_is_lost(name, kbps, hz):
    white = 0.1 * np.random.default_rng(1).standard_normal(N)
    assert level_above(transcoded(white, name, sample_rate=RATE, kbps=kbps), hz) < 0.01 < level_above(white, hz)


def test_lower_rates_lose_more():
    for name, rates in KBPS.items():
        errors = [np.mean((transcoded(voice(), name, sample_rate=RATE, kbps=kbps) - voice()) ** 2) for kbps in rates]
        assert errors[0] > 2 * errors[-1]


def test_mu_law_is_g711():
    """At 8 kHz there is only the companding left: the values of the standard's table, by its formula."""
    x = np.random.default_rng(0).uniform(-0.98, 0.98, 4_000)
    y = transcoded(x, "mulaw", sample_rate=8_000, kbps=0)
    segments, steps = np.meshgrid(np.arange(8), np.arange(16), indexing="ij")
    levels = np.sort(((2 * steps + 33) * 2**segments - 33).ravel()) / 8192
    levels = np.concatenate([-levels[::-1], levels])
    assert np.abs(y[:, None] - levels).min(axis=1).max() < 1e-6
    assert np.abs(y - x).max() <= 0.5 * np.diff(levels).max() + 2e-4


def test_beyond_full_scale_is_clipped():
    x = 3 * voice()
    for name in CODECS:
        y, expected = (transcoded(z, name, sample_rate=RATE, kbps=32) for z in (x, np.clip(x, -1, 1)))
        np.testing.assert_array_equal(y, expected)


def test_another_sample_rate():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(8_000).astype(np.float32)) * 0.1
    for name in CODECS:
        y = Codec(codecs=[name], kbps=[32], sample_rate=24_000, p=1)(x, np.random.default_rng(0))
        assert y.shape == x.shape
        assert np.corrcoef(x, y)[0, 1] > 0.3  # of white noise up to 12 kHz, a third lies in the telephone's band


def test_all_are_drawn(monkeypatch):
    drawn = []

    def noted(x, name, **keywords):
        drawn.append((name, keywords["kbps"]))
        return x

    monkeypatch.setattr("deepfake.augment.codec.transcoded", noted)
    codec = Codec(p=1)
    for seed in range(300):
        codec(torch.zeros(8), np.random.default_rng(seed))
    assert set(drawn) == {(name, kbps) for name in CODECS for kbps in (16, 24, 32, 64)}


def test_a_rate_that_an_encoder_refuses():
    with pytest.raises(InputError, match=r"opus at 44100 Hz"):
        transcoded(voice(), "opus", sample_rate=44_100, kbps=32)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"deepfake\[media\]"):
        Codec()
