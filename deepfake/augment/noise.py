"""Additive noise at a random signal-to-noise ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake.audio import load_clip
from deepfake.augment.augmentation import Augmentation, Samples, audio_files, require_range
from deepfake.errors import InputError

SLOPES = {"white": 0.0, "pink": 1.0, "brown": 2.0}  # power falls with this power of the frequency
COLOURS = (*SLOPES, "babble")
SPEECH_HZ, SPEECH_SLOPE = 500.0, 3.0  # speech's power is flat up to there, and falls by about 9 dB per octave above
VOICES = (3, 7)  # in generated babble
SYLLABLES_HZ = 5.0  # fastest modulation of a voice's level
FLAT_BELOW_HZ = 50.0  # otherwise nearly all power of brown noise would be inaudible


@dataclass(kw_only=True, eq=False)
class Noise(Augmentation):
    """Noise added to the clip: generated, a recording, or babble of several recordings.

    The signal-to-noise ratio, of the mean powers over the whole clip, is uniform in dB (the recipe of Snyder et al.,
    ICASSP 2018, "X-vectors", for noise and babble). Nothing is added to a silent clip.

    Args:
        root: Folder of noise recordings, or of speech for babble; None generates noise.
        colours: Kinds of generated noise to draw from, one per clip: `white` (equal power per hertz), `pink` (1/f) or
            `brown` (1/f^2), both flat below 50 Hz, or `babble`: 3 to 7 noises with the long-term spectrum of speech,
            modulated at the rate of syllables (after the ICRA noises, Dreschler et al., 2001).
        files_min: Fewest files of `root` to add up, each at the same power; 1 is a single recording.
        files_max: Most files to add up; the x-vector recipe's babble has 3 to 7 voices.
        snr_min: Lowest signal-to-noise ratio in dB.
        snr_max: Highest signal-to-noise ratio in dB.
        sample_rate: Sample rate of the clips in hertz.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range, an unknown colour, no audio in `root`, or an unreadable file.
    """

    root: str | None = None
    colours: Sequence[str] = COLOURS
    files_min: int = 1
    files_max: int = 1
    snr_min: float = 5.0
    snr_max: float = 25.0
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.colours or not set(self.colours) <= set(COLOURS):
            raise InputError(f"augment.noise.colours={list(self.colours)}: some of {', '.join(COLOURS)} were expected")
        require_range(self, "files", self.files_min, self.files_max, least=1)
        self.snr = require_range(self, "snr", self.snr_min, self.snr_max)
        self.files = audio_files(self, self.root) if self.root is not None else []

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        snr = rng.uniform(*self.snr)
        noise = self._recorded(len(x), rng) if self.files else self._generated(len(x), rng)
        return x + noise * (rms(x) / 10 ** (snr / 20) / (rms(noise) or math.inf))

    def _generated(self, n: int, rng: np.random.Generator) -> Samples:
        colour = self.colours[int(rng.integers(len(self.colours)))]
        if colour == "white":
            return rng.standard_normal(n)
        hz = np.fft.rfftfreq(n, 1 / self.sample_rate)
        if colour != "babble":
            return _filtered(rng.standard_normal(n), np.maximum(hz, FLAT_BELOW_HZ) ** (-SLOPES[colour] / 2))
        total = np.zeros(n)
        for _ in range(rng.integers(*VOICES, endpoint=True)):
            speech = _filtered(rng.standard_normal(n), np.maximum(hz / SPEECH_HZ, 1.0) ** (-SPEECH_SLOPE / 2))
            total += speech * np.abs(_filtered(rng.standard_normal(n), hz <= SYLLABLES_HZ))
        return total

    def _recorded(self, n: int, rng: np.random.Generator) -> Samples:
        total = np.zeros(n)
        for _ in range(rng.integers(self.files_min, self.files_max, endpoint=True)):
            path = self.files[rng.integers(len(self.files))]
            part = load_clip(path, n_samples=n, sample_rate=self.sample_rate, rng=rng).numpy().astype(np.float64)
            total += part / (rms(part) or 1.0)
        return total


def _filtered(x: Samples, gain: np.ndarray) -> Samples:
    """The signal with a gain applied at each frequency of its Fourier transform."""
    return np.fft.irfft(np.fft.rfft(x) * gain, len(x))


def rms(x: Samples) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(x))))
