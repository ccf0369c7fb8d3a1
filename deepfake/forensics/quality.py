"""The quality of a recording, measured block by block in memory that does not depend on its rate or channels."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from deepfake.audio.measures import FRAME_SECONDS, LONGEST_SECONDS, is_loud
from deepfake.audio.spectrum import QUIET_DB, LongTermSpectrum

MEASURES = ("speech_s", "snr_db", "silence_share", "clipped_share", "top_hz")
SPEECH_DB = 6.0  # above the noise floor
FLOOR_PERCENTILE = 5
DIGITAL_SILENCE = 1e-10  # power, that of -100 dBFS: no microphone's noise
NEAR_PEAK = 0.999


class Quality:
    """Measures of the beginning of a recording.

    Speech is found by its energy alone: frames of 10 ms that lie less than 40 dB below the loudest one and more than
    6 dB above the noise floor (5th percentile of frames, digital silence aside). Music counts as speech. Where
    nobody ever pauses, the floor is that of soft speech, and the distance to it is a lower bound.

    Args:
        sample_rate: The file's own, in hertz.
        seconds: How much of it is measured.
    """

    def __init__(self, sample_rate: int, seconds: float = LONGEST_SECONDS) -> None:
        self.sample_rate, self.n_missing = sample_rate, round(seconds * sample_rate)
        self._size, self._rest, self._powers = max(1, round(FRAME_SECONDS * sample_rate)), np.zeros(0), []
        self._peak, self._near, self._n_samples, self._n_bad = 0.0, Counter[float](), 0, 0
        self._spectrum = LongTermSpectrum(sample_rate)

    def take(self, block: NDArray[np.floating]) -> None:
        """Take the next block `[T]`."""
        block = block[: self.n_missing]
        self.n_missing -= len(block)
        self._n_bad += int(np.count_nonzero(~np.isfinite(block)))
        if self._n_bad or not len(block):
            return
        self._n_samples += len(block)
        self._rest = np.concatenate([self._rest, block.astype(np.float64)])
        n = len(self._rest) // self._size * self._size
        self._powers.append(np.mean(self._rest[:n].reshape(-1, self._size) ** 2, axis=1))
        self._rest = self._rest[n:]
        self._count_near_peak(np.abs(block))
        self._spectrum.take(block)

    def _count_near_peak(self, magnitudes: NDArray[np.floating]) -> None:
        """Count by value, of which there are few so close to the peak, since a later peak decides which are counted."""
        if (peak := float(magnitudes.max())) > self._peak:
            self._peak = peak
            self._near = Counter({value: n for value, n in self._near.items() if value >= NEAR_PEAK * peak})
        values, counts = np.unique(magnitudes[magnitudes >= NEAR_PEAK * self._peak], return_counts=True)
        self._near.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def found(self) -> dict[str, float]:
        """What was found, after the last block.

        Returns:
            `nonfinite_samples`; and `speech_s`, `snr_db` (mean power of speech less the floor, over the floor),
            `silence_share`, `clipped_share` and `top_hz` as `deepfake.audio.measures` defines them; NaN where there is
            no such thing, and of all if there are such samples.
        """
        if self._n_bad:
            return {"nonfinite_samples": float(self._n_bad)} | dict.fromkeys(MEASURES, math.nan)
        power = np.concatenate(self._powers)  # [L]
        if not len(power):
            power = np.mean(self._rest**2, keepdims=True)
        audible = power[power > DIGITAL_SILENCE]
        floor = float(np.percentile(audible, FLOOR_PERCENTILE)) if len(audible) else math.inf
        speech = power[power > max(floor * 10 ** (SPEECH_DB / 10), power.max() * 10 ** (-QUIET_DB / 10))]
        clipped = sum(n for value, n in self._near.items() if value >= NEAR_PEAK * self._peak)
        return {
            "nonfinite_samples": 0.0,
            "speech_s": len(speech) * FRAME_SECONDS,
            "snr_db": 10 * math.log10(float(speech.mean()) / floor - 1) if len(speech) else math.nan,
            "silence_share": 1 - float(np.mean(is_loud(power))),
            "clipped_share": clipped / self._n_samples if self._peak > 0 else math.nan,
            "top_hz": self._spectrum.top_hz(self._spectrum.power(), self.sample_rate),
        }
