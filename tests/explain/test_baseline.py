"""Fillings: what they keep of a clip, and what they remove."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import welch
from small_detectors import Linear, noise, tone

from deepfake.errors import InputError
from deepfake.explain.baseline import FILLINGS, noise_like, refilled, require_filling, reversed_blocks, silence
from deepfake.explain.clip import Clip


def coloured() -> torch.Tensor:
    """Noise with more power below, in bursts."""
    white = noise(2.0).numpy()
    low = np.convolve(white, np.ones(8) / 8, mode="same")
    return torch.from_numpy(low * (np.arange(len(low)) % 4000 < 2000)).float()


def test_noise_has_the_level_and_spectrum_of_the_clip_and_not_its_bursts():
    clip = coloured()
    filling = noise_like(clip, 0)
    assert filling.shape == clip.shape
    assert float(filling.square().mean()) == pytest.approx(float(clip.square().mean()), rel=1e-4)
    own, given = (welch(w.numpy(), 16000, nperseg=256)[1][2:-2] for w in (clip, filling))
    assert np.abs(10 * np.log10(given / own)).mean() < 1.0
    loudness = filling.square().reshape(-1, 2000).mean(dim=1)
    assert loudness.max() / loudness.min() < 2
    assert abs(np.corrcoef(clip, filling)[0, 1]) < 0.05


def test_a_tone_does_not_come_back_as_that_tone():
    clip = tone(16000, 1000, 0, 1)
    spectrum = torch.fft.rfft(noise_like(clip, 0)).abs().square()
    assert spectrum[995:1006].sum() < 0.6 * spectrum.sum()  # of the clip itself: all of it
    assert spectrum[900:1101].sum() > 0.95 * spectrum.sum()


@pytest.mark.parametrize("n", [4, 5, 300, 513])
@pytest.mark.parametrize("name", FILLINGS)
def test_short_and_silent_clips_have_fillings(name, n):
    assert not FILLINGS[name](torch.zeros(n), 0).any()
    filling = FILLINGS[name](noise(1.0)[:n], 0)
    assert filling.shape == (n,) and filling.isfinite().all()


@pytest.mark.parametrize("name", ["noise", "reversed"])
def test_a_seed_gives_one_filling(name):
    clip = coloured()
    one, same, other = (FILLINGS[name](clip, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_reversed_blocks_hold_the_same_samples_within_50_ms():
    clip = torch.arange(5000.0)
    turned = reversed_blocks(clip, 3)
    assert torch.equal(turned.sort().values, clip) and (turned - clip).abs().max() < 800
    assert (turned.diff() == -1).float().mean() > 0.99


def test_a_clip_is_refilled():
    clip = Clip(Linear(torch.zeros(8000)), noise(0.3))
    none = torch.zeros_like(clip.gain)
    for name, filling in FILLINGS.items():
        again = refilled(clip, name, seed=4)
        assert torch.allclose(again.waveform(none)[0, :4800], filling(clip.source, 4), atol=1e-5)
        assert torch.allclose(again.waveform(again.gain), clip.input(), atol=1e-5)
    assert not silence(noise(0.1)).any()


def test_an_unknown_filling_is_refused():
    with pytest.raises(InputError, match="baseline=music: one of silence, noise, reversed"):
        require_filling("baseline", "music")
