"""Every container and codec against a plain decoding with PyAV: all samples, or an error."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from sounds import encode, media, noise, patch

from deepfake import audio
from deepfake.audio import decode, ffmpeg, libsndfile, mono
from deepfake.audio.sound import Source
from deepfake.errors import InputError

av = pytest.importorskip("av", reason="PyAV, the extra `media`, is not installed")

ID3 = b"ID3\x03\0\0\0\0\0\x40" + bytes(64)
LIBSNDFILE = [
    *[("WAV", subtype, 16_000) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")],
    *[("WAV", subtype, 8_000) for subtype in ("ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")],
    *[(container, "PCM_16", 22_050) for container in ("WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")],
    ("FLAC", "PCM_24", 48_000),
    ("MP3", None, 16_000),
    ("MP3", None, 44_100),
    ("OGG", "VORBIS", 16_000),
    ("OGG", "OPUS", 48_000),
]
PADDED = {"GSM610": 320}  # a block: only FFmpeg believes the chunk that says where the sound ends in the last one
LOOSE = {"MS_ADPCM": 0.02}  # the two decoders round its predictor differently
PYAV = [
    ("ipod", "aac", 16_000),  # .m4a
    ("ipod", "alac", 44_100),
    ("mp4", "libopus", 48_000),
    ("mov", "pcm_s16le", 16_000),
    ("3gp", "amr_nb", 8_000),
    ("adts", "aac", 22_050),
    ("webm", "libopus", 48_000),
    ("matroska", "ac3", 48_000),
    ("matroska", "pcm_f32le", 16_000),
    ("mpegts", "aac", 16_000),
    ("mpegts", "mp2", 44_100),
    ("asf", "wmav2", 16_000),  # .wma
    ("avi", "mp3", 44_100),
    ("avi", "pcm_s16le", 16_000),
    ("flv", "mp3", 44_100),
    ("caf", "alac", 16_000),
    ("amr", "amr_nb", 8_000),
    ("mp2", "mp2", 44_100),
    ("wav", "mp3", 16_000),
    ("mp3", "libmp3lame", 22_050),
]


def decoded(data: bytes) -> np.ndarray:
    """All that FFmpeg makes of a file, mono: `[T]`; packets that are no audio are left out, as players do."""
    found = [np.zeros((1, 0))]
    with av.open(io.BytesIO(data)) as container:
        to_float = av.AudioResampler(format="fltp")
        for packet in container.demux(container.streams.audio[0]):
            try:
                frames = packet.decode()
            except ValueError:
                continue
            found += [part.to_ndarray() for frame in frames for part in to_float.resample(frame)]
    return np.concatenate(found, axis=1).mean(axis=0)


def at_own_rate(source: bytes) -> np.ndarray:
    return audio.load(source, sample_rate=audio.info(source).sample_rate).numpy()


def error_of(source: Source) -> str:
    with pytest.raises(InputError) as caught:
        audio.load(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def without_pyav(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)


def joined(container: str, codec: str, folder: Path) -> tuple[bytes, bytes]:
    """One file, and two of its kind one behind the other."""
    first, second = (media(folder, container, codec, 48_000, samples=noise(96_000, seed)[:, 0]) for seed in (0, 1))
    return first, first + second


def varied_mp3(folder: Path) -> bytes:
    """Of variable bit rate, without a Xing header; soft at first, so that an estimate from there is too long."""
    samples = noise(80_000)[:, 0] * np.repeat([1e-4, 1], 40_000)
    coding = {"abr": "1", "b": "32k"}
    return media(folder, "mp3", "libmp3lame", 16_000, samples=samples.astype(np.float32), coding=coding, write_xing="0")


# --- Whole, and the same samples.


@pytest.mark.parametrize(("container", "coding", "rate"), LIBSNDFILE)
def test_what_libsndfile_writes(container, coding, rate):
    data = encode(noise(3 * rate), rate, container, coding)
    expected = decoded(data)
    assert len(expected) >= 3 * rate
    found = at_own_rate(data)
    assert len(found) - len(expected) == PADDED.get(coding, 0)
    assert np.abs(found[: len(expected)] - expected).max() < LOOSE.get(coding, 1e-5)


@pytest.mark.parametrize(("container", "codec", "rate"), PYAV)
def test_what_pyav_writes(container, codec, rate, tmp_path):
    coding = {"b": "64k"} if codec == "wmav2" else {}
    data = media(tmp_path, container, codec, rate, samples=noise(3 * rate)[:, 0], coding=coding)
    expected = decoded(data)
    assert len(expected) == pytest.approx(3 * rate, abs=2_400)
    found = at_own_rate(data)
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() < 1e-5
    parts = audio.stream(data, block_seconds=0.1, sample_rate=rate)
    assert np.array_equal(np.concatenate([part.numpy() for part in parts]), found)


@pytest.mark.parametrize(("coding", "rate"), [(None, 16_000), (None, 44_100), ("VORBIS", 16_000), ("OPUS", 48_000)])
def test_without_pyav_mp3_and_ogg_are_the_same(coding, rate, without_pyav):
    data = encode(noise(3 * rate), rate, "OGG" if coding else "MP3", coding)
    found, expected = at_own_rate(data), decoded(data)
    assert len(found) == len(expected) == 3 * rate
    assert np.abs(found - expected).max() < 1e-5


def test_nist_is_read():
    samples = noise(20_000)
    assert np.abs(at_own_rate(encode(samples, 16_000, "NIST")) - samples[:, 0]).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "n_samples"),
    [
        ("vbr_without_header.mp3", 41_472),
        ("two_opus_joined.ogg", 80_000),  # of 240,624 at 48 kHz, each part's 312 of the codec's delay are skipped
        ("mp3_in_wav.wav", 41_472),
        ("ogg_flac.ogg", 40_000),
    ],
)
def test_cases(name, n_samples, shared):
    assert len(audio.load(shared / "cases" / name)) == n_samples


def test_truncated_case_has_twenty_whole_frames(shared):
    with pytest.raises(InputError, match=r"broke off after 1\.44 s"):  # 20 of 1,152 samples
        audio.load(shared / "cases" / "truncated.flac")


def speex(n_packets: int) -> bytes:
    """Ogg Speex of random packets at 8 kHz: a mode of 160 bits a frame, in which all bits are speech."""
    names = struct.pack("<8s20s", b"Speex   ", b"1.2")
    header = names + struct.pack("<13i", 1, 80, 8_000, 0, 4, 1, -1, 160, 0, 1, 0, 0, 0)
    packets = [b"\x18" + np.random.default_rng(i).bytes(19) for i in range(n_packets)]  # 0, then mode 3 in four bits
    pages = [[header], [struct.pack("<II", 0, 0)], packets]
    return b"".join(ogg_page(i, page, 160 * n_packets if i == 2 else 0) for i, page in enumerate(pages))


def ogg_page(number: int, packets: list[bytes], granule: int) -> bytes:
    flags = {0: 2, 2: 4}.get(number, 0)
    lacing = bytes(map(len, packets))
    page = (
        struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, 1, number, 0, len(packets)) + lacing + b"".join(packets)
    )
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 * (crc >> 31)) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", crc) + page[26:]


def test_speex():
    data = speex(50)
    found = at_own_rate(data)
    assert audio.info(data).subtype == "SPEEX"
    assert len(found) == 8_000
    assert found.std() > 0.001
    assert np.abs(found - decoded(data)).max() < 1e-5


# --- A count that is only an estimate neither limits nor accuses.


def test_mp3_of_variable_bit_rate_without_header(tmp_path, monkeypatch):
    data = varied_mp3(tmp_path)
    assert b"Xing" not in data
    assert b"Info" not in data
    assert len(at_own_rate(data)) == len(decoded(data)) > 80_000
    assert audio.info(data).seconds > 10  # the estimate
    monkeypatch.setattr(mono, "MAX_SECONDS", 6.0)
    assert len(audio.load(data)) > 80_000


def test_mp3_of_variable_bit_rate_without_header_and_pyav(tmp_path, monkeypatch):
    data = varied_mp3(tmp_path)
    n_samples = len(decoded(data))
    monkeypatch.setitem(sys.modules, "av", None)
    try:
        assert len(at_own_rate(data)) == pytest.approx(n_samples, abs=1_200)
    except InputError as error:
        assert "deepfake[media]" in str(error)


@pytest.mark.parametrize(("container", "codec"), [("ogg", "libopus"), ("mp3", "libmp3lame"), ("adts", "aac")])
def test_joined_streams_are_read_whole(container, codec, tmp_path):
    one, two = joined(container, codec, tmp_path)
    found, first = at_own_rate(two), at_own_rate(one)
    assert len(found) == pytest.approx(2 * len(first), abs=3_600)  # delays
    assert len(found) == pytest.approx(len(decoded(two)), abs=1)
    assert np.abs(found[60_000:80_000] - first[60_000:80_000]).max() < 1e-3
    assert found[len(first) + 20_000 :].std() == pytest.approx(first.std(), rel=0.1)


@pytest.mark.parametrize(("container", "codec"), [("ogg", "libopus"), ("mp3", "libmp3lame")])
def test_joined_streams_without_pyav(container, codec, tmp_path, without_pyav):
    _, two = joined(container, codec, tmp_path)
    assert "deepfake[media]" in error_of(two)


def test_video_may_outlast_the_audio(tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as output:
        picture, sound = output.add_stream("mpeg4", rate=1), output.add_stream("ac3", rate=48_000, layout="mono")
        picture.width = picture.height = 64
        for _ in range(9):
            output.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(noise(48_000).T, format="fltp", layout="mono")
        frame.sample_rate = 48_000
        cut = av.AudioResampler("fltp", frame_size=1536)
        for part in [*cut.resample(frame), *cut.resample(None)]:
            output.mux(sound.encode(part))
        output.mux(picture.encode(None))
        output.mux(sound.encode(None))
    assert audio.info(path).seconds == pytest.approx(9, abs=1.1)
    assert len(audio.load(path)) == pytest.approx(16_000, abs=600)


# --- Recorders that crash, tags, and damage.


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_wav_of_a_recorder_that_crashed(size):
    whole = encode(noise(20_000))
    data = patch(patch(whole, b"data", 4, size.to_bytes(4, "little")), b"RIFF", 4, bytes(4))
    assert np.array_equal(at_own_rate(data), at_own_rate(whole))


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF", "MP3"])
def test_tag_before_the_audio(container):
    data = encode(noise(20_000), 16_000, container)
    assert np.array_equal(at_own_rate(ID3 + data), at_own_rate(data))


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), b"no audio " * 800])
def test_what_follows_an_mp3(tail):
    data = encode(noise(48_000), 16_000, "MP3")
    assert np.array_equal(at_own_rate(data + tail)[:48_000], at_own_rate(data))


def test_packets_that_are_no_audio_are_said(tmp_path):
    _, two = joined("mp3", "libmp3lame", tmp_path)
    with audio.recording(two) as opened:
        assert not opened.notes
        for _ in opened.blocks:
            pass
        (note,) = opened.notes
    assert (note.name, note.value) == ("damaged", 1)


def test_tag_that_is_not_utf_8(tmp_path):
    data = media(tmp_path, "ipod", "aac", 16_000, title="MARKER").replace(b"MARKER", b"M\xfcller")
    assert b"M\xfcller" in data
    assert len(audio.load(data)) >= 16_000


@pytest.mark.parametrize("pyav", [True, False])
def test_truncated_mp3_whose_encoder_counted(pyav, monkeypatch):
    if not pyav:
        monkeypatch.setitem(sys.modules, "av", None)
    data = encode(noise(160_000), 16_000, "MP3")
    assert b"Xing" in data[:1000] or b"Info" in data[:1000]
    assert len(audio.load(data)) == 160_000
    message = error_of(data[: len(data) * 9 // 10])
    assert "truncated" in message
    assert "forged" not in message


def test_truncated_mp3_that_counts_nothing_is_what_is_there(tmp_path):
    data = media(tmp_path, "mp3", "libmp3lame", 16_000, samples=noise(160_000)[:, 0], write_xing="0")
    assert len(audio.load(data[: len(data) // 2])) == pytest.approx(80_000, abs=1_200)


def test_truncated_flac_names_what_was_good():
    data = encode(noise(160_000), 16_000, "FLAC")
    n_good, half = 0, data[: len(data) // 2]
    with pytest.raises(av.FFmpegError), av.open(io.BytesIO(half)) as container:
        for frame in container.decode(audio=0):
            n_good += frame.samples
    assert f"broke off after {n_good / 16_000:.2f} s" in error_of(half)
    assert 70_000 < n_good < 81_000
    blocks = audio.stream(half, block_seconds=1.0)
    assert np.array_equal(next(blocks).numpy(), at_own_rate(data)[:16_000])


@pytest.mark.parametrize(("container", "codec", "kind"), [("ipod", "aac", "M4A"), ("webm", "libopus", "WebM")])
def test_without_pyav_the_format_is_named(container, codec, kind, tmp_path, monkeypatch):
    data = media(tmp_path, container, codec, 48_000)
    monkeypatch.setitem(sys.modules, "av", None)
    message = error_of(data)
    assert kind in message
    assert 'only PyAV reads: pip install "deepfake[media]"' in message
    assert "Speex, which" in error_of(speex(1))


def test_an_index_of_too_many_samples_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    data = media(tmp_path, "ipod", "aac", 16_000, samples=noise(160_000)[:, 0])
    for box, at in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):  # the duration of each, which says less
        data = patch(data, box, at, (100).to_bytes(4, "big"))
    assert audio.info(data).seconds < 1
    assert len(audio.load(data)) == pytest.approx(160_000, abs=2_048)
    monkeypatch.setattr(mono, "MAX_SECONDS", 9.0)
    monkeypatch.setattr(ffmpeg, "_floats", None)
    assert "the header claims 0.0 hours" in error_of(data)


def test_forged_is_only_said_of_what_is_uncompressed(tmp_path):
    data = media(tmp_path, "ipod", "aac", 16_000, samples=noise(80_000)[:, 0], movflags="faststart")
    message = error_of(data[: len(data) // 2])
    assert "truncated" in message
    assert "forged" not in message
    assert "truncated or forged" in error_of(encode(noise(20_000))[:30_000])


@pytest.mark.parametrize(("tag", "codec"), [(0x0270, "ATRAC3"), (0x1234, "unknown codec")])
def test_a_codec_that_is_not_decoded_is_named(tag, codec):
    message = error_of(patch(encode(noise(20_000)), b"fmt ", 8, tag.to_bytes(2, "little")))
    assert codec in message
    assert "convert it to FLAC" in message


# --- Whatever goes wrong belongs to the file.


@pytest.mark.parametrize("container", ["WAV", "MP3"])
def test_an_exception_of_any_kind_names_the_file(container, tmp_path, monkeypatch):
    path = tmp_path / "clip.wav"
    path.write_bytes(encode(noise(20_000), format=container))

    def broken(*_, **__):
        raise ZeroDivisionError("of no use")

    monkeypatch.setattr(libsndfile.SequentialFile, "read", broken)
    monkeypatch.setattr(ffmpeg, "_floats", broken)
    assert "clip.wav: decoding broke off after 0.00 s (ZeroDivisionError: of no use)" in error_of(path)
    monkeypatch.setattr(decode, "_head", broken)
    assert "clip.wav: decoding broke off after 0.00 s (ZeroDivisionError: of no use)" in error_of(path)


def test_what_fails_outside_of_the_decoder_is_not_the_files():
    with pytest.raises(FileNotFoundError), audio.recording(encode(noise(20_000))):
        raise FileNotFoundError("of whoever reads it")


INTERRUPTED = """
import signal, sys, time
from deepfake import audio
def interrupt(*_): raise KeyboardInterrupt
n, path = 0, sys.argv[1]
audio.load(path)
signal.signal(signal.SIGALRM, interrupt)
for i in range(40):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.0007 * i)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            audio.load(path)
    except KeyboardInterrupt:
        n += 1
print(n)
"""
QUIET = """
import sys
import logging
logging.disable()
sys.modules["av"] = None if sys.argv[1] == "without" else __import__("av")
from deepfake import audio
for path in sys.argv[2:]:
    try:
        audio.load(path)
    except ValueError:
        pass
"""


@pytest.mark.parametrize("name", ["a.flac", "a.mp3"])
def test_an_interruption_is_not_lost_in_a_decoder(name, tmp_path):
    sf.write(tmp_path / name, noise(80_000), 16_000)
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert int(done.stdout) >= 38  # of 40: PyAV loses those in the microseconds in which it raises


@pytest.mark.parametrize("pyav", ["with", "without"])
def test_decoders_write_nothing_on_standard_error(pyav, tmp_path):
    whole = encode(noise(80_000), 16_000, "MP3")
    damaged = whole[:3_000] + bytes(500) + whole[4_000:]
    for i, data in enumerate([whole + whole, whole[:9_000], damaged, whole + b"x" * 9_000, ID3 + b"\xff\xfb" * 900]):
        (tmp_path / f"{i}.mp3").write_bytes(data)
    command = [sys.executable, "-c", QUIET, pyav, *map(str, sorted(tmp_path.iterdir()))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""
