"""Samples that come as bytes, against libsndfile's values of the same file."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from sounds import encode, noise

from deepfake.audio.pcm import Pcm, wav_header
from deepfake.audio.sound import Info
from deepfake.errors import InputError


def read(data):
    """Header and samples of the bytes of a WAV, which come seven at a time."""
    file = io.BytesIO(data)
    found = wav_header("a test", lambda n: file.read(min(n, 7)))
    pcm, pieces = Pcm(found.header.subtype, found.header.channels), []
    left = len(data) if found.n_bytes is None else found.n_bytes
    while left and (piece := file.read(min(left, 7))):
        left -= len(piece)
        pieces.append(pcm.take(piece))
    return found, np.concatenate(pieces)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("format", "channels"), [("WAV", 1), ("WAV", 3), ("WAVEX", 2), ("RF64", 1)])
def test_samples_are_those_that_libsndfile_reads(subtype, format, channels):
    data = encode(noise(999, channels=channels), 22_050, format=format, subtype=subtype)
    found, samples = read(data)
    assert found.header == Info(999 / 22_050, 22_050, channels, "WAV", subtype, 999)
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, expected)


def a_wav(*, size=None, chunk=b"", tag=1, bits=16, align=2, samples=b"\0\1\0\2"):
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, 1, 8_000, 8_000 * align, align, bits)
    size = len(samples) if size is None else size
    return b"RIFF\xff\xff\xff\xffWAVE" + chunk + form + struct.pack("<4sI", b"data", size) + samples


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_size_that_streaming_programs_write_is_none(size):
    found, samples = read(a_wav(size=size))
    assert found.n_bytes is found.header.n_frames is found.header.seconds is None
    np.testing.assert_array_equal(samples[:, 0], [256 / 2**15, 512 / 2**15])


def test_chunks_before_the_samples_are_skipped_and_what_follows_them_is_left():
    found, samples = read(a_wav(chunk=b"LIST\x03\0\0\0abc\0", size=2, samples=b"\0\1LISTxyz"))
    assert found.n_bytes == 2
    assert samples.tolist() == [[256 / 2**15]]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "a test: nothing came; send a WAV, or samples with --raw-rate"),
        (b"fLaC" + bytes(99), "a test: not a WAV; send PCM or floats, as `ffmpeg"),
        (b"\n" * 99, "not a WAV"),
        (b"RIFFxxxxAVI LIST", "not a WAV"),
        (b"RIFFxxxxWA", "it ended within the header of a WAV"),
        (a_wav()[:30], "it ended within the header of a WAV"),
        (b"RIFFxxxxWAVEdata\x04\0\0\0abcd", "whose header does not describe its samples"),
        (a_wav(chunk=b"LIST\xff\xff\xff\x7f"), "whose header does not describe its samples"),
        (a_wav(tag=7, bits=8, align=1), "a WAV of format 7 with 8 bits a sample; send PCM"),
        (a_wav(bits=64), "with 64 bits a sample"),
    ],
)
def test_what_is_no_wav_of_samples_is_named(data, words):
    with pytest.raises(InputError, match=words):
        read(data)
