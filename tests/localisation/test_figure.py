"""The figure of a timeline, read back from the matplotlib objects."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle, StepPatch

from deepfake.localisation.figure import COLOURS, MOST_FRAMES, timeline_figure
from deepfake.localisation.scan import Scan
from deepfake.localisation.segments import Segment, Threshold, Timeline

EDGES = np.arange(11) / 10
P = np.array([0.1, 0.3, 0.31, 0.5, 0.51, 0.9, 1.0, 0.2, 0.0, 0.4])
FOUND = [Segment(0.2, 0.7, 0.6, 1.0), Segment(0.9, 1.0, 0.4, 0.4)]


def drawn(edges=EDGES, p=P, segments=FOUND, threshold=0.3, duration=1.0, resolution=0.25):
    none = np.zeros(0)
    scan = Scan(none, none, none, none, duration, window=resolution, hop=resolution)
    found = Timeline("a test", scan, np.array(edges), np.array(p), Threshold(threshold, "a test"), segments)
    figure = timeline_figure(found)
    file = io.BytesIO()
    figure.savefig(file)
    assert file.getvalue().startswith(b"\x89PNG")
    (axes,) = figure.axes
    return figure, axes


def curve_of(axes):
    (stairs,) = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    return stairs.get_data()


def words_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def strip_of(axes):
    return [round(v) for v in np.ravel(axes.collections[0].get_array())]


def line(axes, label):
    (found,) = [line for line in axes.get_lines() if line.get_label() == label]
    return found


def test_curve_threshold_spans_and_resolution():
    figure, axes = drawn()
    np.testing.assert_array_equal(curve_of(axes).values, P)
    np.testing.assert_array_equal(curve_of(axes).edges, EDGES)
    assert set(line(axes, "threshold 0.3").get_ydata()) == {0.3}
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [(b.get_x(), b.get_x() + b.get_width(), b.get_hatch()) for b in boxes] == [
        (0.2, 0.7, "///"),
        (0.9, 1.0, "///"),
    ]
    assert list(line(axes, "_resolution").get_xdata()) == [0, 0.25]
    assert "effective resolution 0.25 s" in axes.texts[0].get_text()
    assert axes.get_xlim() == (0, 1)
    assert axes.get_xlabel() == "time (s)"
    assert words_of(figure) == ["flagged (2)", "p_fake", "threshold 0.3", "≤ 0.3", "0.3 to 0.5", "> 0.5"]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.3, [0, 0, 1, 1, 2, 2, 2, 0, 0, 1]),
        (0.5, [0, 0, 0, 0, 2, 2, 2, 0, 0, 0]),
        (0.9, [0, 0, 0, 0, 1, 1, 2, 0, 0, 0]),
    ],
)
def test_the_strip_is_green_light_or_red_by_score(threshold, expected):
    figure, axes = drawn(threshold=threshold)
    assert strip_of(axes) == expected
    assert len(words_of(figure)) == (5 if threshold == 0.5 else 6)  # no light between equal limits


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_the_three_colours_differ_without_hue():
    dark, red, light = sorted(luminance(colour) for colour in COLOURS)
    assert (red + 0.05) / (dark + 0.05) > 2
    assert (light + 0.05) / (red + 0.05) > 3


@pytest.mark.parametrize(("duration", "last"), [(121.0, "2:00"), (3600.0, "60:00"), (7200.0, "120:00")])
def test_long_recordings_count_minutes_and_are_drawn_quickly(duration, last):
    n = int(duration * 10)
    p = np.zeros(n)
    p[n // 2] = 0.9
    _, axes = drawn(np.arange(n + 1) / 10, p, [], duration=duration, resolution=5.0)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    ticks = dict(zip(axes.get_xticks(), labels, strict=True))
    assert axes.get_xlabel() == "time (min:s)"
    assert last in labels and ticks[0] == "0:00"
    assert sum(0 <= t <= duration for t in ticks) <= 11
    assert len(curve_of(axes).values) <= MOST_FRAMES
    assert curve_of(axes).values.max() == 0.9  # one flagged frame is still visible
    assert curve_of(axes).edges[-1] == n / 10


def test_one_frame_with_nothing_flagged_and_a_resolution_beyond_the_end():
    figure, axes = drawn([0, 0.05], [0.1], [], duration=0.05, resolution=4.0)
    assert list(line(axes, "_resolution").get_xdata()) == [0, 0.05]
    assert "effective resolution 4 s" in axes.texts[0].get_text()
    assert not any("flagged" in word for word in words_of(figure))
