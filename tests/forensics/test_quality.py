"""Quality in blocks against plain formulas over the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.audio.measures import levels, silence
from deepfake.audio.spectrum import spectrum
from deepfake.forensics.quality import Quality


def speech(rate: int, offset: float = 0.0) -> np.ndarray:
    """Three seconds of noise that grows, in bursts, of which the upper half of the band is 80 dB softer."""
    n = 3 * rate
    values = np.random.default_rng(0).standard_normal(n) * (np.arange(n) % (rate // 5) > rate // 15)
    bins = np.fft.rfft(values * np.linspace(0.01, 0.1, n))
    bins[len(bins) // 2 :] *= 1e-4
    return (np.fft.irfft(bins, n) + offset).astype(np.float32)


def of_blocks(samples: np.ndarray, rate: int, size: int, **options: float) -> dict[str, float]:
    quality = Quality(rate, **options)
    for i in range(0, len(samples), size):
        quality.take(samples[i : i + size])
    return quality.found()


@pytest.mark.parametrize("rate", [4_000, 16_000, 44_100])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_as_measured_over_the_whole(rate, offset):
    samples = speech(rate, offset)
    doubles = samples.astype(np.float64)
    found = of_blocks(samples, rate, 10_007)
    assert found["clipped_share"] == levels(doubles)["clipped_share"]
    assert found["silence_share"] == pytest.approx(silence(doubles, rate)["silence_share"])
    assert found["top_hz"] == spectrum(doubles, rate)["top_hz"] == pytest.approx(rate / 4, abs=rate / 20)


@settings(deadline=None, max_examples=30)
@given(size=st.integers(1, 50_000), scale=st.sampled_from([1.0, 30.0]))
def test_whatever_the_blocks(size, scale):
    samples = np.clip(scale * speech(8_000)[: 200 * size], -1, 1)
    whole = of_blocks(samples, 8_000, len(samples))
    assert of_blocks(samples, 8_000, size) == pytest.approx(whole, rel=1e-9, nan_ok=True)


def test_the_mean_is_no_part_of_the_spectrum():
    samples = speech(16_000) * np.float32(1e-3)
    samples[:16_000] -= 0.5
    assert of_blocks(samples - samples.mean(), 16_000, 999)["top_hz"] == of_blocks(samples, 16_000, 999)["top_hz"]
    for constant in (0.0, 0.25, 0.3):
        assert not of_blocks(np.full(16_000, constant, np.float32), 16_000, 999)["top_hz"] > 100


def test_no_more_is_measured_than_is_asked_for():
    samples = speech(16_000)
    assert of_blocks(samples, 16_000, 4_000, seconds=1.1) == pytest.approx(of_blocks(samples[:17_600], 16_000, 4_000))


@pytest.mark.parametrize("n", [1, 30, 160, 300])
def test_less_than_a_frame_or_a_window(n):
    found = of_blocks(np.full(n, 0.5, np.float32) * (np.arange(n) % 2), 16_000, 7)
    assert found["speech_s"] == 0
    assert found["nonfinite_samples"] == 0
