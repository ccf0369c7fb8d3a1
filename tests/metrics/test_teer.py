"""The t-EER against the exhaustive search of the authors' script, and pairs whose value is known."""

import gzip

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.metrics import teer
from deepfake.metrics.teer import t_eer


def script_points(groups):
    """Share of each group rejected, one point per trial, in the script's order of ties."""
    rows = sorted((s, k) for k, group in enumerate(groups) for s in group)
    points = [(min(s for s, _ in rows) - 0.001, [0] * len(groups))]
    for s, k in rows:
        counts = list(points[-1][1])
        counts[k] += 1
        points.append((s, counts))
    return [(t, [c / len(g) for c, g in zip(counts, groups, strict=True)]) for t, counts in points]


def brute(cm_scores, cm_labels, target, nontarget, spoof):
    """All pairs of operating points that thresholds reach, looked at one by one: the loops of the script."""
    groups = [cm_scores[cm_labels == 1], cm_scores[cm_labels == 0]], [target, nontarget, spoof]
    cm, asv = (list(dict(script_points(of)).items()) for of in groups)  # of equal thresholds the last point
    best, found = np.inf, None
    for asv_threshold, (miss_asv, non, spf) in asv:
        non, spf = 1 - non, 1 - spf
        if not miss_asv < 0.5 * non + 0.5 * spf:
            continue
        gaps = []
        for _, (miss, rejected) in cm:
            p_miss = miss + (1 - miss) * miss_asv
            p_fa = 0.5 * (1 - miss) * non + 0.5 * (1 - rejected) * spf
            gaps.append(abs(p_miss - p_fa))
        cm_threshold, (miss, rejected) = cm[gaps.index(min(gaps))]
        if spf == 0 or miss == 1:
            continue
        if (gap := abs(non / spf - (1 - rejected) / (1 - miss))) < best:
            best, found = gap, (spf * (1 - rejected), cm_threshold, asv_threshold)
    return found


@st.composite
def pairs(draw):
    """CM and ASV scores, often tied; groups of 1, 2, 4 or 8, so that rates and their products are exact."""

    def group(low, high):
        size = draw(st.sampled_from([1, 2, 4, 8]))
        return np.array(draw(st.lists(st.integers(low, high), min_size=size, max_size=size)), dtype=float) / 4

    bonafide, spoof = group(-3, 9), group(-9, 3)
    asv = group(-3, 9), group(-9, 3), group(-6, 6)
    assume(len(set(np.concatenate([bonafide, spoof]))) >= 3 and len(set(np.concatenate(asv))) >= 3)
    labels = np.repeat([1, 0], [len(bonafide), len(spoof)])
    return np.concatenate([bonafide, spoof]), labels, *asv


@pytest.mark.parametrize("stride", [2, 64])
@given(data=pairs())
@settings(max_examples=300, deadline=None)
def test_it_is_what_the_exhaustive_search_finds(stride, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teer, "STRIDE", stride)
        if (expected := brute(*data)) is None:
            with pytest.raises(InputError, match="no t-EER"):
                t_eer(*data)
        else:
            assert t_eer(*data) == pytest.approx(expected, abs=1e-12)


@given(pairs())
@settings(max_examples=100, deadline=None)
def test_monotone_transforms_of_either_score_leave_it(data):
    assume(brute(*data) is not None)
    cm, labels, *asv = data
    moved = t_eer(np.exp(cm) - 5, labels, *(3 * group**3 + group for group in asv))
    assert moved.value == t_eer(*data).value


def gaussian(seed=0, n=4000):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4 == 0
    asv = rng.normal(3, 1, n // 4), rng.normal(0, 1, n // 2), rng.normal(1.5, 1, n)
    return rng.normal(2.0 * labels, 1), labels.astype(int), *asv


def test_the_three_error_rates_are_equal_there():
    cm, labels, target, nontarget, spoof = data = gaussian()
    value, cm_threshold, asv_threshold = t_eer(*data)
    passed = np.mean(cm[labels == 1] > cm_threshold)
    assert np.mean(cm[labels == 0] > cm_threshold) * np.mean(spoof > asv_threshold) == pytest.approx(value, abs=1e-12)
    assert passed * np.mean(nontarget > asv_threshold) == pytest.approx(value, abs=1e-3)
    assert 1 - passed * np.mean(target > asv_threshold) == pytest.approx(value, abs=1e-3)


def test_a_perfect_pair_and_a_perfect_cm():
    cm, labels = np.arange(1000.0), np.arange(1000) >= 500
    assert t_eer(cm, labels, [5, 6, 7], [1, 2, 3], [1.5, 2.5, 5.5]).value == 0
    rng = np.random.default_rng(1)
    target, nontarget, spoof = rng.normal(2, 1, 5000), rng.normal(0, 1, 5000), rng.normal(2, 1, 5000)
    assert t_eer(cm, labels, target, nontarget, spoof).value == pytest.approx(0.1587, abs=0.01)  # the ASV's own EER


def test_a_cm_that_does_not_listen_is_worth_what_the_asv_makes_of_spoofs():
    rng = np.random.default_rng(2)
    cm, labels = rng.normal(size=20000), np.arange(20000) % 2
    target, nontarget = rng.normal(2, 1, 5000), rng.normal(0, 1, 5000)
    spoofs_like_nontarget = rng.normal(0, 1, 5000)
    value = t_eer(cm, labels, target, nontarget, spoofs_like_nontarget).value
    assert value == pytest.approx(0.1587, abs=0.02)


def test_real_scores(shared):
    def read(name):
        with gzip.open(shared / "reference" / "scores" / name, "rt") as file:
            return np.array([line.split()[-2:] for line in file])

    cm, asv = read("la2019_eval_amsoftmax.txt.gz"), read("la2019_eval_asv.txt.gz")
    groups = [asv[asv[:, 0] == kind, 1].astype(float) for kind in ("target", "nontarget", "spoof")]
    found = t_eer(cm[:, 1].astype(float), cm[:, 0] == "bonafide", *groups)
    assert found == pytest.approx((0.03384712786422188, 0.7894006371498108, -7.713646), abs=1e-9)  # exhaustive search


@pytest.mark.timeout(120)  # a second or two; what is quadratic takes hours
def test_half_a_million_trials_take_no_time():
    rng = np.random.default_rng(3)
    labels = np.arange(400_000) % 5 == 0
    asv = rng.normal(3, 1, 50_000), rng.normal(size=150_000), rng.normal(1, 1, 300_000)
    cm = rng.normal(labels)
    few = t_eer(cm[:20_000], labels[:20_000], *(scores[:5_000] for scores in asv))
    assert t_eer(cm, labels, *asv).value == pytest.approx(few.value, abs=0.01)


def test_spoofs_that_the_asv_rejects_first_are_no_division_by_zero(recwarn):
    cm, labels, target, nontarget, _ = gaussian()
    data = cm, labels, target, nontarget, np.arange(-20.0, -10)  # P_fa_spf is 0 wherever the ASV works
    assert 0 <= t_eer(*data).value <= 1
    assert not recwarn.list


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, [np.nan, 1, 2, 3], "NaN"),
        (0, [1, 1, 0, 0], "2 distinct scores of the CM"),
        (1, [1, 1, 1, 1], "spoof"),
        (1, [1, 0, 2, 0], "labels"),
        (2, [], "target"),
        (3, [0, np.inf], "nontarget"),
        (4, [], "spoof"),
        (4, [[1, 2]], "one row"),
        (4, ["a"], "numbers"),
    ],
)
def test_unusable_input_raises(at, value, message):
    data = [[3, 2, 1, 0], [1, 1, 0, 0], [5, 6], [1, 2], [3, 4]]
    t_eer(*data)
    data[at] = value
    with pytest.raises(InputError, match=message):
        t_eer(*data)


def test_asv_decisions_raise():
    with pytest.raises(InputError, match="ASV system"):
        t_eer([3, 2, 1, 0], [1, 1, 0, 0], [1, 1], [0, 0], [0, 1])
