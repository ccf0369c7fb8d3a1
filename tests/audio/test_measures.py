"""Cues: known signals give known numbers, whatever they are stored in."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from sounds import media

from deepfake.audio import measures as module
from deepfake.audio import spectrum as spectra
from deepfake.audio.measures import MEANINGS, cues, levels, resolution, silence, spectrum, word
from deepfake.errors import InputError

RATE = 16_000


def noise(seconds: float = 1.0, *, rate: int = RATE, level: float = 0.05, seed: int = 0) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def low_passed(samples: np.ndarray, hz: float, rate: int = RATE) -> np.ndarray:
    transformed = np.fft.rfft(samples)
    transformed[np.fft.rfftfreq(len(samples), 1 / rate) > hz] = 0
    return np.fft.irfft(transformed, len(samples))


def write(folder, samples, *, rate=RATE, name="a.wav", subtype=None):
    path = folder / name
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def test_every_cue_is_there_in_the_order_of_the_table(tmp_path):
    found = cues(write(tmp_path, noise()))
    assert list(found) == list(MEANINGS)
    assert all(type(value) is float for value in found.values())
    assert not any(math.isnan(value) for value in found.values())


def test_levels_of_a_full_scale_sine():
    sine = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    found = levels(0.5 * sine + 0.01)
    assert levels(sine)["rms_dbfs"] == pytest.approx(-3.0103, abs=1e-3)
    assert levels(sine)["crest_db"] == pytest.approx(3.0103, abs=1e-3)
    assert found["peak_dbfs"] == pytest.approx(20 * math.log10(0.51), abs=1e-6)
    assert found["dc_offset"] == pytest.approx(0.01, abs=1e-9)


def test_clipping_shows_at_any_level_after_it():
    samples = noise(level=0.3)
    clipped = np.clip(samples, -0.5, 0.5)
    share = np.mean(np.abs(samples) >= 0.5)
    assert levels(samples)["clipped_share"] == pytest.approx(1 / RATE)
    assert levels(0.2 * clipped)["clipped_share"] == pytest.approx(share, abs=1e-3) and share > 0.05


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("floor", [0.0, 1e-4])
def test_silence_of_known_length(rate, floor):
    speech = noise(1.0, rate=rate)
    speech[rate // 2 : rate // 2 + rate // 10] *= 1e-3  # 0.1 s in the middle
    samples = np.concatenate([np.zeros(round(0.30 * rate)), speech, np.zeros(round(0.17 * rate))])
    samples = samples + floor * np.random.default_rng(1).standard_normal(len(samples))
    found = silence(samples, rate)
    assert found["leading_silence_s"] == pytest.approx(0.30, abs=0.0101)
    assert found["trailing_silence_s"] == pytest.approx(0.17, abs=0.0101)
    assert found["silence_share"] == pytest.approx(0.57 / 1.47, abs=0.02)
    expected = 20 * math.log10(floor) if floor else -150
    assert found["noise_floor_dbfs"] == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize(("rate", "edge"), [(16_000, 5000), (44_100, 16_000), (48_000, 8000), (8000, 3400)])
def test_bandwidth_and_brickwall_of_band_limited_noise(rate, edge):
    found = spectrum(low_passed(noise(2.0, rate=rate), edge, rate) + noise(2.0, rate=rate, level=1e-7, seed=1), rate)
    assert found["bandwidth_hz"] == pytest.approx(edge, abs=100)
    assert found["top_hz"] == pytest.approx(edge, abs=250)  # a Hann window falls by 60 dB in 7 bins of 31 Hz
    assert found["brickwall_hz"] == pytest.approx(edge, abs=150)
    assert found["brickwall_db"] > 40
    white = spectrum(noise(2.0, rate=rate), rate)
    assert white["top_hz"] == pytest.approx(rate / 2)
    assert white["brickwall_db"] < 3


def test_energy_above_an_edge_is_its_share_of_the_band():
    found = spectrum(noise(4.0), RATE)
    assert found["above_3800_hz_db"] == pytest.approx(10 * math.log10(4200 / 8000), abs=0.1)
    assert found["above_7500_hz_db"] == pytest.approx(10 * math.log10(17 / 257), abs=0.2)  # bins of 31.25 Hz
    narrow = spectrum(noise(4.0, rate=8000), 8000)
    assert narrow["above_3800_hz_db"] == pytest.approx(10 * math.log10(7 / 129), abs=0.3)
    assert "above_7500_hz_db" not in narrow


def test_holes_are_bands_missing_between_others():
    whole = noise(2.0)
    transformed = np.fft.rfft(whole)
    hertz = np.fft.rfftfreq(len(whole), 1 / RATE)
    transformed[(hertz > 4900) & (hertz < 5600)] = 0  # the band from 5 to 5.5 kHz
    holed = np.fft.irfft(transformed)
    holed[: len(holed) // 2] = whole[: len(holed) // 2]
    n_judged = 10  # of the 12 bands from 2 to 8 kHz, those with two neighbours
    assert spectrum(whole, RATE)["hole_share"] == 0
    assert spectrum(holed, RATE)["hole_share"] == pytest.approx(0.5 / n_judged, rel=0.1)


def test_mp3_history_shows_in_the_edge_of_the_band():
    rng = np.random.default_rng(3)
    voice = np.convolve(rng.standard_normal(3 * RATE), [1, -1.6, 0.8], "same") * 0.02
    voice *= np.repeat(rng.uniform(0.05, 1, 60), len(voice) // 60)  # syllables
    file = io.BytesIO()
    soundfile.write(file, voice, RATE, format="MP3", compression_level=0.9)
    file.seek(0)
    before, after = spectrum(voice, RATE), spectrum(soundfile.read(file)[0], RATE)
    assert after["brickwall_db"] > before["brickwall_db"] + 20
    assert after["bandwidth_hz"] < before["bandwidth_hz"]


@pytest.mark.parametrize(
    ("subtype", "bits"), [("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24), ("FLOAT", None), ("ULAW", None)]
)
def test_bits_of_integer_and_float_files(tmp_path, subtype, bits):
    found = cues(write(tmp_path, noise(), subtype=subtype))
    assert word("coding", found["coding"]) == subtype
    if bits:
        assert found["effective_bits"] == bits
    elif subtype == "FLOAT":
        assert found["effective_bits"] > 24
    else:
        assert found["effective_bits"] <= 14  # G.711 decodes to 14 bits


def test_eight_bits_leave_a_trace_in_sixteen(tmp_path):
    samples = np.clip(noise(2.0, level=0.2), -0.9, 0.9)
    coarse = np.round(samples * 128) / 128
    assert cues(write(tmp_path, coarse))["effective_bits"] == 8
    louder = resolution(np.round(coarse * 0.77 * 32768) / 32768)
    fine = resolution(np.round(samples * 0.77 * 32768) / 32768)
    assert louder["effective_bits"] == 16
    assert louder["levels_used_share"] < 0.02 < 0.3 < fine["levels_used_share"]


def test_channels_are_mixed_and_counted(tmp_path):
    left = noise(level=0.1)
    left -= left.mean()
    found = cues(write(tmp_path, np.column_stack([left, 0.02 - 0.5 * left])))
    assert found["n_channels"] == 2
    assert found["dc_offset"] == pytest.approx(0.01, abs=1e-4)
    assert found["rms_dbfs"] == pytest.approx(-31.4, abs=0.1)  # 0.025 and 0.01


def test_facts_of_the_file(tmp_path):
    path = write(tmp_path, noise(2.0, rate=8000), rate=8000, name="a.flac")
    found = cues(path)
    assert found["duration_s"] == 2
    assert found["sample_rate_hz"] == 8000
    assert found["bytes_per_s"] == path.stat().st_size / 2
    assert (word("container", found["container"]), word("coding", found["coding"])) == ("FLAC", "PCM_16")
    assert word("coding", module._code("coding", "of tomorrow")) == "other"
    assert math.isnan(found["above_7500_hz_db"]) and word("above_7500_hz_db", math.nan) == ""


@pytest.mark.parametrize(
    ("container", "codec", "words"),
    [
        ("mov", "pcm_s16le", ("MOV", "PCM_16")),
        ("matroska", "ac3", ("MATROSKA", "AC3")),
        ("asf", "wmav2", ("ASF", "WMAV2")),
        ("avi", "pcm_s16le", ("AVI", "PCM_16")),
        ("matroska", "mp2", ("MATROSKA", "MPEG_LAYER_II")),
        ("amr", "amr_nb", ("AMR", "AMR_NB")),
    ],
)
def test_what_ffmpeg_reads_has_words_too(container, codec, words, tmp_path):
    rate = 8_000 if codec == "amr_nb" else 48_000
    (tmp_path / "a").write_bytes(
        media(tmp_path, container, codec, rate, coding={"b": "64k"} if codec == "wmav2" else {})
    )
    found = cues(tmp_path / "a")
    assert (word("container", found["container"]), word("coding", found["coding"])) == words


def test_a_file_of_zeros_is_all_silence(tmp_path):
    found = cues(write(tmp_path, np.zeros(RATE)))
    assert found["leading_silence_s"] == found["trailing_silence_s"] == 1
    assert found["silence_share"] == found["zero_share"] == 1
    assert found["rms_dbfs"] == found["noise_floor_dbfs"] == -150
    assert math.isnan(found["bandwidth_hz"]) and math.isnan(found["crest_db"])


@pytest.mark.parametrize("rate", [4000, 16000, 192_000])
def test_the_shortest_file_that_is_read(tmp_path, rate):
    found = cues(write(tmp_path, noise(0.01, rate=rate), rate=rate))
    assert found["duration_s"] == 0.01
    assert 0.3 * rate < found["bandwidth_hz"] <= rate / 2  # of white noise


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    for path in (write(tmp_path, np.zeros(10)), tmp_path / "text.wav", tmp_path / "none.wav"):
        with pytest.raises(InputError, match=path.name):
            cues(path)


def test_a_long_file_is_measured_by_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_SECONDS", 1)
    samples = np.concatenate([noise(1.0), np.zeros(2 * RATE)])
    found = cues(write(tmp_path, samples))
    assert found["duration_s"] == 3
    assert found["zero_share"] < 0.01
    assert math.isnan(found["trailing_silence_s"])


def test_windows_are_the_same_in_any_portion(monkeypatch):
    samples = noise(2.0)
    whole = spectrum(samples, RATE)
    monkeypatch.setattr(spectra, "WINDOWS_IN_CACHE", 5)
    assert spectrum(samples, RATE) == whole  # to the last bit
    monkeypatch.setattr(spectra, "WINDOWS_AT_ONCE", 7)
    assert spectrum(samples, RATE) == pytest.approx(whole, rel=1e-9)


@given(st.integers(0, 10_000), st.sampled_from([-1.0, 0.5, 2.0, -0.25]))
def test_a_gain_moves_the_levels_alone(seed, gain):
    samples = noise(0.2, seed=seed)
    before, after = ({**levels(x), **silence(x, RATE), **spectrum(x, RATE)} for x in (samples, gain * samples))
    moved = {"rms_dbfs", "peak_dbfs", "noise_floor_dbfs"}
    for name, value in before.items():
        if name == "dc_offset":
            assert after[name] == pytest.approx(gain * value)
        else:
            shift = 20 * math.log10(abs(gain)) if name in moved else 0
            assert after[name] == pytest.approx(value + shift, abs=1e-6)
