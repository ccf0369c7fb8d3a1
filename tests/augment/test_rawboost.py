"""RawBoost's parts against plain loops over what the paper and the authors' script define."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import firwin, freqz, lfilter

from deepfake.augment.rawboost import RawBoost, convolved, within_full_scale

RATE = 16_000


class Scripted:
    """A generator that returns given values and records the bounds it was asked for."""

    def __init__(self, *values):
        self.values, self.asked = list(values), []

    def uniform(self, low, high, size=None):
        self.asked.append((low, high))
        return self.values.pop(0)


def speech(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.3 * np.sin(2 * np.pi * 200 * np.arange(n) / RATE) + 0.05 * rng.standard_normal(n)


@given(n=st.integers(1, 400), half=st.integers(0, 60), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_filtering_is_the_script_s(n, half, seed):
    rng = np.random.default_rng(seed)
    x, taps = rng.standard_normal(n), rng.standard_normal(2 * half + 1)
    padded = lfilter(taps, 1, np.append(x, np.zeros(len(taps) + 1)))
    margin = len(taps) + 1
    np.testing.assert_allclose(convolved(x, taps), padded[margin // 2 : len(padded) - margin // 2], atol=1e-9)


def test_notches_are_windowed_sincs_in_cascade():
    draws = [(1_000.0, 400.0, 30.9), (50.0, 600.0, 17.2), (7_900.0, 1_000.0, 99.9)]
    rng = Scripted(*(value for draw in draws for value in draw), -6.0)
    taps = RawBoost(n_bands=3).notches(rng, (-20.0, -5.0))
    assert rng.asked == [(20.0, 8_000.0), (100.0, 1_000.0), (10, 100)] * 3 + [(-20.0, -5.0)]
    expected = np.ones(1)
    for low, high, n in ((800.0, 1_200.0, 31), (0.001, 350.0, 17), (7_400.0, 7_999.999, 99)):
        t = np.arange(n) - n // 2
        band = (2 * high * np.sinc(2 * high * t / RATE) - 2 * low * np.sinc(2 * low * t / RATE)) / RATE
        notch = ((t == 0) - band) * np.hamming(n)
        expected = np.convolve(expected, notch / notch.sum())
    response = np.abs(np.exp(-1j * np.outer(np.arange(512) * np.pi / 512, np.arange(len(expected)))) @ expected)
    np.testing.assert_allclose(taps, 10 ** (-6 / 20) * expected / response.max(), atol=1e-9)


def test_notches_stop_where_they_are():
    for seed in range(20):
        taps = RawBoost().notches(np.random.default_rng(seed), (0.0, 0.0))
        assert len(taps) % 2 == 1
        response = np.abs(freqz(taps, 1, worN=512)[1])
        assert response.max() == pytest.approx(1)
        assert response.min() < 0.5


def test_powers_go_through_filters_of_their_own(monkeypatch):
    filters = [np.array([0.0, 1.0, 0.0]), np.array([0.2, 0.5, 0.1]), np.array([0.3])]
    gains, given_back = [], iter(filters)

    def scripted(self, rng, gain):
        gains.append(tuple(gain))
        return next(given_back)

    monkeypatch.setattr(RawBoost, "notches", scripted)
    x = speech(500)
    y = RawBoost(algo=1, n_powers=3).apply(x.copy(), np.random.default_rng(0))
    assert gains == [(0.0, 0.0), (-20.0, -5.0), (-20.0, -5.0)]
    expected = sum(convolved(x**power, taps) for power, taps in zip((1, 2, 3), filters, strict=True))
    np.testing.assert_allclose(y, expected - expected.mean(), atol=1e-12)


def test_impulses_hit_some_samples_by_a_share_of_themselves():
    x, most, moved = speech(20_000), [], []
    for seed in range(40):
        y = RawBoost(algo=2).apply(0.2 * x, np.random.default_rng(seed))
        hit = y != 0.2 * x
        most.append(hit.mean())
        moved += list((y[hit] / (0.2 * x[hit]) - 1) / 2)
    assert max(most) < 0.1
    assert np.mean(most) == pytest.approx(0.05, abs=0.015)
    moved = np.array(moved)
    assert np.abs(moved).max() <= 1 + 1e-9
    # The product of two uniform numbers on -1 ... 1: P(|r| < a) = a (1 - log a).
    for a in (0.05, 0.2, 0.5):
        assert (np.abs(moved) < a).mean() == pytest.approx(a * (1 - np.log(a)), abs=0.02)
    assert np.mean(moved) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("snr", [10.0, 40.0])
def test_stationary_noise_has_its_ratio(snr):
    x = speech(8_000)
    noise = RawBoost(algo=3, snr_min=snr, snr_max=snr).apply(x.copy(), np.random.default_rng(1)) - x
    assert 10 * np.log10(np.sum(x**2) / np.sum(noise**2)) == pytest.approx(snr, abs=1e-6)


@pytest.mark.parametrize(("algo", "parts"), [(4, "123"), (5, "12"), (6, "13"), (7, "23")])
def test_series(algo, parts):
    rng = np.random.default_rng(2)
    expected = speech(3_000)
    for part in parts:
        expected = RawBoost(algo=int(part)).apply(expected, rng)
    np.testing.assert_array_equal(RawBoost(algo=algo).apply(speech(3_000), np.random.default_rng(2)), expected)


def test_parallel():
    x, rng = speech(3_000), np.random.default_rng(2)
    expected = RawBoost(algo=1).apply(x, rng) + RawBoost(algo=2).apply(x, rng)
    expected /= max(1, np.abs(expected).max())
    np.testing.assert_allclose(RawBoost(algo=8).apply(x, np.random.default_rng(2)), expected)


def test_only_what_exceeds_full_scale_is_scaled_down():
    quiet = np.array([0.5, -0.9])
    np.testing.assert_array_equal(within_full_scale(quiet), quiet)
    np.testing.assert_allclose(within_full_scale(np.array([1.0, -4.0])), [0.25, -1.0])


def test_firwin_makes_a_notch():
    """What the filters rest on: scipy's default for two edges is a band-stop."""
    response = np.abs(freqz(firwin(101, [2_000, 3_000], fs=RATE), 1, worN=[2_500], fs=RATE)[1])
    assert response[0] < 0.01
