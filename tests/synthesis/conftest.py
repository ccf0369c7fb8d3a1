"""Speech-like recordings of made-up speakers, for the tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from deepfake.datasets.demo_voice import Voice, speak

RATE = 16000


@pytest.fixture(scope="session")
def voice():
    """A function of seed and seconds: a waveform with a pause at either end, over a noise floor."""

    def made(seed=0, seconds=1.2, noise=0.003):
        rng, n = np.random.default_rng(seed), int(seconds * RATE)
        speech = 0.08 * speak(Voice.draw(rng), seconds - 0.3, rng)
        return np.pad(speech, (1600, n - len(speech) - 1600)) + noise * rng.standard_normal(n)

    return made


@pytest.fixture(scope="session")
def speakers(voice, tmp_path_factory):
    """A folder of five speakers with two recordings each, of several formats; two are stereo."""
    folder = tmp_path_factory.mktemp("bonafide")
    for speaker in range(5):
        (folder / f"speaker{speaker}").mkdir()
        for i in range(2):
            waveform = voice(10 * speaker + i, 1.1 + 0.1 * i)
            path = folder / f"speaker{speaker}" / f"{i}.{'flac' if i else 'wav'}"
            soundfile.write(path, np.stack([waveform, waveform], 1) if speaker == 0 else waveform, RATE)
    return folder
