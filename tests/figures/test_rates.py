"""What the figures of rates show, read back from the matplotlib objects and computed in another way."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from sklearn import metrics as sk

from deepfake.errors import InputError
from deepfake.figures import rates as figures_rates
from deepfake.figures import style as figures
from deepfake.metrics.tdcf import min_tdcf_of

RNG = np.random.default_rng(0)
LABELS = np.arange(600) < 200
SCORES = RNG.normal(size=600) + 2 * LABELS
TIED = np.round(SCORES)
ATTACKS = ["-" if bonafide else f"A{7 + i % 4:02}" for i, bonafide in enumerate(LABELS)]
WEIGHTS = {"legacy": (0.0, 0.93, 0.38), "revised": (0.03, 0.91, 0.38)}
FIGURES = {
    "precision_recall": figures_rates.precision_recall,
    "rates_by_threshold": lambda s, y: figures_rates.rates_by_threshold(s, y, threshold=0.5),
    "confusion": lambda s, y: figures_rates.confusion(s, y, 0.5),
    "histogram_by_attack": lambda s, y: figures_rates.histogram_by_attack(s, y, ["a"] * len(s), threshold=0.5),
    "tdcf_curve": lambda s, y: figures_rates.tdcf_curve(s, y, WEIGHTS, threshold=0.5),
}
NEED_BOTH = ("precision_recall", "rates_by_threshold", "tdcf_curve")


def drawn(figure):
    """That it can be drawn; the axes of the data, and the words in the legend."""
    file = io.BytesIO()
    figure.savefig(file, dpi=40)
    assert file.tell() > 1000
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return figure.axes[0], words


def lines(axes):
    return {line.get_label(): np.array(line.get_xydata()) for line in axes.get_lines()}


def at(points, x):
    """Value of a step curve that holds from each point to the next."""
    return points[np.searchsorted(points[:, 0], x, side="right") - 1, 1]


@pytest.mark.parametrize("scores", [SCORES, TIED])
def test_precision_recall(scores):
    axes, words = drawn(figures_rates.precision_recall(scores, LABELS))
    average = sk.average_precision_score(LABELS, scores)
    points = lines(axes)[f"average precision {average:.4f}"]
    precision, recall, _ = sk.precision_recall_curve(LABELS, scores)
    keep = recall > 0  # sklearn adds the point (0, 1)
    for point in np.stack([recall, precision], axis=1)[keep]:
        assert np.min(np.abs(points - point).max(axis=1)) < 1e-12
    assert words[1] == "base rate of bona fide 33.3%"
    np.testing.assert_allclose(lines(axes)[words[1]][:, 1], 1 / 3)


@pytest.mark.parametrize("scores", [SCORES, TIED])
def test_rates_by_threshold(scores):
    axes, words = drawn(figures_rates.rates_by_threshold(scores, LABELS, threshold=1.25))
    curves = lines(axes)
    assert words == list(curves) and words[-1] == "threshold in use 1.25"
    np.testing.assert_allclose(curves["threshold in use 1.25"][:, 0], 1.25)
    low, high = axes.get_xlim()
    assert low < scores.min() and high > scores.max()
    for threshold in (low, *RNG.uniform(low, scores.max(), 20), *scores[:5]):
        accepted = scores > threshold
        if accepted.any():
            assert at(curves["precision"], threshold) == pytest.approx(sk.precision_score(LABELS, accepted))
        assert at(curves["recall"], threshold) == pytest.approx(sk.recall_score(LABELS, accepted))
        assert at(curves["F1"], threshold) == pytest.approx(sk.f1_score(LABELS, accepted))
        assert at(curves["false alarms: spoof accepted"], threshold) == pytest.approx(accepted[~LABELS].mean())
        assert at(curves["misses: bona fide rejected"], threshold) == pytest.approx(1 - accepted[LABELS].mean())
    assert curves["precision"][-1, 0] == scores.max()  # beyond, nothing is accepted
    assert curves["F1"][-1].tolist() == [pytest.approx(high), 0.0]


def test_a_far_score_does_not_squeeze_the_axis():
    scores = np.concatenate([RNG.normal(size=4999), [1e6]])
    labels = np.arange(5000) % 2
    low, high = figures_rates.rates_by_threshold(scores, labels).axes[0].get_xlim()
    assert low > -7 and high < 7
    axes, _ = drawn(figures_rates.histogram_by_attack(scores, labels, ["a"] * 5000))
    assert axes.get_xlim()[1] < 7 and "further out" in axes.get_xlabel()


def test_confusion():
    axes, _ = drawn(figures_rates.confusion(SCORES, LABELS, 0.8))
    (tn, fp), (fn, tp) = sk.confusion_matrix(LABELS, SCORES > 0.8)
    cells = {tuple(np.round(text.get_position(), 2)): text.get_text() for text in axes.texts}
    assert cells[0, -0.05] == f"{tp}\n{tp / 200:.2%}" and cells[1, -0.05] == f"{fn}\n{fn / 200:.2%}"
    assert cells[0, 0.95] == f"{fp}\n{fp / 400:.2%}" and cells[1, 0.95] == f"{tn}\n{tn / 400:.2%}"
    assert "misses" in cells[1, 0.36] and "false alarms" in cells[0, 1.36]
    darkness = {box.get_xy(): -sum(box.get_facecolor()[:3]) for box in axes.patches if isinstance(box, Rectangle)}
    assert darkness[-0.5, -0.5] > darkness[0.5, -0.5]  # more hits than misses


def test_confusion_of_one_class():
    axes, _ = drawn(figures_rates.confusion([1.0, 2.0, 3.0], [0, 0, 0], 1.0))
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("no trials") == 2 and "2\n66.67%" in texts and "1\n33.33%" in texts


def test_histogram_by_attack():
    figure = figures_rates.histogram_by_attack(SCORES, LABELS, ATTACKS, threshold=1.0)
    axes, words = drawn(figure)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["bona fide (200)", "A07 (100)", "A08 (100)", "A09 (100)", "A10 (100)"]
    top, bottom = axes.transData.transform([(0, 0), (0, 4)])
    assert top[1] > bottom[1]
    rows = [LABELS, *(np.array(ATTACKS) == name for name in ("A07", "A08", "A09", "A10"))]
    shares = [text.get_text() for text in axes.texts if "accepted" not in text.get_text()]
    assert shares == [f"{100 * np.mean(SCORES[row] > 1):.1f}" for row in rows]
    for row, patch in zip(rows, axes.patches, strict=True):
        values, edges, floor = patch.get_data()
        counts = np.histogram(SCORES[row], edges)[0]
        assert counts.sum() == row.sum()  # nothing is cut off
        np.testing.assert_allclose((floor - values) / (floor - values).max(), counts / counts.max(), atol=1e-12)
    medians = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "|" and len(line.get_xdata())]
    np.testing.assert_allclose(medians, [np.median(SCORES[row]) for row in rows])
    assert words == ["threshold in use 1", "median, middle 90% of the trials"]


def test_histogram_by_attack_of_few_trials_draws_each():
    axes, _ = drawn(figures_rates.histogram_by_attack([1.0, 2.0, 3.0], [1, 0, 0], ["", "b$1$", "-"]))
    assert [x.get_text() for x in axes.get_yticklabels()] == ["bona fide (1)", r"b\$1\$ (1)", "unknown (1)"]
    assert [list(line.get_xdata()) for line in axes.get_lines()[:3]] == [[1.0], [2.0], [3.0]]


def test_histogram_by_attack_of_very_many_shows_the_hardest():
    attacks = ["-", *(f"a{i:03}" for i in range(100))]
    axes, _ = drawn(figures_rates.histogram_by_attack(np.arange(101.0), np.arange(101) == 0, attacks))
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["bona fide (1)", *(f"a{i:03} (1)" for i in range(20, 100))]
    assert "80 of 100" in axes.get_title()


def test_histogram_by_attack_wants_an_attack_per_trial():
    with pytest.raises(InputError, match="got 2 attacks of 3 trials"):
        figures_rates.histogram_by_attack([1.0, 2.0, 3.0], [1, 0, 0], ["-", "a"])


def test_heat_map():
    table = {
        "A07": {"none": 0.0123, "alaw": None},
        "A$x$": {"alaw": 0.5, "gsm": float("nan")},
        "a very long name of a system that nobody can draw": {"none": 0.1},
    }
    axes, _ = drawn(figures_rates.heat_map(table, row_name="attack", column_name="codec"))
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "1.23",
        (1, 1): "50.0",
        (0, 2): "10.0",
    }
    assert axes.patch.get_hatch() and axes.get_xlabel() == "codec" and axes.get_ylabel() == "attack"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "alaw", "gsm"]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[1] == r"A\$x\$" and len(names[2]) == 32 and "…" in names[2]
    (mesh,) = axes.collections
    shown = np.ma.getmaskarray(mesh.get_array()).reshape(3, 3)
    np.testing.assert_array_equal(shown, [[False, True, True], [True, False, True], [False, True, True]])
    assert mesh.get_clim() == (0, 0.5)
    assert mesh.colorbar.ax.get_ylabel() == "EER (%)"
    tops = axes.transData.transform([(0, 0), (0, 2)])[:, 1]
    assert tops[0] > tops[1]


def test_heat_map_refuses():
    for table in ({}, {"a": {}}, {"a": {"b": None}, "c": {"b": float("nan")}}):
        with pytest.raises(InputError, match="no pair of attack and codec"):
            figures_rates.heat_map(table, row_name="attack", column_name="codec")
    for wrong in (1.5, -0.1, float("inf")):
        with pytest.raises(InputError, match="between 0 and 1"):
            figures_rates.heat_map({"a": {"b": wrong, "c": 0.1}}, row_name="attack", column_name="codec")
    with pytest.raises(InputError, match="81 x 1 "):
        figures_rates.heat_map({str(i): {"b": 0.1} for i in range(81)}, row_name="attack", column_name="codec")


@pytest.mark.parametrize("scores", [SCORES, TIED])
def test_tdcf_curve(scores):
    axes, words = drawn(figures_rates.tdcf_curve(scores, LABELS, WEIGHTS, threshold=1.3))
    curves = [line for line in axes.get_lines() if line.get_drawstyle() == "steps-post"]
    marks = [line for line in axes.get_lines() if line.get_label() in words[1:-1]]
    low, high = axes.get_xlim()
    for (name, (c0, c1, c2)), curve, mark in zip(WEIGHTS.items(), curves, marks, strict=True):
        least, best = min_tdcf_of(scores, LABELS, c0=c0, c1=c1, c2=c2)
        assert mark.get_xydata().tolist() == [[best, least]]

        def cost(threshold, c0=c0, c1=c1, c2=c2):
            misses, alarms = np.mean(scores[LABELS] <= threshold), np.mean(scores[~LABELS] > threshold)
            return (c0 + c1 * misses + c2 * alarms) / (c0 + min(c1, c2))

        for threshold in (low, *RNG.uniform(low, high, 50)):
            assert at(np.array(curve.get_xydata()), threshold) == pytest.approx(cost(threshold))
        assert mark.get_label().startswith(f"{name}: minimum {least:.4f} at ")
        assert f"{cost(1.3):.4f} at the threshold in use" in mark.get_label()
    assert words[0] == "a CM without information: 1" and words[-1] == "threshold in use 1.3"


def test_tdcf_curve_refuses():
    for weights in ({}, {str(i): (0, 1, 1) for i in range(9)}):
        with pytest.raises(InputError, match=f"of {len(weights)} forms"):
            figures_rates.tdcf_curve(SCORES, LABELS, weights)
    with pytest.raises(InputError, match="at least 3 distinct"):
        figures_rates.tdcf_curve(LABELS * 1.0, LABELS, WEIGHTS)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_small_and_degenerate_sets(name):
    draw = FIGURES[name]
    drawn(draw([1.0, 2.0, 0.5], [1, 0, 0]))
    drawn(draw(np.arange(50.0) - 30, np.arange(50) > 30))  # separable
    if name == "tdcf_curve":
        with pytest.raises(InputError, match="1 distinct"):
            draw([1.0] * 6, [1, 0, 1, 0, 0, 0])
    else:
        drawn(draw([0.0] * 6, [1, 0, 1, 0, 0, 0]))
    for labels in ([0, 0, 0], [1, 1, 1]):
        if name in NEED_BOTH:
            with pytest.raises(InputError, match="both are needed"):
                draw([1.0, 2.0, 0.5], labels)
        else:
            drawn(draw([1.0, 2.0, 0.5], labels))
    with pytest.raises(InputError, match="NaN"):
        draw([1.0, np.nan, 0.5], [1, 0, 0])
    if name not in ("precision_recall", "confusion"):  # those have no axis of scores
        with pytest.raises(InputError, match="cannot be drawn"):
            draw([1e200, 2.0, -1e308], [1, 0, 0])


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_a_threshold_must_be_finite(threshold):
    for draw in (
        lambda: figures_rates.confusion(SCORES, LABELS, threshold),
        lambda: figures_rates.rates_by_threshold(SCORES, LABELS, threshold=threshold),
        lambda: figures_rates.histogram_by_attack(SCORES, LABELS, ATTACKS, threshold=threshold),
        lambda: figures_rates.tdcf_curve(SCORES, LABELS, WEIGHTS, threshold=threshold),
    ):
        with pytest.raises(InputError, match="threshold is"):
            draw()


@pytest.mark.parametrize("name", FIGURES)
def test_many_trials_stay_small_and_no_legend_covers_anything(name):
    n = 71_000
    labels = np.arange(n) < n // 10
    figure = FIGURES[name](np.random.default_rng(1).normal(size=n) + 2 * labels, labels)
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    assert file.tell() < 300_000
    lowest = min(axes.get_tightbbox().y0 for axes in figure.axes)
    assert all(legend.get_window_extent().y1 <= lowest + 2 for legend in figure.legends)


def test_thin_keeps_the_shape():
    x = np.sort(RNG.normal(size=50_000))
    y = np.cumsum(RNG.random(50_000))
    kept = figures.thin(x, y)
    assert kept[0] == 0 and kept[-1] == len(x) - 1 and len(kept) < 4 * figures.CELLS
    assert np.all(np.diff(kept) > 0)
    off = np.abs(np.interp(x, x[kept], y[kept]) - y)
    assert off.max() <= np.ptp(y) / figures.CELLS
    assert len(figures.thin(x[:100], y[:100])) == 100


def test_shorten():
    assert figures.shorten(["a", "b\n $c$", ""]) == ["a", r"b \$c\$", "(no name)"]
    paths = [f"outputs/train/aasist/2026-01-01/seed{i}/scores/eval.csv" for i in (1, 2)]
    assert figures.shorten(paths) == ["…seed1/scores/eval.csv", "…seed2/scores/eval.csv"]
    long = figures.shorten(["x" * 40 + "1", "x" * 41 + "1", "y"])
    assert len(set(long)) == 3 and all(len(name) <= 37 for name in long)
    assert figures.shorten([]) == []


def test_precision_recall_by_hand_and_what_runs_along_its_axes():
    """Bona fide 5, 3, 2, spoof 4, 1: accepted one by one 1 of 1, 1 of 2, 2 of 3, 3 of 4 and 3 of 5 are bona fide."""
    axes, words = drawn(figures_rates.precision_recall([5.0, 3.0, 2.0, 4.0, 1.0], [1, 1, 1, 0, 0]))
    assert axes.get_xlabel() == "recall: bona fide accepted (%)"
    assert axes.get_ylabel() == "precision: bona fide among the accepted (%)"
    average = (1 + 2 / 3 + 3 / 4) / 3
    assert words == [f"average precision {average:.4f}", "base rate of bona fide 60.0%"]
    points = [[0, 1], [1 / 3, 1], [1 / 3, 1 / 2], [2 / 3, 2 / 3], [1, 3 / 4], [1, 3 / 5]]
    np.testing.assert_allclose(lines(axes)[words[0]], points)
    assert [axis.get_major_formatter()(0.25) for axis in (axes.xaxis, axes.yaxis)] == ["25", "25"]
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.01, 1.01), (-0.01, 1.02))


def test_rows_and_columns_of_the_confusion_are_named_as_they_are_counted():
    """Of 5 bona fide 4 are accepted, of 3 spoofed ones 1."""
    scores, labels = [2.0, 3.0, 4.0, 5.0, 0.0, 2.5, -1.0, -2.0], [1, 1, 1, 1, 1, 0, 0, 0]
    axes, _ = drawn(figures_rates.confusion(scores, labels, 1.0))
    columns = dict(zip(axes.get_xticks(), [x.get_text() for x in axes.get_xticklabels()], strict=True))
    rows = dict(zip(axes.get_yticks(), [x.get_text() for x in axes.get_yticklabels()], strict=True))
    assert columns == {0: "accepted as bona fide", 1: "rejected as spoof"}
    assert rows == {0: "bona fide\n(5)", 1: "spoof\n(3)"}
    cells = {tuple(np.round(text.get_position()).astype(int)): [] for text in axes.texts}
    for text in axes.texts:
        cells[tuple(np.round(text.get_position()).astype(int))].append(text.get_text())
    assert cells == {
        (0, 0): ["4\n80.00%", "hits (right)"],
        (1, 0): ["1\n20.00%", "misses (wrong)"],
        (0, 1): ["1\n33.33%", "false alarms (wrong)"],
        (1, 1): ["2\n66.67%", "correct rejections (right)"],
    }
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("decision at the threshold 1", "truth")
    left, right = axes.transData.transform([(0, 0), (1, 0)])[:, 0]
    assert left < right and axes.get_ylim() == (1.5, -0.5)


def test_the_other_figures_say_what_runs_along_their_axes():
    axes, words = drawn(figures_rates.rates_by_threshold(SCORES, LABELS, threshold=1.25))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("threshold on the score", "rate (%)")
    assert words[:5] == ["precision", "recall", "F1", "false alarms: spoof accepted", "misses: bona fide rejected"]
    axes, _ = drawn(figures_rates.tdcf_curve(SCORES, LABELS, WEIGHTS))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("CM threshold", "normalised t-DCF")
    axes, _ = drawn(figures_rates.histogram_by_attack(SCORES, LABELS, ATTACKS))
    assert axes.get_xlabel() == "score (larger = more bona fide)"
    colours = [patch.get_edgecolor() for patch in axes.patches]
    assert [to_hex(colour) for colour in colours] == ["#0072b2", *["#d55e00"] * 4]
