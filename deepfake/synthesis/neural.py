"""Copy-synthesis through any mel vocoder that was exported to ONNX, computed by ONNX Runtime."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.random import Generator
from scipy.ndimage import uniform_filter1d
from scipy.signal import correlate

from deepfake.errors import InputError
from deepfake.synthesis.frames import SAMPLE_RATE, Floats
from deepfake.synthesis.log_mel import LogMel

MARGIN = SAMPLE_RATE // 10  # samples put before and after the speech: a delay up to this is removed
SMOOTHING = 161  # samples, 10 ms, over which amplitudes are averaged to find a delay: less finds a period of the pitch
ERRORS_ALONE = 3


class Vocoder:
    """A vocoder from mel spectrogram to waveform, such as HiFi-GAN, in an ONNX file.

    The network takes one float input `[1, n_mels, L]` or `[1, L, n_mels]`, whichever its shape says (the former where
    it says nothing), with L left open, and its first output is the waveform: about `L * hop_length` samples in any
    shape. It is tried on half a second of noise at once, and always runs on one thread, so that its output is the same
    in every process. A network that draws random numbers itself gives other samples in each run.

    Args:
        file: ONNX file.
        mel: What it was trained on.

    Raises:
        InputError: ONNX Runtime is not installed, or the network is not such a one.
    """

    def __init__(self, file: Path, mel: LogMel) -> None:
        self.file, self.mel = file, mel
        self._session = _session(file)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 3 or inputs[0].type != "tensor(float)":
            there = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise InputError(f"{self}: takes {there}: one float32 input [1, n_mels, frames] was expected")
        self._input, (_, first, second) = inputs[0].name, inputs[0].shape
        self._frames_first = second == mel.n_mels and first != mel.n_mels
        bands, n_frames = (second, first) if self._frames_first else (first, second)
        if isinstance(bands, int) and bands != mel.n_mels:
            raise InputError(f"{self}: takes {bands} bands: n_mels={mel.n_mels} was expected, set n_mels")
        if isinstance(n_frames, int):
            raise InputError(f"{self}: takes {n_frames} frames only: export it with a dynamic axis for the frames")
        self.vocoded(0.1 * np.random.default_rng(0).standard_normal(mel.sample_rate // 2))

    def __str__(self) -> str:
        return f"--vocoder {self.file}"

    def copy(self, waveform: Floats) -> Floats:
        """Speech through the vocoder: at its sample rate and peak, then back, with its delay removed.

        Shape:
            `[T]` at 16 kHz -> `[T]`
        """
        padded = np.pad(waveform, min(MARGIN, len(waveform) - 1), mode="reflect")
        margin = (len(padded) - len(waveform)) // 2
        given = soxr.resample(padded, SAMPLE_RATE, self.mel.sample_rate, "VHQ")
        made = soxr.resample(self.vocoded(given), self.mel.sample_rate, SAMPLE_RATE, "VHQ")
        made = np.pad(made[: len(padded)], (0, max(0, len(padded) - len(made))))
        start = margin + delay(made, padded, margin)
        return made[start : start + len(waveform)]

    def vocoded(self, waveform: Floats) -> Floats:
        """A waveform at the vocoder's sample rate through its mel spectrogram and network.

        Raises:
            InputError: The network fails, or gives another number of samples.
        """
        if self.mel.peak is not None:
            waveform = waveform * self.mel.peak / max(np.abs(waveform).max(), 1e-9)
        waveform = np.pad(waveform, (0, -len(waveform) % self.mel.hop_length))
        mel = self.mel(waveform).astype(np.float32)  # [n_mels, L]
        try:
            given = {self._input: (mel.T if self._frames_first else mel)[None]}
            made = np.asarray(self._session.run(None, given)[0], dtype=np.float64)
        except Exception as error:  # whatever a network of somebody else's raises
            raise InputError(f"{self}: fails on {mel.shape[1]} frames of mel: {_short(error)}") from None
        wanted, there = mel.shape[1] * self.mel.hop_length, max(made.shape, default=1)
        if made.size != there or abs(there - wanted) > self.mel.n_fft:
            raise InputError(
                f"{self}: gave {list(made.shape)} for {mel.shape[1]} frames: about {wanted} samples were expected, "
                "check hop_length and that the waveform is the first output"
            )
        return made.reshape(-1)


def delay(made: Floats, original: Floats, most: int) -> int:
    """The delay in samples, at most ``most`` in either direction, at which amplitudes are the most alike.

    Amplitudes averaged over 10 ms, not samples: a vocoder keeps neither phase nor polarity.
    """
    here, there = (uniform_filter1d(np.abs(x), SMOOTHING) for x in (made, original))
    likeness = correlate(here - here.mean(), there - there.mean(), method="fft")  # of delays from 1 - T
    middle = len(original) - 1
    return int(np.argmax(likeness[middle - most : middle + most + 1])) - most


def parts(given: str) -> tuple[Path, Path | None]:
    """The file and the settings of `FILE.onnx:settings.json`; where the whole is a file, it is that one."""
    file, colon, settings = given.rpartition(":")
    return (Path(file), Path(settings)) if colon and not Path(given).exists() else (Path(given), None)


@cache
def opened(given: str) -> Vocoder:
    """The vocoder of `FILE.onnx` or `FILE.onnx:settings.json`, once in each process.

    Raises:
        InputError: It cannot be used.
    """
    file, settings = parts(given)
    if not file.is_file():
        raise InputError(f"--vocoder {file}: there is no such file: FILE.onnx or FILE.onnx:settings.json was expected")
    return Vocoder(file, LogMel.read(settings))


def copied(given: str, waveform: Floats, _: tuple[str, ...], __: Generator) -> Floats:
    """Speech through a vocoder, see `opened`; nothing is drawn at random."""
    return opened(given).copy(waveform)


def facts(given: str) -> dict[str, Any]:
    """What a corpus states of a vocoder: SHA-256 of its file, and its settings."""
    vocoder = opened(given)
    with vocoder.file.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "settings": vocoder.mel.as_json()}


def _session(file: Path) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise InputError('onnxruntime is not installed: pip install "deepfake[export]"') from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ALONE
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InputError(f"--vocoder {file}: an ONNX file was expected ({_short(error)})") from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
