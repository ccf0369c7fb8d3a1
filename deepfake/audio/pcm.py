"""Uncompressed samples as bytes that come: raw, or in a WAV whose header comes first and may not know its length."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from deepfake.audio.libsndfile import STREAMED_BYTES
from deepfake.audio.sound import Info
from deepfake.errors import InputError

FORMATS = {"s16le": "PCM_16", "f32le": "FLOAT"}  # those that are raw, by FFmpeg's names
CODINGS = {(1, 1): "PCM_U8", (1, 2): "PCM_16", (1, 3): "PCM_24", (1, 4): "PCM_32", (3, 4): "FLOAT", (3, 8): "DOUBLE"}
N_BYTES = {coding: n for (_, n), coding in CODINGS.items()}
EXTENSIBLE = 0xFFFE
MOST_BYTES = 1 << 20  # before the samples
CONVERT = "send PCM or floats, as `ffmpeg -i FILE -f wav -c:a pcm_s16le -` writes them"


class Pcm:
    """Frames of bytes that come in pieces of any length.

    Args:
        coding: One of `CODINGS`.
        channels: Number of channels.
    """

    def __init__(self, coding: str, channels: int) -> None:
        self.coding, self.channels = coding, channels
        self._rest = b""

    def take(self, data: bytes) -> np.ndarray:
        """The frames that a piece completes, float32 `[N, C]`, with the values that libsndfile gives them."""
        data, size = self._rest + data, N_BYTES[self.coding] * self.channels
        n = len(data) // size * size
        self._rest = data[n:]
        return self._values(data[:n]).reshape(-1, self.channels)

    def _values(self, data: bytes) -> np.ndarray:
        if self.coding == "PCM_U8":
            return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
        if self.coding == "PCM_24":
            bytes_ = np.zeros((len(data) // 3, 4), np.uint8)
            bytes_[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return bytes_.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
        if self.coding in ("FLOAT", "DOUBLE"):
            return np.frombuffer(data, f"<f{N_BYTES[self.coding]}").astype(np.float32)
        n_bytes = N_BYTES[self.coding]
        return np.frombuffer(data, f"<i{n_bytes}").astype(np.float32) / np.float32(2.0 ** (8 * n_bytes - 1))


class Wav(NamedTuple):
    """The header of a WAV that comes.

    Attributes:
        header: What it claims.
        n_bytes: Of the samples; None where it does not know that, as it was written before they were there.
    """

    header: Info
    n_bytes: int | None


def wav_header(name: str, read: Callable[[int], bytes]) -> Wav:
    """Read the header of a WAV, as far as its samples.

    Args:
        name: Of the source, for errors.
        read: Gives at most so many bytes as soon as there are some; none at the end.

    Raises:
        InputError: It is no WAV, ends within its header, or has a coding other than PCM or floats.
    """

    def take(n: int) -> bytes:
        found = b""
        while len(found) < n:
            if not (piece := read(n - len(found))):
                raise InputError(
                    f"{name}: it ended within the header of a WAV, after {len(found)} of {n} bytes; send it again"
                )
            found += piece
        return found

    if not (start := read(1)):
        raise InputError(f"{name}: nothing came; send a WAV, or samples with --raw-rate")
    start += take(11) if start == b"R" else b""
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        raise InputError(f"{name}: not a WAV; {CONVERT}; or say --raw-rate HZ for samples without a header")
    form, long_size, left = None, None, MOST_BYTES
    while True:
        kind, size = struct.unpack("<4sI", take(8))
        if kind == b"data" and form is not None:
            known = long_size if start[:4] == b"RF64" else size if size < STREAMED_BYTES else None
            return _wav(name, form, known or None)
        if (left := left - size) < 0 or kind == b"data":
            raise InputError(f"{name}: a WAV whose header does not describe its samples; {CONVERT}")
        content = take(size + size % 2)
        if kind == b"fmt " and size >= 16:
            form = content
        elif kind == b"ds64" and size >= 16:
            long_size = struct.unpack_from("<Q", content, 8)[0]


def _wav(name: str, form: bytes, size: int | None) -> Wav:
    """From the chunk `fmt `, and the size of the samples, where it is known."""
    tag, channels, rate, _, n_align, bits = struct.unpack_from("<HHIIHH", form)
    if tag == EXTENSIBLE and len(form) >= 26:
        tag = struct.unpack_from("<H", form, 24)[0]
    n_bytes = n_align // max(channels, 1)
    coding = CODINGS.get((tag, n_bytes))
    if coding is None or n_align != n_bytes * channels or bits > 8 * n_bytes:
        raise InputError(f"{name}: a WAV of format {tag} with {bits} bits a sample; {CONVERT}")
    n_frames = None if size is None else size // n_align
    seconds = None if n_frames is None or not rate else n_frames / rate
    return Wav(Info(seconds, rate, channels, "WAV", coding, n_frames), size)
