"""What the figures show: the curve's points, the marks and the words, read back from the matplotlib objects."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm

from deepfake.errors import InputError
from deepfake.figures import style as figures
from deepfake.metrics.eer import eer
from deepfake.metrics.eer import roc as roc_points

RNG = np.random.default_rng(0)
LABELS = np.arange(600) < 200
SCORES = RNG.normal(size=600) + 2 * LABELS
TIED = np.round(SCORES)


def drawn(figure):
    """That it can be drawn, and its one pair of axes."""
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file)
    assert file.getvalue().startswith(b"\x89PNG")
    (axes,) = figure.axes
    return axes


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


@pytest.mark.parametrize("scores", [SCORES, TIED])
def test_det(scores):
    axes = drawn(figures.det(scores, LABELS))
    rate, _ = eer(scores, LABELS)
    curve, mark = lines(axes)["detector"], lines(axes)[f"EER {rate:.2%}"]
    np.testing.assert_allclose(mark, [[norm.ppf(rate)] * 2], atol=1e-9)
    assert np.min(np.abs(curve - mark).max(axis=1)) < 1e-6  # the mark lies on the curve
    far, frr, _ = roc_points(scores, LABELS)
    for point in norm.ppf(np.clip([far, frr], 1e-7, 1 - 1e-7)).T:
        assert np.min(np.abs(curve - point).max(axis=1)) < 1e-6  # and so does every point of the ROC
    assert "false alarms" in axes.get_xlabel() and "misses" in axes.get_ylabel()
    ticks = {label.get_text(): at for label, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)}
    assert ticks["10"] == pytest.approx(norm.ppf(0.1))
    low, high = axes.get_xlim()
    assert low < norm.ppf(rate) < high


@pytest.mark.parametrize("scores", [LABELS * 1.0, -SCORES, SCORES * 0])
def test_det_at_the_extremes(scores):
    axes = drawn(figures.det(scores, LABELS))
    rate, _ = eer(scores, LABELS)
    assert any("no errors" in text.get_text() for text in axes.texts) == (rate == 0)
    if rate:
        assert axes.get_xlim()[0] < norm.ppf(rate) < axes.get_xlim()[1]


def test_roc():
    axes = drawn(figures.roc(SCORES, LABELS))
    far, frr, _ = roc_points(SCORES, LABELS)
    (curve,) = [xy for label, xy in lines(axes).items() if label.startswith("detector, AUC 0.9")]
    np.testing.assert_allclose(curve, np.stack([far, 1 - frr], axis=1))


@pytest.mark.parametrize("draw", [figures.det, figures.roc])
def test_the_interval_stands_beside_the_eer(draw):
    figure = draw(SCORES, LABELS, interval=(0.1, 0.25))
    drawn(figure)
    (words,) = [text.get_text() for text in figure.legends[0].get_texts() if "EER" in text.get_text()]
    assert words == f"EER {eer(SCORES, LABELS)[0]:.2%}\n(between 10.00% and 25.00%)"


@pytest.mark.parametrize("draw", [figures.det, figures.roc])
def test_a_long_curve_is_thinned(draw):
    labels = np.arange(50_000) < 5000
    axes = drawn(draw(RNG.normal(size=50_000) + 2 * labels, labels))
    assert 500 < max(map(len, lines(axes).values())) < 4 * figures.CELLS


def test_histogram():
    figure = figures.histogram(SCORES, LABELS, threshold=1.25)
    axes = drawn(figure)
    outlines = {patch.get_label(): patch.get_data() for patch in axes.patches if not patch.get_fill()}
    assert set(outlines) == {"spoof (400)", "bona fide (200)"}
    for data in outlines.values():
        assert data.values.sum() == pytest.approx(1)  # shares of the class
    centre = {name: np.average(data.edges[1:], weights=data.values) for name, data in outlines.items()}
    assert centre["bona fide (200)"] > centre["spoof (400)"] + 1
    np.testing.assert_allclose(lines(axes)["threshold 1.25"][:, 0], 1.25)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {*outlines, "threshold 1.25"}


def test_histogram_of_one_class_and_of_equal_scores():
    axes = drawn(figures.histogram([1.0, 1.0], [0, 0]))
    assert [patch.get_label() for patch in axes.patches if not patch.get_fill()] == ["spoof (2)"]


def test_by_attack():
    axes = drawn(figures.by_attack({"A07": 0.1, "A$x$08": 0.0, "A09": 0.25}, overall=0.12))
    assert [bar.get_width() for bar in axes.patches] == [0.1, 0.0, 0.25]
    assert [text.get_text() for text in axes.texts] == ["10.00", "0.00", "25.00"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A07", r"A\$x\$08", "A09"]
    top, bottom = axes.transData.transform([(0, 0), (0, 2)])
    assert top[1] > bottom[1]  # the first one stands on top


def test_by_attack_of_very_many_shows_the_hardest():
    many = {f"a{i:03}": i / 1000 for i in range(200)}
    axes = drawn(figures.by_attack(many))
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"a{i:03}" for i in range(120, 200)]
    assert "hardest of 200" in axes.get_title()


def test_nothing_global_is_touched():
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    for figure in (figures.det(SCORES, LABELS), figures.by_attack({"A07": 0.1})):
        drawn(figure)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_bad_input():
    for draw in (figures.det, figures.roc):
        with pytest.raises(InputError, match="0 bona fide"):
            draw([1.0, 2.0], [0, 0])
    with pytest.raises(InputError, match="NaN"):
        figures.histogram([1.0, np.nan], [0, 1])
    with pytest.raises(InputError, match="no attack"):
        figures.by_attack({})


def test_axes_of_roc_and_det_say_what_runs_along_them():
    """Three bona fide and two spoof; one spoof is accepted before a bona fide one."""
    scores, labels = [5.0, 4.0, 2.0, 3.0, 1.0], [1, 1, 1, 0, 0]
    axes = drawn(figures.roc(scores, labels))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("spoof accepted (%)", "bona fide accepted (%)")
    assert axes.get_xlim() == axes.get_ylim() == (-0.01, 1.01)
    (curve,) = [xy for label, xy in lines(axes).items() if label == "detector, AUC 0.8333"]
    corners = [[0, 0], [0, 1 / 3], [0, 2 / 3], [0.5, 2 / 3], [0.5, 1], [1, 1]]
    np.testing.assert_allclose(curve[np.lexsort(curve.T[::-1])], corners)
    np.testing.assert_allclose(lines(axes)["EER 33.33%"], [[1 / 3, 2 / 3]])
    assert [axis.get_major_formatter()(0.25) for axis in (axes.xaxis, axes.yaxis)] == ["25", "25"]

    axes = drawn(figures.det(scores, labels))
    names = ("false alarms: spoof accepted (%)", "misses: bona fide rejected (%)")
    assert (axes.get_xlabel(), axes.get_ylabel()) == names
    curve = lines(axes)["detector"]
    corner = norm.ppf([1 / 2, 1 / 3])  # one of two spoofs accepted, one of three bona fide rejected
    assert np.min(np.abs(curve - corner).max(axis=1)) < 1e-6
    assert np.min(np.abs(curve - corner[::-1]).max(axis=1)) > 0.1
    for read, place in (
        (axes.get_xticklabels(), axes.get_xticks()),
        (axes.get_yticklabels(), axes.get_yticks()),
    ):
        written = [float(label.get_text()) / 100 for label in read]
        assert written and norm.ppf(written) == pytest.approx(place)


def test_histogram_and_bars_say_what_runs_along_them_and_which_class_is_which():
    figure = figures.histogram([3.0, 4.0, 5.0, 0.0, 1.0], [1, 1, 1, 0, 0], threshold=2.0)
    axes = drawn(figure)
    assert axes.get_xlabel() == "score (larger = more bona fide)"
    assert axes.get_ylabel() == "share of the class per bin (%)"
    outlines = {patch.get_label(): patch for patch in axes.patches if not patch.get_fill()}
    colours = {name: mpl.colors.to_hex(patch.get_edgecolor()).lower() for name, patch in outlines.items()}
    assert colours == {"bona fide (3)": "#0072b2", "spoof (2)": "#d55e00"}
    for name, (least, most) in {"bona fide (3)": (3.0, 5.0), "spoof (2)": (0.0, 1.0)}.items():
        data = outlines[name].get_data()
        filled = np.flatnonzero(data.values)
        assert data.edges[filled[0]] <= least <= data.edges[filled[0] + 1]
        assert data.edges[filled[-1]] <= most <= data.edges[filled[-1] + 1]
    bars = drawn(figures.by_attack({"A07": 0.1}, overall=0.12))
    assert bars.get_xlabel() == "EER (%)" and bars.xaxis.get_major_formatter()(0.1) == "10.0"
    assert lines(bars)["all attacks 12.00%"][:, 0].tolist() == [0.12, 0.12]
