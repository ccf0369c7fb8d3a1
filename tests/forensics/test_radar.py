"""Shares of the evidence, on maps whose shares are known."""

import numpy as np
import pytest

from deepfake.explain.map import Map
from deepfake.forensics.radar import cues_of

HZ = np.array([0.0, 500.0, 1500.0, 4000.0, 8000.0])
SECONDS = np.linspace(0, 1, 21)
LEVELS = np.full((4, 20), -80.0)
LEVELS[:, :5] = 0  # speech is the first quarter


def cues(values, seconds=SECONDS):
    return cues_of(Map("m", values, HZ, seconds, {}), LEVELS, HZ, SECONDS)


def test_an_even_map():
    found = cues(np.ones((4, 20)))
    assert found == pytest.approx(
        {
            "below 1 kHz": 1.5 / 4,  # the second band lies half in it
            "1 to 4 kHz": 1.5 / 4,
            "above 4 kHz": 1 / 4,
            "in speech": 5 / 20,
            "in pauses": 15 / 20,
            "strongest tenth\nof the time": 2 / 20,
        }
    )


def test_only_evidence_for_spoof_counts():
    values = np.full((4, 20), -5.0)
    values[3, 19], values[0, 0] = 3, 1
    assert cues(values) == pytest.approx(
        {
            "below 1 kHz": 0.25,
            "1 to 4 kHz": 0,
            "above 4 kHz": 0.75,
            "in speech": 0.25,
            "in pauses": 0.75,
            "strongest tenth\nof the time": 1,
        }
    )


def test_another_grid():
    values = np.zeros((4, 2))
    values[1] = 1, 3
    found = cues(values, seconds=np.array([0.0, 0.4, 1.0]))
    assert found["in speech"] == pytest.approx(0.25) and found["in pauses"] == pytest.approx(0.75)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [np.zeros((4, 20)), np.full((4, 20), -1.0)])
def test_without_evidence_for_spoof_there_is_no_share(values):
    assert set(cues(values).values()) == {None}
