"""Files that would harm whoever decodes them: lying headers, bombs, what is no audio, and damaged real containers."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile as sf

RATE = 16_000
TOTAL_BITS = 36  # of the number of samples in a FLAC header, in the bytes 18 to 25
NUMBERS = (0, 1, 7, 255, 4_000, 65_535, 192_001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
CODINGS = (
    ("a.wav", "WAV", "PCM_16", 16_000, 1),
    ("b.wav", "WAV", "FLOAT", 44_100, 2),
    ("c.wav", "WAV", "IMA_ADPCM", 16_000, 1),
    ("d.wav", "WAV", "GSM610", 8_000, 1),
    ("e.wav", "RF64", "PCM_24", 48_000, 8),
    ("a.flac", "FLAC", "PCM_16", 16_000, 1),
    ("b.flac", "FLAC", "PCM_24", 96_000, 2),
    ("a.mp3", "MP3", "MPEG_LAYER_III", 44_100, 2),
    ("a.ogg", "OGG", "VORBIS", 16_000, 1),
    ("a.opus", "OGG", "OPUS", 48_000, 1),
    ("a.aiff", "AIFF", "PCM_16", 16_000, 1),
    ("a.au", "AU", "PCM_16", 16_000, 1),
    ("a.caf", "CAF", "ALAC_16", 16_000, 1),
    ("a.w64", "W64", "PCM_16", 16_000, 1),
)
MUXED = (
    ("a.m4a", "ipod", "aac", 16_000, "mono"),
    ("b.m4a", "ipod", "alac", 44_100, "stereo"),
    ("a.aac", "adts", "aac", 16_000, "mono"),
    ("a.webm", "webm", "libopus", 48_000, "stereo"),
    ("a.mkv", "matroska", "flac", 16_000, "mono"),
)


def hostile() -> dict[str, tuple[str, bytes]]:
    """By name: the problem that is expected, or `score` where the file can be used all the same; and the file.

    A WAV of 4 GB and more is what a recorder writes that does not know the length beforehand.
    """
    speech = sound(RATE, 2.0)
    wav, flac = encoded(speech), encoded(speech, format="FLAC")
    none = "not-audio"
    return {
        "FLAC of 2^36 samples": ("beyond-limits", claiming(flac, 2**36 - 1)),
        "FLAC of 2^36 samples, 600 s": ("beyond-limits", claiming(silence(600), 2**36 - 1)),
        "FLAC of 2e9 samples": ("beyond-limits", claiming(flac, 2_000_000_000)),
        "FLAC that claims 1 h 59": ("unusable-audio", claiming(flac, 7_140 * RATE)),
        "FLAC of 0 Hz": (none, patched(flac, 18, bytes([0, 0, flac[20] & 0x0F]))),
        "WAV of 0 Hz": (none, patched(wav, 24, struct.pack("<I", 0))),
        "WAV of 4 GHz": (none, patched(wav, 24, struct.pack("<I", 4_000_000_000))),
        "WAV of 0 channels": (none, patched(wav, 22, struct.pack("<H", 0))),
        "WAV of 65535 channels": (none, patched(wav, 22, struct.pack("<H", 65_535))),
        "WAV of 1000 channels": ("beyond-limits", patched(wav, 22, struct.pack("<HIIH", 1000, RATE, 32_000_000, 2000))),
        "WAV that claims 4 GB": ("score", patched(patched(wav, 40, b"\xff" * 4), 4, b"\xff" * 4)),
        "WAV that claims 2 GB": ("beyond-limits", patched(wav, 40, struct.pack("<I", 0x7FFEFFFF))),
        "NaN": ("unusable-audio", encoded(np.full(RATE, np.nan), subtype="FLOAT")),
        "infinite": ("unusable-audio", encoded(np.full(RATE, np.inf), subtype="FLOAT")),
        "1e30": ("unusable-audio", encoded(np.full(RATE, 1e30), subtype="FLOAT")),
        "digital silence": ("score", encoded(np.zeros(2 * RATE))),
        "constant": ("score", encoded(np.ones(2 * RATE))),
        "one sample": ("unusable-audio", encoded(speech[:1])),
        "header alone": (none, wav[:44]),
        "half a WAV": ("unusable-audio", wav[: len(wav) // 2]),
        "half a FLAC": ("unusable-audio", flac[: len(flac) // 2]),
        "empty": (none, b""),
        "text": (none, b"hello, I am no audio\n" * 100),
        "HTML": (none, b"<!DOCTYPE html><html><script>alert(1)</script></html>"),
        "ID3 alone": (none, b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f" + bytes(1_000)),
        "zeros": (none, bytes(100_000)),
        "playlist": (none, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
        "concatenation": (none, b"ffconcat version 1.0\nfile /etc/passwd\n"),
        "session description": (none, b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=audio 9 RTP/AVP 0\n"),
        "WAV and ZIP in one": ("score", wav + b"PK\x03\x04" + b"x" * 1_000),
        "M4A with an empty index": (none, b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0\0\0\0\x08moov"),
        "M4A of a type alone": (none, b"\0\0\0\x18ftypM4A \0\0\0\0isomiso2"),
        "WebM of a header alone": (none, b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7),
        "ZIP bomb": (none, zip_bomb()),
    }  # fmt: skip


def bombs() -> dict[str, tuple[str, bytes]]:
    """As `hostile`: small files that decode to hours."""
    eight = silence(120, rate=192_000, channels=8)
    found = {
        "1 h of FLAC": ("score", silence(3_600)),
        "2 h 10 of FLAC that does not say so": ("beyond-limits", claiming(silence(7_800), 0)),
        "2 min of FLAC, 8 channels of 192 kHz": ("score", eight),
        "30 min of Vorbis": ("score", silence(1_800, format="OGG", subtype="VORBIS")),
        "20 min of Opus": ("score", silence(1_200, format="OGG", subtype="OPUS")),
        "10 min of MP3": ("score", silence(600, format="MP3", subtype="MPEG_LAYER_III")),
    }
    m4a = muxed("ipod", "aac", 8_000, "mono", np.zeros(8_000 * 7_800, np.float32))
    lying = bytearray(m4a)
    for box, at in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 24)):  # where they state the duration
        i = lying.find(box) + 4 + at
        lying[i : i + 4] = struct.pack(">I", 1_000)
    return found | {
        "2 h 10 of M4A": ("beyond-limits", m4a),
        "2 h 10 of M4A that does not say so": ("beyond-limits", bytes(lying)),
    }


def sound(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    """`[T, channels]`: a voice-like tone with noise, which no codec finds trivial."""
    t = np.arange(round(seconds * rate)) / rate
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(t))
    one = 0.3 * np.sin(2 * np.pi * 180 * t * (1 + 0.05 * np.sin(5 * t))) + noise
    return np.repeat(one[:, None], channels, 1).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    """By libsndfile, in pieces of a second: its Vorbis encoder ends the process on long ones."""
    file, channels = io.BytesIO(), samples.shape[1] if samples.ndim == 2 else 1
    with sf.SoundFile(file, "w", rate, channels, subtype, format=format) as out:
        for i in range(0, len(samples), rate):
            out.write(samples[i : i + rate])
    return file.getvalue()


def silence(
    seconds: int, *, rate: int = RATE, channels: int = 1, format: str = "FLAC", subtype: str = "PCM_16"
) -> bytes:
    file, second = io.BytesIO(), np.zeros((rate, channels), np.int16)
    with sf.SoundFile(file, "w", rate, channels, subtype, format=format) as out:
        for _ in range(seconds):
            out.write(second)
    return file.getvalue()


def muxed(container: str, codec: str, rate: int, layout: str, samples: np.ndarray) -> bytes:
    """By FFmpeg; `samples` are `[T]`."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=rate, layout=layout)
        context = stream.codec_context
        context.open()
        convert = av.AudioResampler(context.format, layout=layout, rate=rate, frame_size=context.frame_size or 1_024)
        channels = {"mono": 1, "stereo": 2}[layout]
        for i in range(0, len(samples), 100 * rate):
            piece = np.tile(samples[i : i + 100 * rate], (channels, 1))
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, i
            for converted in convert.resample(frame):
                out.mux(stream.encode(converted))
        for converted in convert.resample(None):
            out.mux(stream.encode(converted))
        out.mux(stream.encode(None))
    return file.getvalue()


def claiming(flac: bytes, n_samples: int) -> bytes:
    """A FLAC whose header states another length; 0 is an unknown one."""
    facts = int.from_bytes(flac[18:26], "big") >> TOTAL_BITS << TOTAL_BITS | n_samples
    return patched(flac, 18, facts.to_bytes(8, "big"))


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.wav", bytes(50_000_000))
    return file.getvalue()


def damaged(n: int) -> Iterator[tuple[str, bytes]]:
    """So many damaged files: each a whole one of some container, of which something was changed, by its number."""
    whole = {
        name: encoded(sound(rate, 1.2, channels), rate, kind, coding) for name, kind, coding, rate, channels in CODINGS
    }
    for name, kind, codec, rate, layout in MUXED:
        whole[name] = muxed(kind, codec, rate, layout, sound(rate, 1.2)[:, 0])
    names = sorted(whole)
    for seed in range(n):
        rng, name = random.Random(seed), names[seed % len(names)]
        data = bytearray(whole[name])
        for _ in range(rng.choice((1, 1, 2))):
            damage = rng.choice((flip, state, state, cut, fill, drop, repeat, cross))
            damage(data, rng, whole[rng.choice(names)])
        yield f"{seed} {name}", bytes(data)


def flip(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Bits, all over or in the header."""
    span = min(len(data), rng.choice((48, 512, len(data))))
    for _i in range(rng.choice((1, 4, 64))):
        data[rng.randrange(span)] ^= 1 << rng.randrange(8)


def state(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Another number in a field of the header."""
    at = rng.randrange(min(len(data), rng.choice((64, 256, 1_024))) - 4)
    data[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS))


def cut(data: bytearray, rng: random.Random, _: bytes) -> None:
    del data[rng.randrange(64, len(data)) :]


def fill(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Zeros or noise over a stretch."""
    at, n = rng.randrange(len(data)), rng.choice((4, 64, 1_000))
    n = min(n, len(data) - at)
    data[at : at + n] = rng.choice((bytes(n), rng.randbytes(n)))


def drop(data: bytearray, rng: random.Random, _: bytes) -> None:
    at = rng.randrange(len(data) // 2)
    del data[at : at + rng.choice((1, 64, 1_000))]


def repeat(data: bytearray, rng: random.Random, _: bytes) -> None:
    at, n = rng.randrange(len(data)), rng.choice((1, 64, 1_000))
    data[at:at] = data[at : at + n] * rng.choice((1, 5, 50))


def cross(data: bytearray, rng: random.Random, other: bytes) -> None:
    """The beginning of one file and the end of another."""
    at = rng.randrange(min(len(data), 2_000))
    data[at:] = other[at:]
