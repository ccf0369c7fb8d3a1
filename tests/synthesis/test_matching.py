"""What a spoof takes over, measured by other means than it is made by, and the output chain."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, lfilter, sosfiltfilt, welch

from deepfake.audio.measures import levels, silence  # as the audit measures them
from deepfake.synthesis.lpc import lpc_vocoder
from deepfake.synthesis.matching import _limited, coloured, high_passed, matched, output_chain
from deepfake.synthesis.matching import levels as frame_levels


def decibels(x):
    return 10 * np.log10(np.mean(np.square(x)))


@pytest.fixture(scope="module", params=["copy", "another sentence, dull, gated and loud"])
def pair(request, voice):
    partner = high_passed(voice(1, 2.0))
    rng = np.random.default_rng(0)
    if request.param == "copy":
        return matched(lpc_vocoder(partner, rng), partner, rng), partner
    return matched(5 * lfilter([0.3], [1, -0.7], voice(2, 2.0, noise=0)), partner, rng), partner


def test_level_and_peak(pair):
    spoof, partner = pair
    assert len(spoof) == len(partner)
    assert abs(decibels(spoof) - decibels(partner)) < 0.2
    assert np.abs(spoof).max() < 1.2 * np.abs(partner).max()
    assert levels(spoof)["clipped_share"] * len(spoof) <= 3  # limited, not cut


def test_a_limited_waveform_has_the_peak_asked_for_and_keeps_what_is_soft(voice):
    speech = high_passed(voice(3, 2.0))
    made = _limited(speech, 0.5 * np.abs(speech).max())
    assert np.abs(made).max() == pytest.approx(0.5 * np.abs(speech).max(), rel=1e-6)
    soft = np.abs(speech) < 0.05 * np.abs(speech).max()
    assert np.median(np.abs(made[soft]) / np.abs(speech[soft])) > 0.9
    assert np.array_equal(_limited(speech, 2 * np.abs(speech).max()), speech)


def test_long_term_spectrum(pair):
    here, there = (10 * np.log10(welch(x, 16000, nperseg=256)[1])[2:-2] for x in pair)
    assert np.abs(here - there).mean() < 1.5
    assert np.abs(here - there).max() < 7


def test_noise_floor_and_silence_at_the_ends(pair):
    here, there = (silence(x, 16000) for x in pair)
    assert abs(here["noise_floor_dbfs"] - there["noise_floor_dbfs"]) < 2.5
    for name in ("leading_silence_s", "trailing_silence_s"):
        assert abs(here[name] - there[name]) <= 0.1
    assert abs(here["silence_share"] - there["silence_share"]) < 0.1


def test_the_chain_sets_level_offset_polarity_and_dither(voice):
    speech = high_passed(voice(4)) + 0.01
    made = [output_chain(speech, speech, np.random.default_rng(i)) / 32768 for i in range(12)]
    gains = [decibels(x) - decibels(speech - 0.01) for x in made]
    assert all(abs(g) < 0.55 for g in gains) and np.ptp(gains) > 0.3
    assert max(abs(x.mean()) for x in made) < 1e-6
    assert {int(np.sign(np.dot(x, speech - 0.01))) for x in made} == {-1, 1}
    assert np.array_equal(output_chain(speech, speech, np.random.default_rng(0)) / 32768, made[0])
    silent = output_chain(np.zeros(5000), np.zeros(5000), np.random.default_rng(0))
    assert set(np.unique(silent)) == {-1, 0, 1} and silent.dtype == np.int16


def test_the_chain_limits_peaks(voice):
    loud = 3 * high_passed(voice(4))
    loud *= 1.5 / np.abs(loud).max()
    peak = levels(output_chain(loud, loud, np.random.default_rng(0)) / 32768)["peak_dbfs"]
    assert peak == pytest.approx(20 * np.log10(0.97), abs=0.01)


def test_high_pass():
    t = np.arange(16000) / 16000
    assert np.abs(high_passed(np.full(16000, 0.3))[2000:-2000]).max() < 1e-3
    assert decibels(high_passed(np.sin(2 * np.pi * 200 * t))) == pytest.approx(-3.01, abs=0.1)
    assert decibels(high_passed(np.sin(2 * np.pi * 10 * t))) < -30


def test_the_correction_of_a_spectrum_goes_as_far_as_20_db():
    """A band that lacks 12 dB is raised by them, one that lacks 40 dB by 20."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(64_000)
    bands = butter(8, [3000, 5000], "bandpass", fs=16000, output="sos")
    inside = sosfiltfilt(bands, noise)
    for lack, raised in ((12, 12), (40, 20)):
        spoof = noise - (1 - 10 ** (-lack / 20)) * inside
        made = coloured(spoof, noise)
        f, before = welch(spoof, 16000, nperseg=512)
        after = welch(made, 16000, nperseg=512)[1]
        middle = (f > 3700) & (f < 4300)
        assert 10 * np.log10(after[middle].mean() / before[middle].mean()) == pytest.approx(raised, abs=1.5)


def test_the_peak_of_a_spoof_is_up_to_1_db_above_its_partners_and_the_level_is_drawn_by_half_a_db(voice):
    partner = high_passed(voice(1, 1.0))
    spiky = partner.copy()
    spiky[2000::3000] = 3 * np.abs(partner).max()
    peaks = [np.abs(matched(spiky, partner, np.random.default_rng(i))).max() / np.abs(partner).max() for i in range(12)]
    assert 1.0 <= min(peaks) < 1.05 and 1.07 < max(peaks) <= 1.121 and np.ptp(peaks) > 0.03
    drawn = [output_chain(partner, partner, np.random.default_rng(i)) / 32767 for i in range(60)]
    gains = [decibels(x) - decibels(partner - partner.mean()) for x in drawn]
    assert [min(gains), max(gains)] == pytest.approx([-0.5, 0.5], abs=0.06)


def test_levels_of_frames_end_at_the_floor():
    frames = np.concatenate([np.full(160, amplitude) for amplitude in (1.0, 0.1, 1e-7, 0.0)] + [np.ones(159)])
    assert frame_levels(frames) == pytest.approx([0.0, -20.0, -100.0, -100.0], abs=1e-6)
