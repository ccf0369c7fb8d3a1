"""What the comparing figures show, read back from the matplotlib objects."""

import io

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_curve

from deepfake.errors import InputError
from deepfake.figures import comparison as figures_comparison
from deepfake.metrics.eer import eer

RNG = np.random.default_rng(0)
LABELS = np.arange(600) < 200
SYSTEMS = {name: (RNG.normal(size=600) + shift * LABELS, LABELS) for name, shift in (("A$1$", 1.0), ("B", 3.0))}


def drawn(figure):
    """That it can be drawn and no legend covers anything; its one pair of axes, and the words in the legend."""
    file = io.BytesIO()
    figure.savefig(file, dpi=40)
    assert file.tell() > 1000
    (axes,) = figure.axes
    assert all(legend.get_window_extent().y1 <= axes.get_tightbbox().y0 + 2 for legend in figure.legends)
    return axes, [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_det_many():
    axes, words = drawn(figures_comparison.det_many(SYSTEMS))
    curves = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
    marks = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert len(curves) == len(marks) == 2
    for (scores, labels), curve, mark in zip(SYSTEMS.values(), curves, marks, strict=True):
        rate, _ = eer(scores, labels)
        np.testing.assert_allclose(mark.get_xydata(), [[norm.ppf(rate)] * 2])
        assert mark.get_label().endswith(f"EER {rate:.2%}")
        far, hits, _ = roc_curve(labels, scores)
        points = np.array(curve.get_xydata())
        for point in norm.ppf(np.clip([far, 1 - hits], 1e-7, 1 - 1e-7)).T:
            assert np.min(np.abs(points - point).max(axis=1)) < 1e-6
        low, high = axes.get_xlim()
        assert low < norm.ppf(rate) < high
    assert [word.split(":")[0] for word in words] == ["equal rates", r"A\$1\$", "B"]


def test_det_many_of_eight_tells_them_apart_without_colour():
    scores = RNG.normal(size=600) + LABELS
    systems = {f"outputs/train/aasist/2026-01-01/seed{i}/scores/eval.csv": (scores, LABELS) for i in range(8)}
    axes, words = drawn(figures_comparison.det_many(systems))
    marks = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert len({line.get_marker() for line in marks}) == 8
    assert len({str(line._dash_pattern) for line in marks}) == 8
    assert len({line.get_color() for line in marks}) == 8
    assert [word.split("/")[0] for word in words[1:]] == [f"…seed{i}" for i in range(8)]
    assert axes.get_tightbbox().y1 <= axes.figure.bbox.y1 + 1  # the long legend cuts no title off


@pytest.mark.filterwarnings("error")
def test_det_many_at_the_extremes():
    perfect, useless = (LABELS * 1.0, LABELS), (LABELS * 0.0, LABELS)
    _, words = drawn(figures_comparison.det_many({"perfect": perfect}))
    assert words[1] == "perfect: EER 0.00% (below these axes)"
    axes, _ = drawn(figures_comparison.det_many({"perfect": perfect, "useless": useless, "B": SYSTEMS["B"]}))
    assert axes.get_xlim()[1] > 0  # beyond 50 %
    drawn(figures_comparison.det_many({"tiny": ([1.0, 2.0, 0.5], [1, 0, 0])}))


def test_det_many_refuses():
    for n in (0, 9):
        with pytest.raises(InputError, match=f"got {n} systems"):
            figures_comparison.det_many({str(i): SYSTEMS["B"] for i in range(n)})
    with pytest.raises(InputError, match="both are needed"):
        figures_comparison.det_many({"one class": ([1.0, 2.0], [0, 0])})


def test_intervals():
    rows = {"duration": (0.31, 0.30, 0.325), "level$1$": (0.48, None, None), "DC": (0.5, float("nan"), float("nan"))}
    axes, words = drawn(figures_comparison.intervals(rows, unit="EER (%)", reference=("chance", 0.5)))
    (bars,) = axes.collections
    np.testing.assert_allclose(bars.get_segments(), [[[0.30, 0], [0.325, 0]]])
    (points,) = [line for line in axes.get_lines() if line.get_marker() == "o" and len(line.get_xdata())]
    np.testing.assert_allclose(points.get_xydata(), [[0.31, 0], [0.48, 1], [0.5, 2]])
    assert [text.get_text() for text in axes.texts] == ["31.00  [30.00, 32.50]", "48.00", "50.00"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["duration", r"level\$1\$", "DC"]
    assert words == ["value and interval", "chance 50.00%"]
    (line,) = [line for line in axes.get_lines() if line.get_label() == "chance 50.00%"]
    np.testing.assert_allclose(line.get_xdata(), 0.5)
    tops = axes.transData.transform([(0, 0), (0, 2)])[:, 1]
    assert tops[0] > tops[1] and axes.get_xlabel() == "EER (%)"


@pytest.mark.filterwarnings("error")
def test_intervals_of_another_unit_and_without_any():
    axes, words = drawn(figures_comparison.intervals({"a" * 200: (1.25, None, None)}, unit="Cllr (bits)"))
    assert words == ["value"] and [text.get_text() for text in axes.texts] == ["1.25"]
    assert len(axes.get_yticklabels()[0].get_text()) == 32
    drawn(figures_comparison.intervals({str(i): (i, i - 1, i + 1) for i in range(80)}, unit="min t-DCF"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({}, "got 0 values"),
        ({str(i): (0.1, None, None) for i in range(81)}, "got 81 values"),
        ({"a": (float("nan"), 0.1, 0.2)}, "value of 'a' is not a finite"),
        ({"a": (0.1, 0.2, 0.1)}, "interval of 'a'"),
        ({"a": (0.1, float("-inf"), 0.1)}, "interval of 'a'"),
    ],
)
def test_intervals_refuses(rows, words):
    with pytest.raises(InputError, match=words):
        figures_comparison.intervals(rows, unit="EER (%)")


def test_each_curve_of_a_det_plot_is_that_of_the_system_beside_its_mark_in_the_legend():
    figure = figures_comparison.det_many({"poor": SYSTEMS["A$1$"], "good": SYSTEMS["B"]}, classes=("target", "other"))
    axes, words = drawn(figure)
    rates = [eer(*SYSTEMS[name])[0] for name in ("A$1$", "B")]
    assert words[1:] == [f"poor: EER {rates[0]:.2%}", f"good: EER {rates[1]:.2%}"] and rates[0] > 2 * rates[1]
    for rate, entry in zip(rates, figure.legends[0].get_lines()[1:], strict=True):
        (mark,) = [x for x in axes.get_lines() if len(x.get_xdata()) == 1 and x.get_marker() == entry.get_marker()]
        (curve,) = [x for x in axes.get_lines() if len(x.get_xdata()) > 2 and x.get_color() == entry.get_color()]
        assert mark.get_xdata()[0] == pytest.approx(norm.ppf(rate))
        assert np.min(np.abs(curve.get_xydata() - norm.ppf(rate)).max(axis=1)) < 1e-6
    assert axes.get_xlabel() == "false alarms: other accepted (%)"
    assert axes.get_ylabel() == "misses: target rejected (%)"
