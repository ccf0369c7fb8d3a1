"""The check: who matches, at which threshold, and what is refused at enrolment."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake.errors import InputError
from deepfake.speakers import check as module
from deepfake.speakers.check import CALIBRATION, THRESHOLD, check, enrolled
from deepfake.speakers.embedding import Voice
from deepfake.speakers.profiles import Profile


@pytest.fixture(autouse=True)
def angles(monkeypatch):
    """A recording is an angle in degrees, and its embedding lies there on a circle."""

    def at(degrees):
        radians = np.deg2rad(degrees)
        return Voice(np.array([np.cos(radians), np.sin(radians)], dtype=np.float32), 2.0)

    monkeypatch.setattr(module, "voice", at)


def profile(name, degrees):
    return Profile.new(name, module.voice(degrees).embedding, n_samples=3, speech_seconds=6.0)


def test_the_nearest_speaker_is_named_if_near_enough():
    known = [profile("Ann", 0), profile("Bob", 90)]
    found = check(30, known)
    assert found.words == "matches Ann" and found.score == pytest.approx(np.sqrt(3) / 2)
    assert found.scores == pytest.approx({"Ann": np.sqrt(3) / 2, "Bob": 0.5}) and found.speech_seconds == 2.0
    assert (found.threshold, found.threshold_source) == (0.7206, "EER of 15 LibriSpeech speakers")
    assert check(45, known).words == "unknown speaker or a clone"  # 0.7071
    assert check(45, known, threshold=0.7).matches and check(30, known, threshold=0.9).words == module.UNKNOWN
    assert check(45, known, threshold=0.7).threshold_source == "given"
    assert not check(60, known[:1], threshold=0.5 + 1e-6).matches


def test_the_likelihood_ratio_is_that_of_the_trials_and_bounded_by_them():
    ann = [profile("Ann", 0)]
    at_threshold = np.rad2deg(np.arccos(THRESHOLD))
    assert check(at_threshold, ann).llr == pytest.approx(60.2085 * 0.7206 - 42.6807, abs=1e-4)
    assert (check(0, ann).llr, check(90, ann).llr) == (6.6893, -3.2041)
    assert CALIBRATION.high < np.log(1160 + 1) and -CALIBRATION.low < np.log(25 + 1)


def test_a_profile_is_the_mean_of_the_samples():
    made, unlike = enrolled("Ann", [0, 10, 20])
    np.testing.assert_allclose(made.embedding, module.voice(10).embedding, atol=1e-6)
    assert (made.name, made.n_samples, made.speech_seconds, unlike) == ("Ann", 3, 6.0, [])


def test_a_sample_unlike_the_others_is_named():
    _, unlike = enrolled("Ann", [0, 10, 20, 80])
    assert unlike == ["80 is unlike the other samples (cosine 0.34): is it Ann?"]


@pytest.mark.parametrize(
    ("samples", "message"),
    [([0, 10], "2 samples of Ann: 3 to 5 were expected"), ([0, 10, 0], "0: the same recording is given twice")],
)
def test_too_few_samples_are_refused(samples, message):
    with pytest.raises(InputError, match=message):
        enrolled("Ann", samples)


def test_nothing_to_compare_with_and_a_threshold_out_of_range():
    with pytest.raises(InputError, match="nobody is enrolled"):
        check(0, [])
    with pytest.raises(InputError, match=r"threshold=75.0: a cosine between 0 and 1 was expected"):
        check(0, [profile("Ann", 0)], threshold=75.0)
