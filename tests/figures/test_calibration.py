"""What the figures of calibration show, read back from the matplotlib objects and computed in another way."""

import io

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from deepfake.errors import InputError
from deepfake.figures import calibration as figures_calibration
from deepfake.figures.calibration import LN10
from deepfake.metrics import cllr
from deepfake.metrics.probability import misleading

RNG = np.random.default_rng(0)
LABELS = np.arange(1200) < 200
LLRS = 4.0 * (RNG.normal(size=1200) + LABELS - 0.4)  # too strong, and leaning to bona fide
NAMES = ("reliability", "tippett", "pav", "ece", "misleading")


def drawn(figure):
    """That it can be drawn; the axes of the data, and the words in the legend."""
    file = io.BytesIO()
    figure.savefig(file, dpi=40)
    assert file.tell() > 1000
    return figure.axes[0], [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def lines(axes):
    return {line.get_label(): np.array(line.get_xydata()) for line in axes.get_lines()}


def test_reliability_of_equal_classes():
    llrs, labels = LLRS[:400], LABELS[:400]
    axes, words = drawn(figures_calibration.reliability(llrs, labels))
    observed, predicted = calibration_curve(labels, expit(llrs), n_bins=15)
    bars = axes.containers[0]
    np.testing.assert_allclose(bars.lines[0].get_xydata(), np.stack([predicted, observed], axis=1), atol=1e-9)
    of_bin = np.searchsorted(np.linspace(0, 1, 16)[1:-1], expit(llrs))
    for segment, i in zip(bars.lines[2][0].get_segments(), np.unique(of_bin), strict=True):
        bonafide = labels[of_bin == i]
        expected = binomtest(int(bonafide.sum()), len(bonafide)).proportion_ci()  # Clopper-Pearson
        np.testing.assert_allclose(segment[:, 1], [expected.low, expected.high], atol=1e-9)
    assert words[0] == "perfectly calibrated" and set(words[1:]) == {"detector, 95% interval", "spoof", "bona fide"}


def test_reliability_does_not_depend_on_the_base_rate():
    bonafide, spoof = LLRS[LABELS], LLRS[~LABELS][:200]
    points = []
    for copies in (1, 10):
        llrs = np.concatenate([bonafide, *[spoof] * copies])
        figure = figures_calibration.reliability(llrs, np.arange(len(llrs)) < 200)
        points.append(figure.axes[0].containers[0].lines[0].get_xydata())
    np.testing.assert_allclose(points[0], points[1], atol=1e-12)
    spoof_counts, bonafide_counts = (patch.get_data().values for patch in figure.axes[1].patches)
    assert spoof_counts.sum() == 2000 and bonafide_counts.sum() == 200
    np.testing.assert_array_equal(bonafide_counts, np.histogram(expit(bonafide), 15, (0, 1))[0])


def test_tippett():
    axes, words = drawn(figures_calibration.tippett(LLRS, LABELS))
    bonafide, spoof = [line for line in axes.get_lines() if line.get_drawstyle() == "steps-post"]
    low, high = axes.get_xlim()
    grid = RNG.uniform(low, high, 50)
    x, share = np.array(bonafide.get_xydata()).T
    np.testing.assert_allclose(
        share[np.searchsorted(x, grid, side="right") - 1], [np.mean(LLRS[LABELS] / LN10 <= g) for g in grid]
    )
    x, share = np.array(spoof.get_xydata()).T  # from right to left
    np.testing.assert_allclose(
        share[np.searchsorted(-x, -grid, side="right") - 1], [np.mean(LLRS[~LABELS] / LN10 >= g) for g in grid]
    )
    bonafide_rate, spoof_rate = misleading(LLRS, LABELS)
    marks = {label: points for label, points in lines(axes).items() if "mislead" in label}
    np.testing.assert_allclose(np.concatenate([*marks.values()]), [[0, bonafide_rate], [0, spoof_rate]])
    assert words[1:] == [
        f"bona fide: this LR or a lower one; {bonafide_rate:.2%} mislead",
        f"spoof: this LR or a higher one; {spoof_rate:.2%} mislead",
    ]


def test_pav():
    llrs, labels = np.append(LLRS[1:], LLRS.max() + 0.5), np.append(LABELS[1:], True)  # one class alone at either end
    axes, words = drawn(figures_calibration.pav(llrs, labels))
    mapped = cllr.pav(llrs, labels)
    order = np.argsort(llrs)
    finite = order[np.isfinite(mapped[order])]
    np.testing.assert_allclose(lines(axes)["detector"], np.stack([llrs[finite], mapped[finite]], axis=1) / LN10)
    edge = axes.get_xlim()[1]
    assert axes.get_xlim() == axes.get_ylim() == (-edge, edge)
    assert edge > np.abs(mapped[finite]).max() / LN10
    for side, name in ((-1, "0"), (1, "infinite")):
        ends = llrs[mapped == side * np.inf] / LN10
        assert f"LR {name}: {len(ends)} of 1,200 trials" in words
        segment = lines(axes)[f"LR {name}: {len(ends)} of 1,200 trials"]
        np.testing.assert_allclose(segment, [[ends.min(), side * edge], [ends.max(), side * edge]])


def test_pav_of_separable_classes_is_infinite_throughout():
    axes, words = drawn(figures_calibration.pav(np.arange(-5.0, 5.0), np.arange(10) > 4))
    assert len(lines(axes)["detector"]) == 0
    assert "LR 0: 5 of 10 trials" in words and "LR infinite: 5 of 10 trials" in words


def test_ece():
    axes, words = drawn(figures_calibration.ece(LLRS, LABELS))
    curves = {line.get_label(): np.array(line.get_xydata()) for line in axes.get_lines()[1:]}
    assert words == [
        "no information: LR = 1, Cllr 1",
        f"detector, Cllr {cllr.cllr(LLRS, LABELS):.4f}",
        f"after the best recalibration, min Cllr {cllr.min_cllr(LLRS, LABELS):.4f}",
    ]
    nothing, given, best = (curves[name] for name in words)
    np.testing.assert_array_equal(nothing[:, 0], given[:, 0])
    for log10_odds, bits in given[::8]:
        prior = expit(log10_odds * LN10)
        right = expit(np.where(LABELS, 1, -1) * (LLRS + log10_odds * LN10))  # posterior of the truth
        weight = np.where(LABELS, prior / LABELS.sum(), (1 - prior) / (~LABELS).sum())
        assert bits == pytest.approx(np.sum(weight * -np.log2(right)))
    prior = expit(nothing[:, 0] * LN10)
    np.testing.assert_allclose(nothing[:, 1], -prior * np.log2(prior) - (1 - prior) * np.log2(1 - prior))
    assert np.all(best[:, 1] <= np.minimum(given[:, 1], nothing[:, 1]) + 1e-12)
    middle = given[np.argmin(np.abs(given[:, 0]))]
    assert middle[0] == 0 and middle[1] == pytest.approx(cllr.cllr(LLRS, LABELS))


def test_ece_of_very_many_trials_is_drawn_as_precisely():
    rng = np.random.default_rng(0)
    labels = np.arange(40_000) % 4 == 0
    llrs = rng.normal(np.where(labels, 6.0, -5.0), 3)
    axes, words = drawn(figures_calibration.ece(llrs, labels))
    given = {line.get_label(): np.array(line.get_xydata()) for line in axes.get_lines()}[words[1]]
    for t, bits in zip(given[::5, 0] * LN10, given[::5, 1], strict=True):
        misses, false_alarms = np.logaddexp(0, -llrs[labels] - t).mean(), np.logaddexp(0, llrs[~labels] + t).mean()
        assert bits == pytest.approx((expit(t) * misses + expit(-t) * false_alarms) / np.log(2), abs=5e-6)


def test_ece_says_where_its_curve_is_not_to_be_seen():
    _, words = drawn(figures_calibration.ece([np.inf, -np.inf, 1.0, 2.0], [0, 0, 1, 1]))
    assert words[1] == "detector, Cllr inf: infinite LRs on the wrong side"
    _, words = drawn(figures_calibration.ece([-500.0, 500.0], [1, 0]))
    assert words[1].endswith(": above these axes")


def test_misleading():
    figure = figures_calibration.misleading(LLRS, LABELS)
    axes, words = drawn(figure)
    assert words == ["bona fide with an LR below 1/k (of 200)", "spoof with an LR above k (of 1,000)"]
    lr = np.exp(LLRS)
    counts = [int(np.sum(lr[LABELS] < 1 / k)) for k in (1, 10, 100, 1000)]
    counts += [int(np.sum(lr[~LABELS] > k)) for k in (1, 10, 100, 1000)]
    rates = [count / n for count, n in zip(counts, [200] * 4 + [1000] * 4, strict=True)]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], rates)
    assert counts[0] > counts[3] > 0 and rates[0] == misleading(LLRS, LABELS)[0]
    assert [text.get_text() for text in axes.texts] == [
        f"{100 * rate:.2f}%\n{count}" for rate, count in zip(rates, counts, strict=True)
    ]
    assert {bool(bar.get_hatch()) for bar in axes.patches[4:]} != {bool(bar.get_hatch()) for bar in axes.patches[:4]}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_small_and_degenerate_sets(name):
    draw = getattr(figures_calibration, name)
    drawn(draw([1.0, 2.0, 0.5], [1, 0, 0]))
    drawn(draw([3.0] * 6, [1, 0, 1, 0, 0, 0]))
    drawn(draw([np.inf, -np.inf], [0, 1]))
    for labels in ([0, 0, 0], [1, 1, 1]):
        with pytest.raises(InputError, match="both are needed"):
            draw([1.0, 2.0, 0.5], labels)
    with pytest.raises(InputError, match="NaN"):
        draw([1.0, np.nan, 0.5], [1, 0, 0])
    if name in ("tippett", "pav"):
        with pytest.raises(InputError, match="cannot be drawn"):
            draw([1e308, 2.0, -1e308], [1, 0, 0])


@pytest.mark.parametrize("name", NAMES)
def test_many_trials_stay_small_and_no_legend_covers_anything(name):
    n = 71_000
    labels = np.arange(n) < n // 10
    figure = getattr(figures_calibration, name)(np.random.default_rng(1).normal(size=n) + 2 * labels, labels)
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    assert file.tell() < 300_000
    lowest = min(axes.get_tightbbox().y0 for axes in figure.axes)
    assert all(legend.get_window_extent().y1 <= lowest + 2 for legend in figure.legends)
