"""Decoding: what is read is right, what cannot be used is refused in one sentence, memory stays bounded."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import encode, media, noise, patch, tone

from deepfake import audio
from deepfake.audio import libsndfile, mono
from deepfake.audio.sound import Info, Source
from deepfake.errors import InputError

RATES = (4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 192_000)


def claim_frames(flac: bytes, n_frames: int) -> bytes:
    """The same FLAC with another total in its STREAMINFO: the low 36 bits of bytes 18 to 25."""
    field = int.from_bytes(flac[18:26], "big") >> 36 << 36 | n_frames
    return flac[:18] + field.to_bytes(8, "big") + flac[26:]


def refused(source: Source, *words: str) -> None:
    """Loading ends in one sentence with these words in it."""
    with pytest.raises(InputError) as caught:
        audio.load(source)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def loudness_of(waveform: torch.Tensor, hz: float) -> float:
    """Amplitude at `hz` of a waveform at 16 kHz, its edges left out."""
    middle = waveform[1600:-1600].double()
    phase = 2 * math.pi * hz * torch.arange(len(middle), dtype=torch.float64) / 16_000
    return (2 * (middle * torch.exp(1j * phase)).mean()).abs().item()


# --- What is read is right.


@pytest.mark.parametrize("rate", RATES)
def test_every_rate_and_channel_count_becomes_16_khz_mono(rate):
    for channels in range(1, 9):
        gains = np.arange(1, channels + 1) / channels
        waveform = audio.load(encode(tone(rate)[:, None] * gains, rate, subtype="FLOAT"))
        assert waveform.dtype == torch.float32
        assert waveform.shape == (16_000,)
        assert loudness_of(waveform, 440.0) == pytest.approx(0.5 * gains.mean(), rel=1e-3)


def test_16_khz_comes_back_bit_for_bit():
    samples = noise(100_000)[:, 0]
    expected = sf.read(io.BytesIO(encode(samples, format="FLAC")), dtype="float32")[0]
    assert np.array_equal(audio.load(encode(samples, format="FLAC")).numpy(), expected)


def test_path_bytes_and_array_agree(tmp_path):
    samples = noise(5_000, channels=2)
    data = encode(samples, 22_050, subtype="FLOAT")
    path = tmp_path / "clip, a=1 (2) #ü.wav"
    path.write_bytes(data)
    expected = audio.load(data)
    for source in (path, str(path), (samples.T, 22_050), (torch.from_numpy(samples.T), 22_050)):
        assert torch.equal(audio.load(source), expected)


def test_integer_arrays_are_scaled():
    ints = np.array([-32768, 0, 16384] * 100, dtype=np.int16)
    assert audio.load((ints, 16_000)).tolist() == [-1.0, 0.0, 0.5] * 100


@pytest.mark.parametrize(
    ("format", "subtype", "rate"),
    [("MP3", "MPEG_LAYER_III", 16_000), ("OGG", "VORBIS", 16_000), ("OGG", "OPUS", 48_000), ("AIFF", "PCM_24", 44_100)],
)
def test_formats_of_libsndfile(format, subtype, rate):
    data = encode(tone(rate), rate, format, subtype)
    waveform = audio.load(data)
    assert len(waveform) == pytest.approx(16_000, abs=160)
    assert loudness_of(waveform, 440.0) == pytest.approx(0.5, rel=0.05)
    assert audio.info(data).format == format
    assert audio.info(data).seconds == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels"),
    [("ipod", "aac", 16_000, 1), ("mp4", "aac", 44_100, 2), ("adts", "aac", 16_000, 1), ("webm", "libopus", 48_000, 1)],
)
def test_formats_of_pyav(container, codec, rate, channels, tmp_path):
    path = tmp_path / "misnamed.wav"  # the content decides, not the name
    path.write_bytes(media(tmp_path, container, codec, rate, channels))
    waveform = audio.load(path)
    assert 16_000 <= len(waveform) <= 16_000 + 3 * 1024 * 16_000 // rate  # AAC frames pad the ends
    assert loudness_of(waveform[:16_000], 440.0) == pytest.approx(0.5, rel=0.05)
    assert torch.equal(audio.load(path, start_seconds=0.25, seconds=0.5), waveform[4_000:12_000])
    header = audio.info(path)
    assert (header.sample_rate, header.channels, header.n_frames) == (rate, channels, None)
    assert len(audio.load_clip(path, n_samples=9_000, rng=np.random.default_rng(0))) == 9_000


def test_info_states_the_header():
    assert audio.info(encode(noise(4_410, channels=2), 44_100)) == Info(0.1, 44_100, 2, "WAV", "PCM_16", 4_410)


def test_real_speech_matches_a_plain_read(shared):
    files = sorted((shared / "data").rglob("*.flac"))[:20]
    assert files
    for path in files:
        assert np.array_equal(audio.load(path).numpy(), sf.read(path, dtype="float32")[0])


# --- What misleads is said.


def noted(source: Source) -> tuple[torch.Tensor, list[str]]:
    with audio.recording(source) as opened:
        return torch.from_numpy(np.concatenate(list(opened.blocks))), [note.name for note in opened.notes]


def test_where_the_mix_would_cancel_the_stronger_channel_is_taken(tmp_path, caplog):
    left = noise(20 * 16_000)[:, 0]
    path = tmp_path / "inverted.wav"
    path.write_bytes(encode(np.stack([0.9 * left, -left], 1), subtype="FLOAT"))
    waveform, names = noted(path)
    assert np.array_equal(waveform.numpy(), -left)
    assert names == ["channels_cancel"]
    for start in (0.0, 0.5, 12.0):  # a part is treated as the whole is, whether it is reached by seeking or not
        assert torch.equal(audio.load(path, start_seconds=start, seconds=1.0), waveform[int(start * 16_000) :][:16_000])
    said = [record.message for record in caplog.records if str(path) in record.message]
    assert said == [f"{path}: Its channels cancel each other when they are mixed: channel 2 of 2 is taken."]  # once


def test_inverted_case(shared):
    path = shared / "cases" / "antiphase_stereo.wav"
    waveform, names = noted(path)
    assert np.array_equal(waveform.numpy(), sf.read(path, dtype="float32")[0][:, 0])
    assert names == ["channels_cancel"]


@pytest.mark.parametrize("right", [0.0, 0.5, -0.5, "another"])
def test_channels_that_do_not_cancel_are_mixed(right):
    left = noise(16_000)[:, 0]
    other = noise(16_000, seed=1)[:, 0] if right == "another" else right * left
    waveform, names = noted((np.stack([left, other]), 16_000))
    assert np.allclose(waveform, (left + other) / 2, atol=1e-7)
    assert names == []


def test_channels_that_cancel_only_later_are_refused():
    samples = noise(60 * 16_000)[:, 0]
    samples[: 6 * 16_000] *= 1e-3
    pair = np.stack([samples, -samples])
    pair[1, : 6 * 16_000] *= -1  # the beginning looks right
    refused((pair, 16_000), "cancel each other")


@pytest.mark.parametrize(("bits", "scale"), [(16, 2.0**15), (24, 2.0**23), (32, 2.0**31)])
def test_floats_that_hold_integers_are_scaled(bits, scale):
    samples = noise(8 * 16_000)[:, 0]
    loud = np.round(samples * scale).astype(np.float32)
    waveform, names = noted(encode(loud, subtype="FLOAT"))
    assert np.abs(waveform.numpy() - samples).max() < 2.0**-15
    assert names == ["integer_range"]
    assert noted((loud.astype(np.float64), 16_000))[1] == ["integer_range"]


def test_level_over_full_scale():
    samples = noise(8 * 16_000)[:, 0]
    over = 1.9 * samples / np.abs(samples).max()  # 5.6 dB: as codecs and float masters have it
    assert np.allclose(audio.load(encode(over, subtype="FLOAT")), over)
    refused(encode(20 * samples, subtype="FLOAT"), "above 4 where full scale is 1")
    late = samples.copy()
    late[7 * 16_000 :] *= 2.0**15
    refused(encode(late, subtype="FLOAT"), "above 4 where full scale is 1")


# --- A part of a file.


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("FLAC", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "MS_ADPCM"), ("OGG", "VORBIS"), ("MP3", None)],
)
def test_part_is_the_slice_of_the_whole_bit_for_bit(format, subtype):
    data = encode(noise(150_000), 16_000, format, subtype)
    whole = audio.load(data)
    for start, seconds in ((0.0, 0.5), (1.2345, 2.0), (4.1, 4.0), (9.0, 5.0)):
        part = audio.load(data, start_seconds=start, seconds=seconds)
        first = round(start * 16_000)
        assert torch.equal(part, whole[first : first + round(seconds * 16_000)])


@pytest.mark.parametrize("rate", RATES)
def test_part_of_a_resampled_file_is_the_slice_of_the_whole(rate):
    data = encode(noise(3 * rate + 37), rate, subtype="FLOAT")
    whole = audio.load(data)
    for start in (0.0, 0.05, 0.5001, 1.2345, 2.9):
        part = audio.load(data, start_seconds=start, seconds=0.4)
        first = round(start * 16_000)
        expected = whole[first : first + 6_400]
        assert part.shape == expected.shape
        assert (part - expected).abs().max() < 1e-4  # measured: 2e-7


def test_part_is_reached_by_seeking(monkeypatch):
    data = encode(noise(20 * 16_000), format="FLAC")
    read, decode = [], libsndfile.SequentialFile.read

    def counting(self, frames, **keywords):
        read.append(frames)
        return decode(self, frames, **keywords)

    monkeypatch.setattr(libsndfile.SequentialFile, "read", counting)
    audio.load(data, start_seconds=18.0, seconds=0.5)
    assert sum(read) < 16_000


def test_failing_seek_falls_back_to_decoding_from_the_start(monkeypatch):
    data = encode(noise(50_000), format="FLAC")
    whole = audio.load(data)

    def broken_seek(*_):
        raise sf.LibsndfileError(39)

    monkeypatch.setattr(libsndfile.SequentialFile, "seek", broken_seek)
    assert torch.equal(audio.load(data, start_seconds=1.0, seconds=1.0), whole[16_000:32_000])


def test_part_beyond_the_end_says_where_the_end_is():
    for start in (1.0, 5.0):
        with pytest.raises(InputError, match=r"ends at 1\.00 s"):
            audio.load(encode(noise(16_000)), start_seconds=start)


# --- A stream of blocks.


STREAMED = {
    (format, rate): encode(noise(int(2.3 * rate), channels=2), rate, format)
    for format, rate in (("WAV", 16_000), ("FLAC", 44_100), ("MP3", 22_050), ("OGG", 48_000), ("WAV", 8_000))
}


@pytest.mark.parametrize("key", STREAMED, ids=str)
@settings(deadline=None, max_examples=15)
@given(block_seconds=st.one_of(st.floats(0.0001, 0.02), st.floats(0.02, 3.0)))
def test_a_stream_is_what_is_loaded_bit_for_bit(key, block_seconds):
    blocks = list(audio.stream(STREAMED[key], block_seconds=block_seconds))
    assert torch.equal(torch.cat(blocks), audio.load(STREAMED[key]))
    n = max(1, round(block_seconds * 16_000))
    assert {len(block) for block in blocks[:-1]} <= {n}
    assert 0 < len(blocks[-1]) <= n
    assert all(block.dtype == torch.float32 for block in blocks)


def test_a_stream_at_another_rate_of_a_path_and_of_an_m4a(tmp_path):
    path = tmp_path / "clip.flac"
    path.write_bytes(STREAMED["FLAC", 44_100])
    blocks = audio.stream(path, block_seconds=0.1, sample_rate=8_000)
    assert torch.equal(torch.cat(list(blocks)), audio.load(path, sample_rate=8_000))
    data = media(tmp_path, "ipod", "aac", 44_100)
    assert torch.equal(torch.cat(list(audio.stream(data, block_seconds=0.1))), audio.load(data))


def test_a_stream_begins_before_it_has_read_all():
    blocks = audio.stream(encode(noise(500_000), format="FLAC")[:-100], block_seconds=1.0)
    assert len(next(blocks)) == 16_000  # the end is missing
    with pytest.raises(InputError, match="truncated"):
        list(blocks)


def test_a_stream_refuses_what_load_does(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such file"):
        next(audio.stream(tmp_path / "absent.wav", block_seconds=1.0))
    with pytest.raises(InputError, match="9 channels"):
        next(audio.stream(encode(noise(1_000, channels=9)), block_seconds=1.0))
    for block_seconds in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="a length above 0"):
            next(audio.stream(STREAMED["WAV", 16_000], block_seconds=block_seconds))
    monkeypatch.setattr(mono, "MAX_SECONDS", 5.0)
    with pytest.raises(InputError, match="longer than"):
        list(audio.stream(claim_frames(encode(noise(10 * 16_000), format="FLAC"), 0), block_seconds=1.0))


# --- Clips.


def aasist_pad(x: np.ndarray, max_len: int) -> np.ndarray:
    """What the published loader does in dev and eval: the first samples, tiled where there are too few."""
    return x[:max_len] if len(x) >= max_len else np.tile(x, max_len // len(x) + 1)[:max_len]


@pytest.mark.parametrize("n", [200, 30_000, 64_599, 64_600, 64_601, 100_000])
def test_64600_samples_are_aasists(n):
    samples = noise(n)[:, 0]
    data = encode(samples, subtype="FLOAT")
    assert np.array_equal(audio.load_clip(data, n_samples=64_600).numpy(), aasist_pad(samples, 64_600))
    crop = audio.load_clip(data, n_samples=64_600, rng=np.random.default_rng(3)).numpy()
    if n <= 64_600:
        assert np.array_equal(crop, aasist_pad(samples, 64_600))
    else:
        assert any(np.array_equal(crop, samples[start : start + 64_600]) for start in range(n - 64_600 + 1))


@pytest.mark.parametrize("format", ["WAV", "OGG"])
def test_random_crop_reaches_both_ends_and_nothing_else(format):
    data = encode(noise(1_003), format=format)
    whole, rng, starts = audio.load(data), np.random.default_rng(0), set()
    windows = whole.unfold(0, len(whole) - 3, 1)
    for _ in range(60):
        clip = audio.load_clip(data, n_samples=len(whole) - 3, rng=rng)
        (start,) = (windows == clip).all(dim=1).nonzero().flatten().tolist()
        starts.add(start)
    assert starts == {0, 1, 2, 3}


def test_random_crop_of_a_resampled_file_is_always_full():
    data = encode(noise(11_025 * 2 + 7), 11_025, subtype="FLOAT")
    n = len(audio.load(data))
    for seed in range(10):
        clip = audio.load_clip(data, n_samples=n - 2, rng=np.random.default_rng(seed))
        assert len(clip) == n - 2
        assert clip[-100:].abs().max() > 1e-3


@given(st.integers(1, 50), st.integers(1, 120), st.integers(0, 130))
def test_crop_or_repeat_is_periodic(n, n_samples, start):
    clip = audio.crop_or_repeat(torch.arange(n), n_samples, start)
    assert clip.tolist() == [(start + i) % n for i in range(n_samples)]


def test_crop_or_repeat_refuses_nothing_at_all():
    for arguments in ((torch.zeros(0), 5, 0), (torch.zeros(5), 0, 0), (torch.zeros(5), 5, -1)):
        with pytest.raises(InputError):
            audio.crop_or_repeat(*arguments)


# --- What cannot be used.


def test_what_is_no_file(tmp_path, monkeypatch):
    refused(tmp_path / "absent.wav", "absent.wav", "no such file")
    refused(tmp_path, str(tmp_path), "not a file")
    path = tmp_path / "locked.wav"
    path.write_bytes(encode(noise(1_000)))

    def locked(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", locked)
    refused(path, "locked.wav", "Permission denied")


@pytest.mark.parametrize("name", ["text.wav", "text.flac", "text.mp3", "text.raw", "text.m4a", "text"])
def test_text_is_no_audio(name, tmp_path):
    path = tmp_path / name
    path.write_text("this is not audio, whatever its name says\n" * 200)
    refused(path, name, "not audio")
    path.write_text("")
    refused(path, name, "not audio")


def test_noise_with_the_magic_of_a_container(tmp_path):
    rubbish = bytes(np.random.default_rng(0).integers(0, 256, 5_000, dtype=np.uint8))
    for magic in (b"RIFF\x00\x10\x00\x00WAVE", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"FORM\x00\x00\x10\x00AIFF"):
        refused(magic + rubbish, "the given bytes")


@pytest.mark.parametrize("magic", [b"\0\0\0\x20ftypM4A ", b"\x1a\x45\xdf\xa3", b"\xff\xf1"])
def test_noise_with_the_magic_of_a_media_container(magic):
    pytest.importorskip("av", reason="PyAV, the extra `media`, is not installed")
    refused(magic + bytes(np.random.default_rng(0).integers(0, 256, 5_000, dtype=np.uint8)), "the given bytes")


@pytest.mark.parametrize("n", [0, 1, 159])
def test_too_short(n):
    refused(encode(noise(n)), "samples")
    refused((noise(n)[:, 0], 16_000), "samples")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_values_that_are_no_audio(value):
    samples = noise(200_000, channels=2)
    samples[150_000, 1] = value
    refused(encode(samples, subtype="FLOAT"), "NaN, infinite")
    refused((samples.T, 16_000), "NaN, infinite")


def test_channels_and_rates_outside_the_limits_say_what_is_accepted():
    refused(encode(noise(1_000, channels=9)), "9 channels", "1 to 8")
    refused(encode(noise(1_000), 3_999), "3999 Hz", "4000 to 192000")
    refused(encode(noise(1_000), 192_001), "192001 Hz", "4000 to 192000")
    refused((noise(1_000), 16_000), "1000 channels")  # [T, 1] for [1, T]
    refused(patch(encode(noise(1_000)), b"fmt ", 12, bytes(4)), "the given bytes")  # a rate of 0
    with pytest.raises(InputError, match="9 channels"):
        audio.info(encode(noise(1_000, channels=9)))


@pytest.mark.parametrize("n_frames", [2**36 - 1, 2_000_000_000])
def test_flac_that_claims_hours_is_refused_at_its_header(n_frames):
    forged = claim_frames(encode(noise(16_000), format="FLAC"), n_frames)
    refused(forged, "claims", "hours")
    with pytest.raises(InputError, match="hours"):
        audio.info(forged)


@pytest.mark.parametrize("n_frames", [100_001, 150_000])
def test_flac_that_claims_more_than_there_is(n_frames):
    forged = claim_frames(encode(noise(100_000), format="FLAC"), n_frames)
    refused(forged, "truncated;")  # it may well be forged, but only what is uncompressed shows that
    with pytest.raises(InputError, match="truncated;"):
        audio.load(forged, start_seconds=6.2, seconds=1.0)


def test_flac_of_unknown_length_is_decoded_to_its_end():
    data = encode(noise(150_000), format="FLAC")
    streamed = claim_frames(data, 0)
    assert audio.info(streamed).seconds is None
    assert torch.equal(audio.load(streamed), audio.load(data))
    assert torch.equal(audio.load(streamed, start_seconds=2.0, seconds=1.0), audio.load(data)[32_000:48_000])
    assert len(audio.load_clip(streamed, n_samples=20_000, rng=np.random.default_rng(0))) == 20_000


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(("format", "subtype"), [("FLAC", "PCM_16"), ("WAV", "PCM_16"), ("AIFF", "PCM_16")])
def test_truncated_file(format, subtype, share):
    data = encode(noise(100_000), 16_000, format, subtype)
    refused(data[: int(len(data) * share)], "the given bytes", "truncated")


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFF0])
def test_wav_written_to_a_pipe_has_no_length_and_is_read(size):
    data = encode(noise(20_000))
    streamed = patch(data, b"data", 4, size.to_bytes(4, "little"))
    assert torch.equal(audio.load(streamed), audio.load(data))


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}])
def test_truncated_m4a_is_an_error_and_no_crash(share, options, tmp_path):
    data = media(tmp_path, "ipod", "aac", 16_000, **options)
    assert len(audio.load(data)) >= 16_000
    refused(data[: int(len(data) * share)], "truncated")


def test_without_pyav_the_extra_is_named(monkeypatch, tmp_path):
    data = media(tmp_path, "ipod", "aac", 16_000)
    monkeypatch.setitem(sys.modules, "av", None)
    refused(data, 'pip install "deepfake[media]"')


def test_longer_than_the_limit_is_stopped_while_decoding(monkeypatch):
    monkeypatch.setattr(mono, "MAX_SECONDS", 5.0)
    refused(claim_frames(encode(noise(10 * 16_000), format="FLAC"), 0), "longer than")  # a header that says nothing
    refused(encode(noise(10 * 16_000), format="FLAC"), "hours")  # one that says it


SMALL_MEMORY = """
import resource, sys
from deepfake.audio import mono, waveform as audio
from deepfake.errors import InputError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 64 * 2**20,) * 2)
for path, limit, start in (job.split("|") for job in sys.argv[1:]):
    mono.MAX_SECONDS = float(limit)
    try:
        print("made", len(audio.load(path, seconds=1.0, start_seconds=float(start))))
    except InputError as error:
        print("refused", error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to know the memory in use")
def test_memory_is_bounded_by_what_is_returned(tmp_path):
    """64 MiB suffice for a FLAC that claims 2^36 samples (256 GiB), and for a second out of 91 MB of audio."""
    forged, long = tmp_path / "forged.flac", tmp_path / "long.flac"
    forged.write_bytes(claim_frames(encode(noise(16_000), format="FLAC"), 2**36 - 1))
    with sf.SoundFile(long, "w", 48_000, 8) as file:
        for _ in range(60):
            file.write(np.zeros((48_000, 8), dtype=np.int16))

    long.write_bytes(claim_frames(long.read_bytes(), 0))  # of unknown length: no seeking
    jobs = [f"{forged}|7200|0", f"{forged}|1e9|30", f"{long}|7200|58"]  # the second gets past the header's refusal
    command = [sys.executable, "-c", SMALL_MEMORY, *jobs]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "claims" in lines[0]
    assert "truncated;" in lines[1]
    assert lines[2] == "made 16000"
