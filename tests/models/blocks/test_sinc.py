"""The sinc filterbank."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import firwin

from deepfake.errors import InputError
from deepfake.models.blocks.sinc import SincFilters


def test_filters_are_scipy_s_windowed_band_passes() -> None:
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 71)
    edges = 700 * (10 ** (mel / 2595) - 1)
    filters = SincFilters(70, 129).filters[:, 0].numpy()
    for i in (1, 20, 68):  # the first and last band touch 0 Hz and half the sample rate, which scipy refuses
        expected = firwin(129, [edges[i], edges[i + 1]], pass_zero=False, scale=False, fs=16000, window="hamming")
        np.testing.assert_allclose(filters[i], expected, rtol=0, atol=1e-6)


def test_a_tone_is_loudest_in_its_band() -> None:
    bank = SincFilters(10, 129)
    tone = torch.sin(2 * torch.pi * 3000 * torch.arange(4000) / 16000)
    energy = bank(tone[None, None]).square().mean(dim=2)[0]
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 11)
    edges = 700 * (10 ** (mel / 2595) - 1)
    assert edges[energy.argmax()] < 3000 < edges[energy.argmax() + 1]


def test_filters_move_but_are_not_saved_or_learned() -> None:
    bank = SincFilters(70, 129)
    assert not bank.state_dict()
    assert not list(bank.parameters())
    assert bank.double().filters.dtype == torch.float64


@pytest.mark.parametrize(("n_filters", "n_taps"), [(0, 129), (70, 128), (70, 0), (70, -1)])
def test_bad_sizes(n_filters: int, n_taps: int) -> None:
    with pytest.raises(InputError):
        SincFilters(n_filters, n_taps)


@pytest.mark.parametrize("n_samples", [1025, 1026, 5000, 8192, 8193, 20_000])
def test_long_filters_by_the_fourier_transform(n_samples: int) -> None:
    bank = SincFilters(6, 1025)
    waveform = torch.randn(2, 1, n_samples, requires_grad=True)
    expected = torch.nn.functional.conv1d(waveform, bank.filters)
    out = bank(waveform)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    weights = torch.randn_like(out)
    (gradient,) = torch.autograd.grad((out * weights).sum(), waveform)
    torch.testing.assert_close(
        gradient, torch.autograd.grad((expected * weights).sum(), waveform)[0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("n_samples", [140, 3212, 6400])
def test_pooled_bands_are_those_of_forward(n_samples: int) -> None:
    bank = SincFilters(10, 129)
    waveform = torch.randn(1, 1, n_samples)
    expected = torch.nn.functional.max_pool2d(bank(waveform).abs(), 3)
    torch.testing.assert_close(bank.pooled(waveform, 3), expected, rtol=0, atol=1e-6)
