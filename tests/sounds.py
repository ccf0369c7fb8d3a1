"""Sound and files of it, for tests."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from deepfake.forensics.quality import Quality


def noise(n: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    """`[n, channels]` in about [-0.5, 0.5]."""
    return np.random.default_rng(seed).normal(scale=0.1, size=(n, channels)).astype(np.float32)


def tone(rate: int, seconds: float = 1.0, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def speech(seconds: float = 1.2, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """Noise in bursts, with pauses: enough speech, by its energy, for a verdict."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return (0.15 * noise * (0.02 + (np.sin(2 * np.pi * 3 * t) > -0.5))).astype(np.float32)


def encode(samples: np.ndarray, rate: int = 16_000, format: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def measure(samples: np.ndarray, rate: int) -> dict[str, float]:
    """The quality of `[T]`, taken in blocks that no frame or window fits."""
    quality = Quality(rate)
    for i in range(0, len(samples), 4_099):
        quality.take(samples[i : i + 4_099])
    return quality.found()


def patch(data: bytes, marker: bytes, offset: int, value: bytes) -> bytes:
    at = data.index(marker) + offset
    return data[:at] + value + data[at + len(value) :]


def media(
    folder: Path,
    container: str,
    codec: str,
    rate: int,
    channels: int = 1,
    samples: np.ndarray | None = None,
    coding: dict[str, str] | None = None,
    title: str = "",
    **options: str,
) -> bytes:
    """A file by PyAV, of one second of a tone or of samples `[T]`; `container` is FFmpeg's name of the muxer."""
    av = pytest.importorskip("av", reason="PyAV, the extra `media`, is not installed")
    layout = {1: "mono", 2: "stereo"}[channels]
    path = Path(tempfile.mkdtemp(dir=folder)) / "audio"  # a file: `faststart` rewrites it
    with av.open(str(path), "w", format=container, options=options) as output:
        if title:
            output.metadata["title"] = title
        stream = output.add_stream(codec, rate=rate, layout=layout, options=coding or {})
        samples = tone(rate) if samples is None else samples
        frame = av.AudioFrame.from_ndarray(np.tile(samples, (channels, 1)), format="fltp", layout=layout)
        frame.sample_rate = rate
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024
        to_codec = av.AudioResampler(stream.codec_context.format, layout=layout, rate=rate, frame_size=size)
        for converted in [*to_codec.resample(frame), *to_codec.resample(None)]:
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return path.read_bytes()
