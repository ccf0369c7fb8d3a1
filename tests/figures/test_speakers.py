"""The figure of false alarms by speaker."""

from __future__ import annotations

import pytest

from deepfake.errors import InputError
from deepfake.figures.speakers import Rejected, rejected_by_speaker

WORST = {"20": Rejected(10, 0.5, [0.2, 0.8]), "30": Rejected(4, 0.25, [0.0, 0.8])}
BEST = {"40": Rejected(1000, 0.0, None)}


def test_points_intervals_and_names():
    figure = rejected_by_speaker(WORST, BEST, n_speakers=9, overall=0.1)
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["20 (10)", "30 (4)", "40 (1,000)"]
    drawn = [(list(line.get_xdata()), line.get_marker()) for line in axes.lines]
    bars = [x for x, marker in drawn if marker == "None" and len(x) == 2]
    assert [0.2, 0.8] in bars and [0.0, 0.8] in bars and [0.1, 0.1] in bars
    assert [(x[0], marker) for x, marker in drawn if len(x) == 1] == [(0.5, "s"), (0.25, "s"), (0.0, "o")]
    assert axes.get_title() == "False alarms by speaker: the 2 worst and the 1 best of 9"
    assert figure.legends[0].get_texts()[0].get_text() == "all speakers 10.00%"


def test_few_speakers_are_all_drawn_alike():
    (axes,) = rejected_by_speaker(WORST, {}, n_speakers=2, overall=0.1).axes
    assert axes.get_title() == "False alarms by speaker: all 2"
    assert [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1] == ["o", "o"]
    with pytest.raises(InputError, match="no speaker"):
        rejected_by_speaker({}, {}, n_speakers=0, overall=0.1)
