"""The systems: each says the same in the same place, or what it was asked to change."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import stft

from deepfake.datasets.demo_voice import Voice, speak
from deepfake.synthesis import systems, world
from deepfake.synthesis.frames import minimum_phase, spectra, warped, waveform_of
from deepfake.synthesis.pitch import f0
from deepfake.synthesis.systems import SYSTEMS, available
from deepfake.synthesis.tts import SENTENCES, read_texts

COPIES = [name for name, system in SYSTEMS.items() if system.copies]
CONVERSIONS = ["A03", "A07"]


@pytest.fixture(scope="module")
def speech():
    rng = np.random.default_rng(3)
    voice = Voice(150, 1.05, 1, 500, 0.03, 0.003, 0.03, 4, 0.08)
    return 0.1 * speak(voice, 1.5, rng) + 0.001 * rng.standard_normal(24000)


def spoof(name, speech, seed=0):
    if SYSTEMS[name].needs == "pyworld" and world.pyworld() is None:
        pytest.skip("pyworld is not installed")
    return SYSTEMS[name].spoof(speech, read_texts(SENTENCES), np.random.default_rng(seed))


def decibels(waveform):
    return 20 * np.log10(np.abs(stft(waveform, 16000, nperseg=512)[2])[:200] + 1e-4)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_says_the_same_at_the_same_time(name, speech):
    copy = spoof(name, speech)
    assert copy.shape == speech.shape and np.isfinite(copy).all()
    here, there = decibels(copy), decibels(speech)
    assert np.corrcoef(here.ravel(), there.ravel())[0, 1] > 0.85
    assert np.corrcoef(here.ravel(), np.roll(there, 30, axis=1).ravel())[0, 1] < 0.7
    assert not np.allclose(copy, speech, atol=1e-3)


@pytest.mark.parametrize("name", [*COPIES, *CONVERSIONS])
def test_pitch_is_kept_or_moved(name, speech):
    before, after = f0(speech), f0(spoof(name, speech))
    both = (before > 0) & (after > 0)
    assert both.sum() > 0.6 * (before > 0).sum()
    semitones = np.abs(np.median(12 * np.log2(after[both] / before[both])))
    assert 1.3 < semitones < 5.2 if name in CONVERSIONS else semitones < 0.3


@pytest.mark.parametrize("name", [*COPIES, *CONVERSIONS])
def test_the_same_seed_gives_the_same_spoof_and_digital_silence_does_no_harm(name, speech):
    gated = speech * (np.arange(len(speech)) > 8000)
    first, second, other = (spoof(name, gated, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    assert np.isfinite(first).all() and np.abs(first[:6000]).max() < 1e-3 < np.abs(first).max()


def test_a_lowered_voice_has_no_empty_band():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(16000)
    for seed in range(4):
        power = np.mean(np.abs(spectra(spoof("A07", noise, seed), 512)) ** 2, axis=0)
        assert power[240:256].mean() > 0.2 * power[100:200].mean()


def test_f0_follows_a_glide_and_finds_none_in_noise():
    n = 32000
    hz = np.linspace(90, 330, n)
    rng = np.random.default_rng(0)
    tone = sum(np.cos(k * 2 * np.pi * np.cumsum(hz) / 16000) / k for k in range(1, 15)) * (hz < 300)
    found = f0(tone + 0.05 * rng.standard_normal(n))
    true = hz[np.minimum(np.arange(len(found)) * 128, n - 1)]
    inner = (true > 95) & (true < 290)
    assert np.abs(np.log2(found[inner] / true[inner])).max() < 0.02
    assert not found[true > 310].any()
    assert not f0(np.zeros(4000)).any()


def test_frames_give_the_waveform_back():
    waveform = np.random.default_rng(0).standard_normal(3001)
    assert np.abs(waveform_of(spectra(waveform, 512), 128, 3001) - waveform).max() < 1e-9


def test_minimum_phase_is_that_of_a_filter_whose_zeros_lie_inside():
    response = np.fft.rfft([1.0, -0.9, 0.5, 0.1], 1024)
    assert np.abs(minimum_phase(np.log(np.abs(response))[None])[0] - np.angle(response)).max() < 1e-6


def test_warped_moves_a_peak():
    rows = np.exp(-((np.arange(257) - 100.0) ** 2) / 50)[None]
    assert warped(rows, 1.2)[0].argmax() == 120 and warped(rows, 0.8)[0].argmax() == 80


def test_what_is_not_installed_is_not_available(monkeypatch):
    monkeypatch.setattr(systems, "pyworld", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    assert list(available()) == ["A02", "A04", "A06", "A07"]


def test_pyworld_that_cannot_be_imported_is_none(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyworld", None)
    world.pyworld.cache_clear()
    assert world.pyworld() is None
    world.pyworld.cache_clear()
