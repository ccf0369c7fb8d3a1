"""Lossy coding and decoding, as by telephones, messengers and platforms."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from deepfake.augment.augmentation import Augmentation, Samples, require_range
from deepfake.errors import InputError


class Coder(NamedTuple):
    """An encoder by FFmpeg's names; `sample_rate` None means the clip's own, `delay` is in samples."""

    encoder: str
    container: str
    demuxer: str
    sample_rate: int | None = None
    delay: int = 0
    has_bit_rate: bool = False


CODECS = {
    "mulaw": Coder("pcm_mulaw", "wav", "wav", 8_000),  # ITU-T G.711
    "alaw": Coder("pcm_alaw", "wav", "wav", 8_000),
    "g722": Coder("g722", "wav", "wav", 16_000, delay=22),  # ITU-T G.722: its two band-splitting filters
    "mp3": Coder("libmp3lame", "mp3", "mp3", has_bit_rate=True),
    "opus": Coder("libopus", "ogg", "ogg", has_bit_rate=True),  # RFC 6716
    "aac": Coder("aac", "ipod", "mov", has_bit_rate=True),
}


@dataclass(kw_only=True, eq=False)
class Codec(Augmentation):
    """The clip encoded and decoded by FFmpeg, as the recordings of ASVspoof 2021 were (Liu et al., TASLP 2023).

    Mu-law and A-law work at 8 kHz, which keeps only the telephone band, G.722 at 16 kHz and 64 kbit/s, the others at
    the clip's own rate. The encoder's delay is compensated: from the container's record of it, or from the known delay
    of G.722. Samples beyond full scale are clipped first, as most encoders would.

    Args:
        codecs: Codecs to draw from, one per clip: `mulaw`, `alaw`, `g722`, `mp3`, `opus`, `aac`.
        kbps: Bit rates of MP3, Opus and AAC in kbit/s to draw from, one per clip.
        sample_rate: Sample rate of the clips in hertz.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range, PyAV is not installed, or an encoder supports neither the sample rate
            nor the bit rate.
    """

    codecs: Sequence[str] = tuple(CODECS)
    kbps: Sequence[int] = (16, 24, 32, 64)
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.codecs or not set(self.codecs) <= CODECS.keys():
            raise InputError(f"augment.codec.codecs={list(self.codecs)}: some of {', '.join(CODECS)} were expected")
        if not self.kbps:
            raise InputError("augment.codec.kbps=[]: at least one bit rate was expected")
        require_range(self, "kbps", min(self.kbps), max(self.kbps), least=6, most=320)
        _av()

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        name = self.codecs[int(rng.integers(len(self.codecs)))]
        kbps = self.kbps[int(rng.integers(len(self.kbps)))]
        return transcoded(x, name, sample_rate=self.sample_rate, kbps=kbps)


def transcoded(x: Samples, name: str, *, sample_rate: int, kbps: int) -> Samples:
    """Encode and decode one clip, aligned in time with the input, `[T]` -> `[T]`."""
    av = _av()
    coder = CODECS[name]
    rate = coder.sample_rate or sample_rate
    sent = _resampled(np.clip(x, -1, 1), sample_rate, rate)
    sent = np.pad(sent, (0, coder.delay)).astype(np.float32)
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=coder.container) as output:
            stream = output.add_stream(coder.encoder, rate=rate, layout="mono")
            if coder.has_bit_rate:
                stream.bit_rate = 1000 * kbps
            frame = av.AudioFrame.from_ndarray(sent[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, 0  # without a start, MP4 records no delay
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        file.seek(0)
        with av.open(file, format=coder.demuxer) as container:
            to_float = av.AudioResampler(format="fltp", layout="mono")
            frames = [plane for frame in container.decode(audio=0) for plane in to_float.resample(frame)]
    except (av.FFmpegError, ValueError) as error:
        at = f" and {kbps} kbit/s" if coder.has_bit_rate else ""
        raise InputError(
            f"augment.codec: {name} at {rate} Hz{at} is not supported by this FFmpeg ({error}): leave it out of "
            "augment.codec.codecs"
        ) from error
    received = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float64)[coder.delay :]
    y = _resampled(received, frames[0].sample_rate, sample_rate)[: len(x)]
    return np.pad(y, (0, len(x) - len(y)))


def _resampled(x: NDArray[np.float64], rate: int, to: int) -> NDArray[np.float64]:
    return x if rate == to else soxr.resample(x, rate, to)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise InputError('augment=codec needs PyAV: pip install "deepfake[media]"') from error
    return av
