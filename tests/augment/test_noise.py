from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import welch

from deepfake.augment.noise import FLAT_BELOW_HZ, Noise
from deepfake.errors import InputError


def voice(n: int = 16_000) -> torch.Tensor:
    return torch.sin(2 * torch.pi * 220 * torch.arange(n) / 16_000) * 0.2


def added(noise: Noise, seed: int, waveform: torch.Tensor) -> np.ndarray:
    return (noise(waveform, np.random.default_rng(seed)).double() - waveform.double()).numpy()


def snr(waveform: torch.Tensor, noise: np.ndarray) -> float:
    return 10 * np.log10(np.mean(waveform.double().numpy() ** 2) / np.mean(noise**2))


@pytest.mark.parametrize("colour", ["white", "pink", "brown", "babble"])
@pytest.mark.parametrize("wanted", [-5.0, 0.0, 20.0])
def test_the_ratio_is_the_one_asked_for(colour, wanted):
    noise = Noise(colours=[colour], snr_min=wanted, snr_max=wanted, p=1)
    assert snr(voice(), added(noise, 0, voice())) == pytest.approx(wanted, abs=0.01)


def test_ratios_are_drawn_over_their_range():
    noise = Noise(snr_min=3, snr_max=9, p=1)
    drawn = [snr(voice(2_000), added(noise, seed, voice(2_000))) for seed in range(200)]
    assert 3 <= min(drawn) < 3.3
    assert 8.7 < max(drawn) <= 9.001


@pytest.mark.parametrize(("colour", "slope"), [("white", 0.0), ("pink", -1.0), ("brown", -2.0)])
def test_power_falls_as_the_colour_says(colour, slope):
    noise = Noise(colours=[colour], snr_min=0, snr_max=0, p=1)
    hz, power = welch(added(noise, 1, voice(160_000)), 16_000, nperseg=2_048)
    band = (hz > 2 * FLAT_BELOW_HZ) & (hz < 7_000)
    found = np.polyfit(np.log(hz[band]), np.log(power[band]), 1)[0]
    assert found == pytest.approx(slope, abs=0.1)


def test_babble_has_the_spectrum_of_speech_and_comes_and_goes_with_syllables():
    given = voice(320_000)
    babble, white = (added(Noise(colours=[c], snr_min=0, snr_max=0, p=1), 3, given) for c in ("babble", "white"))
    hz, power = welch(babble, 16_000, nperseg=2_048)
    band = (hz > 700) & (hz < 7_000)
    assert np.polyfit(np.log(hz[band]), np.log(power[band]), 1)[0] == pytest.approx(-3.0, abs=0.15)
    levels = [np.square(x).reshape(-1, 320).mean(1) for x in (babble, white)]  # by 20 ms
    spread = [x.std() / x.mean() for x in levels]
    assert spread[0] > 4 * spread[1]
    hz, slow = welch(levels[0], 50, nperseg=500)
    assert slow[(hz > 0) & (hz < 10)].sum() > 5 * slow[hz >= 10].sum()


def test_nothing_is_added_to_silence():
    assert not Noise(p=1)(torch.zeros(1_000), np.random.default_rng(0)).any()


def test_files_of_a_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    n = 8_000
    tones = {440: tmp_path / "a.wav", 1_500: tmp_path / "deep/b.flac"}
    for hz, path in tones.items():
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * np.arange(n) / 16_000), 16_000)
    (tmp_path / "notes.txt").write_text("no audio")
    one = Noise(root=str(tmp_path), snr_min=6, snr_max=6, p=1)
    found = set()
    for seed in range(12):
        noise = added(one, seed, voice(12_000))  # longer than the files: repeated
        assert snr(voice(12_000), noise) == pytest.approx(6, abs=0.01)
        found.add(int(np.abs(np.fft.rfft(noise)).argmax() * 16_000 / 12_000))
    assert found == set(tones)

    babble = Noise(root=str(tmp_path), files_min=6, files_max=6, snr_min=6, snr_max=6, p=1)
    spectrum = np.abs(np.fft.rfft(added(babble, 2, voice(n))))
    assert min(spectrum[440 * n // 16_000], spectrum[1_500 * n // 16_000]) > 100 * np.median(spectrum)


def test_a_file_of_silence_adds_nothing(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(4_000), 16_000)
    noise = Noise(root=str(tmp_path), p=1)
    assert torch.equal(noise(voice(), np.random.default_rng(0)), voice())


def test_a_folder_without_audio(tmp_path):
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"augment.noise.root=.*audio files"):
            Noise(root=str(root))


def test_a_file_that_is_no_audio_is_named(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"broken\.wav"):
        Noise(root=str(tmp_path), p=1)(voice(), np.random.default_rng(0))
