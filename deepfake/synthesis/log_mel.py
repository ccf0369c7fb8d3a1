"""The log-mel spectrogram that a neural vocoder was trained on, by its settings."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from deepfake.errors import InputError
from deepfake.features.mel import hz_to_mel, mel_to_hz
from deepfake.features.spectrogram import triangles
from deepfake.synthesis.frames import Floats, hann

CHOICES = {
    "mel_scale": ("slaney", "htk"),
    "mel_norm": ("slaney", "none"),
    "spectrum": ("amplitude", "power"),
    "log": ("natural", "log10"),
    "padding": ("hop", "centre"),
    "pad_mode": ("reflect", "constant"),
}
HIGHEST_RATE = 192_000  # Hz
LONGEST = 65_536  # samples of a transform


@dataclass(frozen=True, slots=True)
class LogMel:
    """Logarithm of the amplitude (or power) in mel bands; the defaults are those of HiFi-GAN (J. Kong et al., 2020).

    Args:
        sample_rate: Of the vocoder, in hertz.
        n_fft: Length of the transform in samples.
        hop_length: Samples between frames.
        win_length: Samples of the Hann window; shorter than `n_fft`, it is centred in zeros.
        n_mels: Mel bands.
        f_min: Lower edge of the first band in hertz.
        f_max: Upper edge of the last band in hertz.
        mel_scale: `slaney` (librosa's) or `htk`.
        mel_norm: `slaney` for bands of the same area, `none` for bands of height 1.
        spectrum: What is summed into bands: `amplitude` or `power`.
        log: `natural` or `log10`.
        floor: Least value of a band, before the logarithm.
        padding: `hop`: (n_fft - hop_length) / 2 samples at either end, T / hop_length frames; `centre`: n_fft / 2
            samples, one frame more, as librosa and torchaudio do.
        pad_mode: `reflect`, or `constant` for zeros.
        peak: The largest sample is scaled to this, as the training data was; None keeps the level.

    Raises:
        InputError: A setting is out of range.
    """

    sample_rate: int = 22_050
    n_fft: int = 1024
    hop_length: int = 256
    win_length: int = 1024
    n_mels: int = 80
    f_min: float = 0.0
    f_max: float = 8000.0
    mel_scale: str = "slaney"
    mel_norm: str = "slaney"
    spectrum: str = "amplitude"
    log: str = "natural"
    floor: float = 1e-5
    padding: str = "hop"
    pad_mode: str = "reflect"
    peak: float | None = 0.95

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "win_length", "n_mels"):
            if type(value := getattr(self, name)) is not int or value < 1:
                raise InputError(f"{name}={value!r}: a whole number from 1 was expected")
        for name in ("f_min", "f_max", "floor", *(["peak"] if self.peak is not None else [])):
            if type(value := getattr(self, name)) not in (int, float) or not 0 <= value < float("inf"):
                raise InputError(f"{name}={value!r}: a number from 0 was expected")
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"{name}={value!r}: one of {', '.join(choices)} was expected")
        ranges = {
            f"sample_rate={self.sample_rate}: 8000 to {HIGHEST_RATE}": 8000 <= self.sample_rate <= HIGHEST_RATE,
            f"n_fft={self.n_fft}: at most {LONGEST}": self.n_fft <= LONGEST,
            f"win_length={self.win_length}: at most n_fft={self.n_fft}": self.win_length <= self.n_fft,
            f"hop_length={self.hop_length}: at most win_length={self.win_length}": self.hop_length <= self.win_length,
            f"floor={self.floor:g}: above 0": self.floor > 0,
            f"peak={self.peak}: above 0, at most 1, or null,": self.peak is None or 0 < self.peak <= 1,
        }
        for said, is_right in ranges.items():
            if not is_right:
                raise InputError(f"{said} was expected")
        _bank(self)

    @classmethod
    def read(cls, path: Path | None) -> LogMel:
        """The settings in a JSON file, the others being HiFi-GAN's; None for all of those.

        Raises:
            InputError: The file cannot be read, or has something else in it.
        """
        if path is None:
            return cls()
        known = [field.name for field in dataclasses.fields(cls)]
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"--vocoder settings {path}: a JSON file was expected ({error})") from None
        if not isinstance(given, dict):
            raise InputError(f"--vocoder settings {path}: a JSON object of {', '.join(known)} was expected")
        if unknown := sorted(given.keys() - set(known)):
            raise InputError(f"--vocoder settings {path}: {unknown[0]}: some of {', '.join(known)} were expected")
        try:
            return cls(**given)
        except InputError as error:
            raise InputError(f"--vocoder settings {path}: {error}") from None

    def __call__(self, waveform: Floats) -> Floats:
        """The log-mel spectrogram of a waveform at `sample_rate`, at least a window long.

        Shape:
            `[T]` -> `[n_mels, L]`
        """
        pad = self.n_fft // 2 if self.padding == "centre" else (self.n_fft - self.hop_length) // 2
        padded = np.pad(waveform, pad, mode="reflect" if self.pad_mode == "reflect" else "constant")
        before = (self.n_fft - self.win_length) // 2
        window = np.pad(hann(self.win_length), (before, self.n_fft - self.win_length - before))
        pieces = sliding_window_view(padded, self.n_fft)[:: self.hop_length]  # [L, n_fft]
        spectrum = np.abs(np.fft.rfft(pieces * window))  # [L, F]
        bands = _bank(self) @ (spectrum**2 if self.spectrum == "power" else spectrum).T  # [n_mels, L]
        return (np.log if self.log == "natural" else np.log10)(np.maximum(bands, self.floor))

    def as_json(self) -> dict[str, Any]:
        """The settings by their names."""
        return dataclasses.asdict(self)


@cache
def _bank(settings: LogMel) -> Floats:
    """Weights of the mel bands, [n_mels, n_fft // 2 + 1]."""
    to_mel, to_hz = (hz_to_mel, mel_to_hz) if settings.mel_scale == "slaney" else (_hz_to_htk, _htk_to_hz)
    corners_hz = to_hz(np.linspace(to_mel(settings.f_min), to_mel(settings.f_max), settings.n_mels + 2))
    bank = triangles(corners_hz, settings.n_fft, settings.sample_rate)
    return bank * (2 / (corners_hz[2:] - corners_hz[:-2]))[:, None] if settings.mel_norm == "slaney" else bank


def _hz_to_htk(hz: ArrayLike) -> Floats:
    return 2595 * np.log10(1 + np.asarray(hz, dtype=np.float64) / 700)


def _htk_to_hz(mel: ArrayLike) -> Floats:
    return 700 * (10 ** (np.asarray(mel, dtype=np.float64) / 2595) - 1)
