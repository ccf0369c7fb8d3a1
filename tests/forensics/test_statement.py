"""Sentences against the scale's bounds, the calibration's caps, and words that must not be said."""

from __future__ import annotations

import json
import math
import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from deepfake.detector import Detector
from deepfake.explain.regions import Region
from deepfake.forensics.statement import LIMITS, SCALE, number, places, statement
from deepfake.metrics.calibration import Calibration

MOST = math.log(10001)


def detector(low=-MOST, high=MOST, calibrated=True, threshold=0.0):
    """One whose score is the natural-log likelihood ratio of bona fide."""
    stub = Detector.__new__(Detector)
    nn.Module.__init__(stub)
    stub.config = {"threshold": {"value": threshold, "source": "EER threshold of a test"}}
    if calibrated:
        stub.set_calibration(Calibration(1.0, 0.0, low, high, 10000, 10000), "some corpus, partition dev")
    return stub


def said(ratio, **keywords):
    """Of a likelihood ratio for spoof."""
    return statement(detector(**keywords), -math.log(ratio))


def numbers(sentence):
    return [float(n.replace(",", "")) for n in re.findall(r"about ([\d.,]+) times", sentence)]


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1, "no support either way"),
        (1.99, "no support either way"),
        (2.01, "weak support"),
        (9.99, "weak support"),
        (10, "moderate support"),
        (10.01, "moderate support"),
        (99.9, "moderate support"),
        (100.1, "moderately strong support"),
        (999, "moderately strong support"),
        (1001, "strong support"),
        (9999, "strong support"),
        (10001, "very strong support"),
    ],
)
def test_a_bound_belongs_to_the_stronger_words_either_way_round(ratio, words):
    for value, side in ((ratio, "spoof"), (1 / ratio, "bonafide")):
        found = said(value)
        assert found.strength == words
        assert found.supports == (None if words == SCALE.words[0] else side)
    assert SCALE.word(6.0) == SCALE.word(-9.0) == "extremely strong support"


def test_both_hypotheses_are_named_and_turn_over():
    spoof, human = said(40).sentence, said(1 / 25).sentence
    assert spoof.startswith("This score is about 40 times more probable if the speech was machine-generated")
    assert "than if it is human speech" in spoof and "moderate support for machine-generated" in spoof
    assert human.startswith("This score is about 25 times more probable if this is human speech")
    assert "than if it was machine-generated" in human and "moderate support for human" in human
    for sentence in (spoof, human, said(1.5).sentence):
        assert "some corpus, partition dev; 10,000 bona fide, 10,000 spoofed" in sentence
    assert "another corpus" in statement(detector(), 5.0, source="another corpus").sentence


@pytest.mark.parametrize("ratio", [1.0, 1.9, 1 / 1.9])
def test_between_a_half_and_two_it_does_not_help(ratio):
    found = said(ratio)
    assert "does not help to distinguish" in found.sentence and not numbers(found.sentence)
    assert found.supports is None


def test_a_capped_ratio_says_so():
    capped = said(10**6, low=-math.log(51)).sentence
    assert numbers(capped) == [51] and "beyond what so many trials can vouch for" in capped
    assert "51 for machine-generated speech" in capped
    assert "vouch" not in said(50, low=-math.log(51)).sentence
    assert "does not help" in said(10**6, low=0.0).sentence


@given(
    st.floats(-60, 60),
    st.floats(0, 20),
    st.floats(0, 20),
)
def test_no_number_is_beyond_the_cap_or_the_ratio(llr, low, high):
    found = statement(detector(low=-low, high=high), llr)
    cap = math.exp(high if llr > 0 else low)
    for value in numbers(found.sentence):
        assert 2 <= value <= min(cap, math.exp(abs(llr))) * (1 + 1e-6)
        assert value >= 0.9 * min(cap, math.exp(abs(llr)))
    assert ("does not help" in found.sentence) == (not numbers(found.sentence))
    assert not re.search(r"authentic|proven|genuine", found.sentence + found.graded)


@given(st.floats(0, 12))
def test_numbers_have_two_digits_and_are_never_rounded_up(log10):
    text = number(log10)
    value = float(text.replace(",", ""))
    assert value <= 10**log10 * (1 + 1e-6) and value > 10**log10 * 0.9
    assert len(text.replace(",", "").replace(".", "").rstrip("0")) <= 2
    assert number(-log10) == text


def test_without_calibration_there_is_no_ratio():
    found = statement(detector(calibrated=False, threshold=-0.3), 0.7)
    assert "not calibrated" in found.sentence and "relative to the threshold -0.3" in found.sentence
    assert "1 above" in found.sentence and "side of human speech" in found.sentence
    assert "times" not in found.sentence and found.strength is None
    assert "uncalibrated" in found.graded
    assert "side of machine-generated" in statement(detector(calibrated=False), -1.0).sentence
    assert detector(calibrated=False).llr(1.0) is None


@pytest.mark.parametrize(
    ("p_fake", "grade"),
    [(0.79, "moderate"), (0.81, "high"), (0.19, "high"), (0.61, "moderate"), (0.59, "low"), (0.5, "low")],
)
def test_grades_of_confidence(p_fake, grade):
    found = statement(detector(), -math.log(p_fake / (1 - p_fake)))
    assert found.grade == grade and found.confidence == pytest.approx(max(p_fake, 1 - p_fake))
    assert f"Confidence: {grade}" in found.graded


def test_obstacles_stand_in_place_of_a_finding():
    found = statement(detector(), -9.0, obstacles=["There is no speech in it."])
    assert found.sentence.startswith("Inconclusive") and "There is no speech in it." in found.sentence
    assert not numbers(found.sentence) and found.strength is None and found.grade == "low"


def test_places_name_the_strongest_first_and_count_the_rest():
    many = [Region(i, i + 0.5, 100.0, 2000.0, strength=float(i)) for i in range(8)]
    sentence = places(many, 0.4, "occlusion")
    assert sentence.index("7.00 to 7.50 s (0.1 to 2.0 kHz)") < sentence.index("6.00") and "and 3 more" in sentence
    assert "40%" in sentence and "0.00 to" not in sentence
    assert "no part" in places([], 0.0, "occlusion")


def test_the_scale_is_whole_and_packaged():
    rows = SCALE.rows()
    assert [row["to"] for row in rows[:-1]] == [row["from"] for row in rows[1:]] and rows[-1]["to"] is None
    assert rows[2] == {"from": 10, "to": 100, "range": "10 to 100", "words": "moderate support"}
    content = json.loads((files("deepfake.forensics") / "verbal_scale.json").read_text(encoding="utf-8"))
    assert content.keys() == set(SCALE._fields) and content["source"]
    assert not re.search(r"authentic|proven", " ".join([*LIMITS, *SCALE.words]))
