"""A stream against the scan of the same audio as a file, however it is cut into blocks, and its memory."""

from __future__ import annotations

import gc
import math
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_detector import RATE, FrameStub, LinearDetector, encode, noise
from small_detectors import small

from deepfake import audio
from deepfake.errors import InputError
from deepfake.localisation.scan import scan


def cut(samples, sizes):
    """Blocks of the last axis, of these sizes again and again."""
    first, i = 0, 0
    while first < samples.shape[-1]:
        yield samples[..., first : first + sizes[i % len(sizes)]]
        first, i = first + sizes[i % len(sizes)], i + 1


def same(rows, found):
    columns = (found.starts, found.ends, found.scores, found.spoof, found.p_fake)
    for name, column in zip(("start", "end", "score", "spoof", "p_fake"), columns, strict=True):
        np.testing.assert_array_equal([getattr(row, name) for row in rows], column, err_msg=name)


@settings(deadline=None, max_examples=40)
@given(
    n_samples=st.integers(300, 9_000),
    rate=st.sampled_from([RATE, 16_000, 44_100, 4_000]),
    kind=st.sampled_from(["int16", "float32"]),
    channels=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 4_000), min_size=1, max_size=4),
    overlap=st.sampled_from([0.0, 0.5, 0.9]),
    frames=st.booleans(),
)
def test_rows_are_those_of_the_scan_however_the_blocks_are_cut(n_samples, rate, kind, channels, sizes, overlap, frames):
    n_samples = max(n_samples, round(0.01 * rate))
    samples = np.stack([noise(n_samples, seed) for seed in range(channels)])
    samples = (samples * 2**15).astype(np.int16) if kind == "int16" else samples
    whole = samples[0] if channels == 1 else samples
    detector = FrameStub(0.1) if frames else LinearDetector(0.1)
    rows = list(detector.stream(sample_rate=rate, hop=0.1 * (1 - overlap)).rows(cut(whole, sizes)))
    subtype = "PCM_16" if kind == "int16" else "FLOAT"
    same(rows, scan(detector, encode(samples.T, rate, subtype=subtype), overlap=overlap, batch_size=1))
    assert [row.mean for row in rows] == pytest.approx(
        np.cumsum([row.score for row in rows]) / np.arange(1, len(rows) + 1)
    )
    threshold = 0.25 if frames else 0.5
    assert [row.verdict for row in rows] == ["bonafide" if row.mean > threshold else "spoof" for row in rows]


def test_rows_of_a_network_are_those_of_the_scan_and_of_larger_batches():
    detector = small("cnn", "linear")
    samples = (noise(3 * 48_000, 5) * 2**15).astype(np.int16)
    rows = list(detector.stream(sample_rate=48_000, hop=0.2, seconds=0.4).rows(cut(samples, [480])))
    file = encode(samples, 48_000, subtype="PCM_16")
    same(rows, scan(detector, file, seconds=0.4, overlap=0.5, batch_size=1))
    many = scan(detector, file, seconds=0.4, overlap=0.5, batch_size=8)
    np.testing.assert_allclose([row.score for row in rows], many.scores, rtol=0, atol=1e-6)


def test_channels_that_cancel_and_floats_that_hold_integers_are_treated_as_in_a_file():
    one = np.round(noise(6 * RATE) * 2**15)
    for samples in (np.stack([one, -0.9 * one]) / 2**15, one[None]):
        samples = samples.astype(np.float32)
        detector = LinearDetector(0.5)
        rows = list(detector.stream().rows(cut(samples, [999])))
        same(rows, scan(detector, encode(samples.T), batch_size=1))
        assert max(abs(row.score) for row in rows) > 0.1


def test_a_row_comes_as_soon_as_its_window_and_one_more_sample_came():
    stream = LinearDetector(0.5).stream(hop=0.25)
    samples = (noise(RATE) * 2**15).astype(np.int16)
    assert stream.take(samples[:4_000]) == []
    assert [(row.start, row.end) for row in stream.take(samples[4_000:4_001])] == [(0.0, 0.5)]
    assert stream.take(samples[4_001:6_000]) == []
    assert [(row.start, row.end) for row in stream.take(samples[6_000:6_001])] == [(0.25, 0.75)]
    assert [(row.start, row.end) for row in stream.finish()] == [(0.5, 6_001 / RATE)]


@pytest.mark.parametrize(("rate", "seconds"), [(48_000, 0.04), (44_100, 0.041), (16_000, 0.116)])
def test_resampling_holds_no_more_back_than_is_said(rate, seconds):
    detector = LinearDetector(0.1) if rate == 16_000 else small("cnn", "linear")
    stream, n = detector.stream(sample_rate=rate, seconds=0.1), round((0.1 + seconds) * rate)
    assert stream.take((noise(n) * 2**15).astype(np.int16))


def test_the_first_row_of_floats_comes_after_five_seconds():
    stream = LinearDetector(0.5).stream()
    assert stream.take(noise(5 * RATE - 1)) == []
    assert len(stream.take(noise(1))) == 18  # windows before the one that reaches the end


def test_tensors_and_arrays_are_taken():
    samples = noise(RATE)
    rows = [list(LinearDetector(0.5).stream().rows([block])) for block in (samples, torch.from_numpy(samples))]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([], "the stream: no audio came; send at least 0.01 s"),
        ([np.zeros(0, np.int16)], "the stream: no audio came"),
        ([np.zeros(0, np.float32)], "the stream: no audio came"),
        ([np.zeros(79, np.int16)], "79 samples of audio, 0.01 s is needed"),
        ([np.full(5 * RATE, math.nan, np.float32)], "samples that are NaN, infinite"),
        ([np.zeros(800, np.int16), np.zeros(800, np.float32)], "1 channels of float32 came after .* of int16"),
        ([np.zeros(800, np.int16), np.zeros((2, 800), np.int16)], "2 channels of int16 came after a block of 1"),
        ([np.zeros((9, 800), np.int16)], "9 channels, 1 to 8 are accepted"),
        ([np.zeros((1, 2, 3), np.int16)], r"shape \[1, 2, 3\] of int16"),
        ([np.zeros(800, np.uint8)], "float or signed integer was expected"),
    ],
)
def test_what_cannot_be_used_is_named(blocks, words):
    with pytest.raises(InputError, match=words):
        list(LinearDetector().stream().rows(blocks))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hop": 0.0}, "hop=0.0: 0.001 to 0.1 s, the length of a window, was expected"),
        ({"hop": 0.2}, "hop=0.2"),
        ({"hop": math.nan}, "hop=nan"),
        ({"seconds": 0.0, "hop": 0.1}, "window.seconds=0.0"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(InputError, match=words):
        LinearDetector().stream(**settings)


def test_rates_are_those_of_files():
    with pytest.raises(InputError, match="2000 Hz, 4000 to 192000 are accepted"):
        LinearDetector().stream(sample_rate=2_000).take(np.zeros(800, np.int16))


def test_a_stream_that_has_ended_takes_no_more():
    stream = LinearDetector().stream()
    list(stream.rows([np.zeros(800, np.int16)]))
    for again in (stream.finish, lambda: stream.take(np.zeros(800, np.int16))):
        with pytest.raises(InputError, match="the stream has ended; begin another one"):
            again()


def held(thing):
    """Bytes of all that can be reached from an object, modules and classes left out."""
    seen, left, total = set(), [thing], 0
    while left:
        if id(one := left.pop()) in seen or isinstance(one, type | types.ModuleType | types.FunctionType):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one) + (one.nbytes if isinstance(one, torch.Tensor) else 0)
        left += gc.get_referents(one)
    return total


@pytest.mark.parametrize("kind", [LinearDetector, FrameStub])
def test_memory_does_not_grow_with_time(kind):
    stream = kind(0.5, forgets=True).stream(hop=0.05, sample_rate=16_000)
    block, sizes, n_rows = (noise(8_000) * 2**15).astype(np.int16), [], 0
    for _ in range(300):
        n_rows += len(stream.take(block))
        sizes.append(held(stream))
    assert n_rows > 2_900
    assert max(sizes[150:]) <= max(sizes[50:150]) + 1_000  # the scores alone of the second half are 12 kB and more


def test_two_hours_are_no_limit(monkeypatch):
    from deepfake.audio import mono

    monkeypatch.setattr(mono, "MAX_SECONDS", 0.5)
    samples = (noise(RATE) * 2**15).astype(np.int16)
    with pytest.raises(InputError, match="the header claims"):
        audio.load(encode(samples, subtype="PCM_16"), sample_rate=RATE)
    assert len(list(LinearDetector(0.5).stream().rows([samples]))) == 3
