"""The embedding of a speaker's voice by Resemblyzer's network, whose weights come with its package."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepfake.audio import load
from deepfake.audio.waveform import Source
from deepfake.errors import InputError

SAMPLE_RATE = 16_000
LONGEST_SECONDS = 120.0  # what lies behind is not used
LEAST_SPEECH_SECONDS = 1.0
WEIGHTS_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"  # of Resemblyzer 0.1.4

Vector = NDArray[np.float32]


class Encoder(nn.Module):
    """The speaker encoder of Resemblyzer (Wan, Wang, Papir and Lopez Moreno 2018, "Generalized end-to-end loss").

    Three LSTM layers over 40 mel bands; the last state, projected and rectified, has unit length.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        """Shape: mel energies `[B, L, 40]`, 100 frames a second -> `[B, 256]`."""
        _, (state, _) = self.lstm(mels)
        return nn.functional.normalize(torch.relu(self.linear(state[-1])), dim=1)


class Voice(NamedTuple):
    """What a recording says of its speaker.

    Attributes:
        embedding: `[256]`, of unit length.
        speech_seconds: How much speech it rests on.
    """

    embedding: Vector
    speech_seconds: float


def installed() -> bool:
    """Whether Resemblyzer is there."""
    return find_spec("resemblyzer") is not None


def voice(source: Source) -> Voice:
    """The embedding of a recording's first two minutes, as Resemblyzer makes it.

    Quiet speech is raised to -30 dBFS, pauses are shortened by WebRTC's voice activity detector, and the embeddings of
    stretches of 1.6 s, 0.77 s apart, are averaged.

    Args:
        source: As for `deepfake.audio.load`.

    Raises:
        InputError: The recording cannot be used, holds less than 1 s of speech, or Resemblyzer is not installed.
    """
    resemblyzer, encoder = _resemblyzer(), _encoder()
    waveform = load(source, sample_rate=SAMPLE_RATE, seconds=LONGEST_SECONDS).clamp(-1, 1).numpy()
    speech = resemblyzer.preprocess_wav(waveform) if waveform.any() else waveform[:0]
    if (seconds := len(speech) / SAMPLE_RATE) < LEAST_SPEECH_SECONDS:
        name = source if isinstance(source, str | Path) else "the recording"
        raise InputError(
            f"{name}: {seconds:.1f} s of speech, at least {LEAST_SPEECH_SECONDS:g} s was expected: give a longer sample"
        )
    wav_slices, mel_slices = resemblyzer.VoiceEncoder.compute_partial_slices(len(speech), 1.3, 0.75)
    padded = np.pad(speech, (0, max(0, wav_slices[-1].stop - len(speech))))
    mels = resemblyzer.wav_to_mel_spectrogram(padded)
    with torch.inference_mode():
        parts = encoder(torch.from_numpy(np.stack([mels[part] for part in mel_slices])))  # [B, 256]
    return Voice(mean_of(parts.numpy()), seconds)


def mean_of(embeddings: Sequence[Vector] | NDArray[np.float32]) -> Vector:
    """The mean of embeddings `[N, D]`, brought to unit length `[D]`.

    Raises:
        InputError: It has no direction: the network has found nothing.

    >>> mean_of([np.float32([1, 0]), np.float32([0, 1])]).round(4).tolist()
    [0.7071, 0.7071]
    """
    mean = np.mean(embeddings, axis=0)
    if not (norm := float(np.linalg.norm(mean))) > 0:
        raise InputError("the recording has no embedding, all zeros: a recording of a voice was expected")
    return (mean / norm).astype(np.float32)


def _resemblyzer() -> Any:
    """The package."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of SciPy, for where it imports a function from
            return import_module("resemblyzer")
    except ImportError as error:
        raise InputError(f'speaker checks need Resemblyzer ({error}): pip install -e ".[speaker]"') from error


@cache
def _encoder() -> Encoder:
    """The network with the weights of the package, which are read without unpickling objects.

    Raises:
        InputError: They are not those that the threshold was measured with.
    """
    file = Path(_resemblyzer().__file__).with_name("pretrained.pt")
    content = file.read_bytes()
    if (got := hashlib.sha256(content).hexdigest()) != WEIGHTS_SHA256:
        raise InputError(f"{file}: SHA-256 {got}: the weights of Resemblyzer 0.1.4 were expected, install that version")
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)["model_state"]
    encoder = Encoder()
    encoder.load_state_dict({name: weights for name, weights in state.items() if not name.startswith("similarity")})
    return encoder.eval()
