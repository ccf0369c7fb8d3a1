"""Mel and LFCC of the same frames, one below the other."""

from __future__ import annotations

import pytest
import torch

from deepfake.errors import InputError
from deepfake.features.lfcc import LFCC
from deepfake.features.mel import Mel
from deepfake.features.mel_lfcc import MelLFCC


@pytest.mark.parametrize("scale", ["unit", "log"])
def test_it_is_both_front_ends(scale: str) -> None:
    waveform = 0.1 * torch.randn(2, 8000)
    frames = {"n_fft": 512, "win_length": 400, "hop_length": 200}
    both = MelLFCC(n_mels=40, n_coefficients=12, scale=scale, **frames)
    assert both.n_channels == 76 and both.frames_per_second == 80
    mel, lfcc = both(waveform).split([40, 36], dim=1)
    assert torch.equal(mel, Mel(n_bands=40, scale=scale, **frames)(waveform))
    assert torch.equal(lfcc, LFCC(n_coefficients=12, **frames)(waveform))


def test_noise_is_reduced_once_for_both() -> None:
    waveform = 0.1 * torch.randn(2, 8000)
    mel, lfcc = MelLFCC(denoise=0.5)(waveform).split([80, 60], dim=1)
    frames = {"n_fft": 512, "win_length": 320, "hop_length": 160, "denoise": 0.5}
    torch.testing.assert_close(mel, Mel(n_bands=80, **frames)(waveform))
    torch.testing.assert_close(lfcc, LFCC(**frames)(waveform))
    assert not torch.allclose(mel, MelLFCC()(waveform)[:, :80])


def test_each_channel_is_normalised_by_itself() -> None:
    waveform = 0.1 * torch.randn(4, 8000)
    front_end = MelLFCC(normalise="train_stats")
    front_end.normalise.update(front_end.extract(waveform))
    front_end.normalise.finish()
    for features in (front_end(waveform), MelLFCC(normalise="utterance")(waveform)):
        deviation, mean = torch.std_mean(features, dim=(0, 2), correction=0)
        assert mean.abs().max() < 1e-3 and (deviation - 1).abs().max() < 1e-2


def test_it_has_no_weights() -> None:
    assert not MelLFCC().state_dict() and not list(MelLFCC().parameters())


@pytest.mark.parametrize("wrong", [{"scale": "x"}, {"n_mels": 400}, {"win_length": 1024}])
def test_what_does_not_fit(wrong: dict) -> None:
    with pytest.raises(InputError):
        MelLFCC(**wrong)
