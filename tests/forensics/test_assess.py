"""An assessment against windows cut by hand: one pass, one score, whatever is asked for; long files, little memory."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_detector import RATE, LinearDetector, encode, noise
from small_detectors import small
from sounds import measure
from tiny import REPOSITORY

from deepfake.audio import info, load, mono
from deepfake.errors import InputError
from deepfake.forensics.assess import Scanning, assess
from deepfake.localisation.scan import scan


@pytest.fixture
def opens(monkeypatch):
    """What was opened for decoding, in order."""
    found, opened = [], mono.opened

    def counted(source):
        found.append(source)
        return opened(source)

    monkeypatch.setattr(mono, "opened", counted)
    return found


@settings(deadline=None, max_examples=40)
@given(n_samples=st.integers(80, 5_000), clip=st.sampled_from([0.1, 0.13, 0.25]))
def test_the_score_is_the_mean_over_whole_windows_of_which_the_last_ends_with_the_recording(n_samples, clip):
    detector, samples = LinearDetector(clip), noise(n_samples)
    found = assess(detector, (samples, RATE))
    n = round(clip * RATE)
    starts = [*range(0, n_samples - n, n // 2), n_samples - n] if n_samples > n else [0]
    expected = [np.resize(samples, n)] if n_samples <= n else [samples[i : i + n] for i in starts]
    np.testing.assert_array_equal(detector.clips, expected)
    assert list(found.scores) == [detector.score_of(clip) for clip in expected]
    assert found.score == pytest.approx(np.mean(found.scores), abs=1e-12)
    assert len(expected) > 1 or found.score == detector.score_of(expected[0])  # bit for bit, as clips are scored
    lowest = int(np.argmin(found.scores))
    assert found.clip.start == starts[lowest] and found.clip.score == found.scores[lowest]
    np.testing.assert_array_equal(found.clip.clip, samples[starts[lowest] :][:n])
    assert found.seconds == found.scored_seconds == n_samples / RATE


@pytest.mark.parametrize(("rate", "kind"), [(8_000, "WAV"), (16_000, "FLAC"), (44_100, "WAV"), (16_000, "MP3")])
def test_one_pass_gives_what_separate_ones_do(rate, kind, opens, tmp_path):
    path = tmp_path / "a.audio"
    subtype = "PCM_16" if kind != "MP3" else None
    path.write_bytes(encode(np.stack([noise(rate * 23), noise(rate * 23, 1)], 1), rate, format=kind, subtype=subtype))
    detector = LinearDetector(1.0)
    found = assess(detector, path, scanning=Scanning())
    assert len(opens) == 1
    samples, native = load(path, sample_rate=RATE), load(path, sample_rate=rate)
    assert found.samples_sha256 == hashlib.sha256(samples.numpy().astype("<f4").tobytes()).hexdigest()
    assert found.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.n_bytes == path.stat().st_size and found.header == info(path)
    assert found.seconds == len(samples) / RATE
    assert found.quality == measure(native.numpy(), rate)
    assert found.score == detector.score_file(path)


@pytest.mark.parametrize("kind", ["FLAC", "MP3", "OGG"])
def test_bytes_are_hashed_where_they_are_decoded_and_an_array_has_none(kind):
    data = encode(noise(30_000), format=kind, subtype=None)
    found = assess(LinearDetector(), data)
    assert (found.n_bytes, found.file_sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert found.samples_sha256 == hashlib.sha256(load(data, sample_rate=RATE).numpy().tobytes()).hexdigest()
    assert assess(LinearDetector(), (noise(3_000), RATE)).file_sha256 is None


@pytest.mark.parametrize("n_samples", [500, 800, 2_000, 2_400, 2_401])
def test_the_timeline_is_that_of_a_scan_and_takes_no_window_twice(n_samples, opens):
    detector, data = LinearDetector(0.1), encode(noise(n_samples))
    found = assess(detector, data, scanning=Scanning())
    n_scored = len(found.scores)
    mirrored = n_samples % 400 != 0 or n_samples < 800  # the scan goes on by hops, and completes the last window
    assert len(detector.clips) == n_scored + mirrored and len(opens) == 1
    expected = scan(LinearDetector(0.1), data)
    for name in ("starts", "scores", "spoof", "p_fake", "duration", "window", "hop", "kind"):
        np.testing.assert_array_equal(getattr(found.timeline.scan, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("model", ["cnn", "frame_cnn"])
def test_a_scan_of_its_own_is_made_in_the_same_pass(model, opens):
    detector = small(model, "mel")
    data = encode(noise(40_000), 16_000)
    for scanning in (Scanning(0.3, 0.75, 4), Scanning()):
        opens.clear()
        found = assess(detector, data, scanning=scanning)
        assert len(opens) == 1
        expected = scan(detector, data, seconds=scanning.seconds, overlap=scanning.overlap, batch_size=4)
        np.testing.assert_allclose(found.timeline.scan.scores, expected.scores, atol=1e-5)
        assert found.timeline.scan.kind == expected.kind == ("localisation" if model == "frame_cnn" else "trend")
        clips = [found.clip.clip, load(data)[:8000]]
        with torch.inference_mode():
            lowest, first = (detector(clip[None]).item() for clip in clips)
        assert found.clip.score == pytest.approx(lowest, abs=1e-6) == pytest.approx(min(found.scores), abs=1e-6)
        assert found.scores[0] == pytest.approx(first, abs=1e-6)


def test_the_first_clip_alone_is_scored_and_measured_and_damage_behind_it_is_noticed():
    samples = np.concatenate([noise(800), 0.001 * noise(4_000, 1)])
    found = assess(LinearDetector(), (samples, RATE), clips="first")
    assert (found.seconds, found.scored_seconds, len(found.scores)) == (0.6, 0.1, 1)
    assert found.score == LinearDetector().score_of(samples[:800])
    assert found.quality == measure(samples[:800], RATE)
    with pytest.raises(InputError, match="truncated or"):
        assess(LinearDetector(), encode(noise(80_000), subtype="PCM_16", format="FLAC")[:-4_000], clips="first")
    with pytest.raises(InputError, match="clips=last: whole or first was expected"):
        assess(LinearDetector(), (samples, RATE), clips="last")


def test_the_clip_that_is_asked_for_is_kept():
    samples = noise(2_000)
    found = assess(LinearDetector(), (samples, RATE), clip_start=0.15)
    assert found.clip.start == 1_200 and found.clip_start == 0.15
    np.testing.assert_array_equal(found.clip.clip, samples[1_200:2_000])
    with pytest.raises(InputError, match=r"no window of the detector begins at 0\.11 s"):
        assess(LinearDetector(), (samples, RATE), clip_start=0.11)


def test_windows_that_disagree_make_a_caution_whatever_the_scan():
    high, low = np.full(8_000, 0.1, np.float32), np.full(4_000, -0.1, np.float32)
    samples = np.concatenate([high, low, noise(16)])  # two thirds and one third
    names = [
        [r.name for r in assess(LinearDetector(), (samples, RATE), scanning=s).reasons] for s in (None, Scanning(0.5))
    ]
    assert "windows_disagree" in names[0] and names[0] == names[1]
    assert "windows_disagree" not in [r.name for r in assess(LinearDetector(), (samples, RATE), clips="first").reasons]


@pytest.mark.parametrize("detector", [LinearDetector(), LinearDetector(1.0)])
@pytest.mark.parametrize(
    "samples", [np.zeros(16_000), noise(80), np.full(16_000, 0.3), np.sin(np.arange(16_000)), np.ones(16_000)]
)
def test_what_holds_no_speech_is_inconclusive(samples, detector):
    for clips in ("whole", "first"):
        found = assess(detector, (samples.astype(np.float32), RATE), clips=clips)
        assert found.verdict == found.state == "inconclusive"
        assert "no_speech" in [reason.name for reason in found.reasons]


def test_what_was_done_to_the_samples_is_a_caution():
    speech = noise(24_000) * (np.arange(24_000) % 1_600 > 400) + 1e-3 * noise(24_000, 1)
    for samples, name in (([speech, -speech], "channels_cancel"), ([np.round(speech * 2**15)] * 2, "integer_range")):
        found = assess(LinearDetector(), (np.stack(samples), RATE))
        assert found.reasons[0].name == name
        assert found.state != "reported"


def test_a_window_that_repeats_the_one_before_is_scored_once():
    samples = np.concatenate([noise(800), np.zeros(4_000, np.float32), noise(800, 1)])
    detector, each = LinearDetector(), LinearDetector()
    found = assess(detector, (samples, RATE))
    expected = [each.score_of(samples[i : i + 800]) for i in range(0, 4_801, 400)]
    assert list(found.scores) == expected
    assert len(detector.clips) == 13 - 8  # of the 9 windows of silence, one


LONG = """
import resource, sys
sys.path[:0] = ["tests", "tests/forensics"]
from pathlib import Path
from linear_detector import LinearDetector
from deepfake.forensics.assess import assess
peaks = []
for path in sys.argv[1:]:
    assess(LinearDetector(5.0, forgets=True), Path(path))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print((peaks[1] - peaks[0]) / 2**10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts resident memory in kibibytes, as Linux does")
def test_many_channels_at_a_high_rate_take_little_memory(tmp_path):
    """Decoded, the three minutes are 1,055 MiB, and mixed 132 MiB."""
    for seconds in (1, 180):
        with soundfile.SoundFile(tmp_path / f"{seconds}.flac", "w", 192_000, 8) as file:
            for _ in range(seconds):
                file.write(np.zeros((192_000, 8), np.int16))
    command = [sys.executable, "-c", LONG, str(tmp_path / "1.flac"), str(tmp_path / "180.flac")]
    assert float(subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout) < 130


def test_a_score_that_is_not_finite_is_an_error_with_its_place(tmp_path):
    detector = LinearDetector()
    detector.score = lambda logits: logits[:, 0].masked_fill(logits[:, 0] > 20, math.nan)
    samples = noise(4_000)
    samples[1_700:2_000] = 1.0
    (tmp_path / "a.wav").write_bytes(encode(samples))
    with pytest.raises(InputError, match=r"a\.wav: the detector's score of the window from 0\.15 s on is not a finite"):
        assess(detector, tmp_path / "a.wav")


HOURS = """
import resource, sys
sys.path[:0] = ["tests", "tests/forensics"]
from pathlib import Path
from linear_detector import LinearDetector
from deepfake.forensics.assess import Scanning, assess
assess(LinearDetector(5.0, forgets=True), Path(sys.argv[1]), scanning=Scanning())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = assess(LinearDetector(5.0, forgets=True), Path(sys.argv[2]), scanning=Scanning())
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(found.seconds, len(found.scores), grown / 2**10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts resident memory in kibibytes, as Linux does")
def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path):
    """Decoded, the hour is 110 MiB at 8 kHz; 20 MiB more than for the minute are allowed."""
    for name, seconds in (("minutes", 60), ("hour", 3600)):
        with soundfile.SoundFile(tmp_path / f"{name}.flac", "w", RATE, 1) as file:
            for i in range(seconds):
                file.write(noise(RATE, seed=i % 7))
    command = [sys.executable, "-c", HOURS, str(tmp_path / "minutes.flac"), str(tmp_path / "hour.flac")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    seconds, n_windows, grown = map(float, done.stdout.split())
    assert (seconds, n_windows) == (3600, 1439)
    assert grown < 20
