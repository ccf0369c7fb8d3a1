from __future__ import annotations

import sys

import numpy as np
import pytest
import soundfile
import torch

from deepfake.augment.reverb import FROM_WALL, SPEED_OF_SOUND, Reverb, room_response
from deepfake.errors import InputError

RATE = 16_000


def decay_time(response: np.ndarray) -> float:
    """Reverberation time in seconds by Schroeder's backward integration, from -5 to -25 dB."""
    left = np.cumsum(response[::-1] ** 2)[::-1]
    db = 10 * np.log10(left / left[0])
    return 3 * (np.argmax(db < -25) - np.argmax(db < -5)) / RATE


def test_direct_sound_stays_in_time_and_energy_on_average():
    pytest.importorskip("pyroomacoustics")
    reverb, energies = Reverb(p=1), []
    rng = np.random.default_rng(0)
    waveform = torch.from_numpy(0.1 * rng.standard_normal(RATE).astype(np.float32))
    for seed in range(25):
        wet = reverb(waveform, np.random.default_rng(seed)).double().numpy()
        lags = np.fft.irfft(np.fft.rfft(wet, 4 * RATE) * np.conj(np.fft.rfft(waveform.double().numpy(), 4 * RATE)))
        assert np.abs(lags).argmax() == 0
        energies.append(np.mean(wet**2) / np.mean(waveform.numpy() ** 2))
    assert 0.8 < np.mean(energies) < 1.1


def test_an_impulse_becomes_the_response():
    pytest.importorskip("pyroomacoustics")
    waveform = torch.zeros(4 * RATE)
    waveform[100] = 1
    wet = Reverb(p=1)(waveform, np.random.default_rng(0))
    assert wet.abs().argmax() == 100
    assert wet.square().sum() == pytest.approx(1, abs=0.01)
    assert wet[:59].abs().max() < 0.05 * wet.abs().max()  # a fractional delay rings for 40 samples, a high-pass longer
    assert (wet[200:3_000] != 0).any()


@pytest.mark.parametrize("rt60", [0.15, 0.3])
def test_rooms_reverberate_as_long_as_was_asked_for(rt60):
    pytest.importorskip("pyroomacoustics")
    times = [decay_time(room_response(np.random.default_rng(seed), rt60=rt60, sample_rate=RATE)) for seed in range(10)]
    assert np.median(times) == pytest.approx(rt60, rel=0.35)  # Eyring's formula is for diffuse fields


def test_simulated_response_against_a_sum_over_images(monkeypatch):
    """Early arrivals of a simulated room, each where the mirrored sources put it and as strong as they say."""
    pra = pytest.importorskip("pyroomacoustics")
    made = {}
    original = pra.ShoeBox

    def noted(size, **keywords):
        made.update(
            size=size, room=original(size, **keywords), absorbed=keywords["materials"].energy_absorption["coeffs"][0]
        )
        return made["room"]

    monkeypatch.setattr(pra, "ShoeBox", noted)
    response = room_response(np.random.default_rng(5), rt60=0.4, sample_rate=RATE)
    size, room = made["size"], made["room"]
    speaker, microphone = room.sources[0].position, room.mic_array.R[:, 0]
    for place in (speaker, microphone):
        assert ((place >= FROM_WALL) & (place <= size - FROM_WALL)).all()
    kept, sum_of_images = np.sqrt(1 - made["absorbed"]), np.zeros(len(response))
    orders = range(-3, 4)
    n = np.arange(len(response)) - 40  # half of pyroomacoustics' fractional delay filter
    for x in orders:
        for y in orders:
            for z in orders:
                mirrored = [
                    k * length + (where if k % 2 == 0 else length - where)
                    for k, length, where in zip((x, y, z), size, speaker, strict=True)
                ]
                distance = np.linalg.norm(mirrored - microphone)
                strength = kept ** (abs(x) + abs(y) + abs(z)) / distance
                at = n - distance / SPEED_OF_SOUND * RATE
                sum_of_images += (
                    strength * np.sinc(at) * np.where(np.abs(at) < 40, 0.5 + 0.5 * np.cos(np.pi * at / 40), 0)
                )
    early = slice(0, int(40 + 2 * size.min() / SPEED_OF_SOUND * RATE))  # no image of a higher order arrives before
    band = [np.abs(np.fft.rfft(h[early], 4_096))[200:1_800] for h in (response, sum_of_images)]  # it has a high-pass
    scale = np.sum(band[0] * band[1]) / np.sum(band[1] ** 2)
    assert np.linalg.norm(band[0] - scale * band[1]) < 0.1 * np.linalg.norm(band[0])


def test_recorded_responses_of_a_folder(tmp_path):
    response = np.zeros(3_000)
    response[50], response[450], response[20] = 0.8, -0.6, 0.1  # something arrives before the strongest too
    soundfile.write(tmp_path / "room.wav", response, RATE, subtype="DOUBLE")
    waveform = torch.from_numpy(np.random.default_rng(0).standard_normal(2_000).astype(np.float32))
    wet = Reverb(root=str(tmp_path), p=1)(waveform, np.random.default_rng(0)).double().numpy()
    x = waveform.double().numpy()
    expected = 0.8 * x
    expected[400:] -= 0.6 * x[:-400]
    expected[:-30] += 0.1 * x[30:]
    np.testing.assert_allclose(wet, expected / np.linalg.norm(response), atol=1e-5)


def test_a_response_of_silence_is_named(tmp_path):
    soundfile.write(tmp_path / "dead.wav", np.zeros(500), RATE)
    with pytest.raises(InputError, match=r"dead\.wav"):
        Reverb(root=str(tmp_path), p=1)(torch.ones(100), np.random.default_rng(0))


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(InputError, match=r"deepfake\[augment\]"):
        Reverb()
    soundfile.write(tmp_path / "room.wav", np.eye(1, 500)[0], RATE)
    Reverb(root=str(tmp_path))  # needs none
