"""Measures of curves against scikit-learn and plain loops, and of resamples against repeated files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from deepfake.errors import InputError
from deepfake.localisation import measures as measures_module
from deepfake.localisation.measures import Curve, dev_threshold, measure, merged
from deepfake.localisation.segments import segments, share_of, verdict_of_file
from deepfake.metrics.classification import auc_on
from deepfake.metrics.eer import eer, eer_on
from deepfake.metrics.localisation import range_eer
from deepfake.metrics.ranked import Pool


def curves(n=24, seed=0, *, steps=40):
    """Files of about 2 s, every third bona fide; p_fake in 40 steps, so that there are ties, and higher in spoof."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        duration = float(rng.uniform(1.5, 2.5))
        edges = np.append(np.arange(0, duration, 0.02), duration)
        start = float(rng.uniform(0.1, 0.7))
        spoofed = [] if i % 3 == 0 else [(start, start + float(rng.uniform(0.2, 0.7)))]
        middles = (edges[1:] + edges[:-1]) / 2
        inside = sum((middles > a) & (middles < b) for a, b in spoofed) + np.zeros(len(middles))
        smooth = np.convolve(rng.normal(size=len(middles)), np.ones(15) / 4, mode="same") + 2 * inside - 1
        p = np.round(steps / (1 + np.exp(-smooth))) / steps
        found.append(Curve(f"u{i}", edges, p, spoofed))
    return found


def pooled(recordings):
    """Frame by frame in plain loops: p_fake, and whether any of the frame is spoofed."""
    p, spoof = [], []
    for h in recordings:
        for k in range(len(h.p_fake)):
            p.append(h.p_fake[k])
            shared = [min(h.edges[k + 1], b) - max(h.edges[k], a) for a, b in h.spoofed]
            spoof.append(max(shared, default=0.0) > 1e-6)
    return np.array(p), np.array(spoof)


def test_frames_are_those_of_scikit_learn():
    recordings = curves()
    p, spoof = pooled(recordings)
    found = measure(recordings, {"dev": 0.5, "default": 0.3}, n_bootstrap=20)
    assert found["measures"]["frame_auc_20ms"]["value"] == pytest.approx(roc_auc_score(spoof, p))
    assert found["measures"]["segment_eer_20ms"]["value"] == pytest.approx(eer(-p, ~spoof)[0])
    for name, threshold in (("dev", 0.5), ("default", 0.3)):
        measures = found["at"][name]["measures"]
        *expected, _ = precision_recall_fscore_support(spoof, p > threshold, average="binary")
        got = [measures[f"frame_{m}"]["value"] for m in ("precision", "recall", "f1")]
        assert got == pytest.approx(expected)
        assert found["at"][name]["threshold"] == threshold


@pytest.mark.parametrize("resolution", [0.16, 0.64])
def test_coarse_units_are_the_worst_of_their_frames(resolution):
    recordings = curves(9)
    p, spoof = [], []
    for h in recordings:
        start = 0.0
        while start < h.edges[-1] - 1e-6:
            end = min(start + resolution, h.edges[-1])
            p.append(
                max(
                    x
                    for x, a, b in zip(h.p_fake, h.edges, h.edges[1:], strict=False)
                    if b > start + 1e-6 and a < end - 1e-6
                )
            )
            spoof.append(any(min(end, b) - max(start, a) > 1e-6 for a, b in h.spoofed))
            start += resolution
    found = measure(recordings, {}, n_bootstrap=5)["measures"][f"frame_auc_{1000 * resolution:.0f}ms"]
    assert found["value"] == pytest.approx(roc_auc_score(spoof, p))  # fmt: skip


def test_files_by_a_plain_loop():
    recordings = curves()
    found = measure(recordings, {"dev": 0.5, "none": None}, n_bootstrap=20)
    assert (found["n_bonafide"], found["n_spoof"], found["at"]["none"]) == (8, 16, None)
    spoof = [bool(h.spoofed) for h in recordings]
    assert found["measures"]["file_auc"]["value"] == pytest.approx(
        roc_auc_score(spoof, [h.p_fake.max() for h in recordings])
    )
    expected = {(kind, v): 0 for kind in ("bonafide", "spoof") for v in ("REAL", "SUSPICIOUS", "FAKE")}
    for h in recordings:
        share = share_of(segments(h.edges, h.p_fake, threshold=0.5), h.edges[-1])
        expected["spoof" if h.spoofed else "bonafide", verdict_of_file(share)] += 1
    verdicts = found["at"]["dev"]["verdicts"]
    assert {(kind, v): verdicts[kind][v]["n"] for kind, v in expected} == expected
    for (kind, v), n in expected.items():
        share = verdicts[kind][v]
        assert share["value"] == n / (16 if kind == "spoof" else 8)
        assert share["low"] <= share["value"] <= share["high"] and share["high"] > share["low"]


def test_boundaries_by_hand():
    edges = np.arange(101) * 0.02
    t, none = edges[:-1] + 0.01, np.zeros(100)
    steps = [Curve("a", edges, 1.0 * ((t > 0.5) & (t < 1.2)), [(0.4, 1.5)]), Curve("b", edges, 1.0 * (t < 0.5), [])]
    steps += [Curve("c", edges, none, [(1.0, 1.6)]), Curve("d", edges, none, [])]
    found = measure(steps, {"dev": 0.5}, n_bootstrap=10)["at"]["dev"]["measures"]
    assert found["boundary_seconds"]["value"] == pytest.approx((0.1 + 0.3) / 2)
    assert found["boundaries_missed"]["value"] == pytest.approx(2 / 4)
    assert found["boundaries_extra"]["value"] == pytest.approx(2 / 4)


@pytest.mark.parametrize("seed", range(3))
def test_a_resample_equals_the_repeated_files(seed):
    recordings = curves(12, seed)
    counts = np.random.default_rng(seed).integers(0, 4, len(recordings))
    again = [h for h, n in zip(recordings, counts, strict=True) for _ in range(n)]
    scores, labels = zip(*(h.units(0.02) for h in recordings), strict=True)
    points = Pool(scores, labels, [1 - y for y in labels]).roc(counts)
    repeated = [np.concatenate(x) for x in zip(*(h.units(0.02) for h in again), strict=True)]
    assert points is not None
    assert eer_on(points)[0] == pytest.approx(eer(*repeated)[0])
    assert auc_on(points) == pytest.approx(roc_auc_score(repeated[1], repeated[0]))
    by_duration = Pool([-h.p_fake for h in recordings], *zip(*(h.seconds() for h in recordings), strict=True)).roc(
        counts
    )
    assert by_duration is not None
    assert eer_on(by_duration)[0] == pytest.approx(range_eer((h.edges, -h.p_fake, h.spoofed) for h in again)[0])


def test_intervals_are_those_of_a_plain_bootstrap():
    recordings = curves(30)
    frames = [pooled([h]) for h in recordings]
    rng, draws = np.random.default_rng(7), []
    kinds = [[i for i, h in enumerate(recordings) if bool(h.spoofed) is kind] for kind in (True, False)]
    for _ in range(600):
        files = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])
        p, spoof = (np.concatenate([frames[i][k] for i in files]) for k in (0, 1))
        hit, flagged = np.sum(spoof & (p > 0.5)), np.sum(p > 0.5)
        draws.append((hit / flagged, hit / spoof.sum(), 2 * hit / (flagged + spoof.sum()), eer(-p, ~spoof)[0]))
    found = measure(recordings, {"dev": 0.5}, n_bootstrap=600)
    own = [found["at"]["dev"]["measures"][f"frame_{m}"] for m in ("precision", "recall", "f1")]
    own += [found["measures"]["segment_eer_20ms"]]
    for interval, low, high in zip(own, *np.quantile(draws, [0.025, 0.975], axis=0), strict=True):
        spread = high - low
        assert [interval["low"], interval["high"]] == pytest.approx([low, high], abs=0.2 * spread)


def test_one_file_alone_has_no_interval():
    one = [h for h in curves(6) if h.spoofed][:1] + [h for h in curves(6) if not h.spoofed]
    found = measure(one, {"dev": 0.5}, n_bootstrap=10)
    assert found["measures"]["frame_auc_20ms"]["value"] is not None
    assert found["measures"]["frame_auc_20ms"]["low"] is found["at"]["dev"]["measures"]["frame_f1"]["high"] is None


def test_spliced_files_alone_have_no_rates_recordings():
    found = measure([h for h in curves() if h.spoofed], {"dev": 1.0}, n_bootstrap=10)
    assert found["measures"]["file_auc"] == {"value": None, "low": None, "high": None}
    assert found["measures"]["range_eer"]["low"] is not None
    assert found["at"]["dev"]["verdicts"]["bonafide"]["REAL"] == {"n": 0, "value": None, "low": None, "high": None}
    assert found["at"]["dev"]["measures"]["frame_precision"]["value"] is None  # nothing is above 1
    assert found["at"]["dev"]["measures"]["boundary_seconds"]["value"] is None


def test_the_threshold_flags_what_that_of_the_eer_rejects():
    recordings = curves()
    p, spoof = pooled(recordings)
    threshold = dev_threshold(recordings)
    _, official = eer(-p, ~spoof)
    assert np.array_equal(p > threshold, -p <= official)
    wrong = {t: abs(np.mean(p[spoof] <= t) - np.mean(p[~spoof] > t)) for t in [*np.unique(p), threshold]}
    assert wrong[threshold] == min(wrong.values())


def test_without_spoof_there_is_no_threshold_and_no_measure():
    real = [h for h in curves() if not h.spoofed]
    for call in (lambda: dev_threshold(real), lambda: measure(real, {}, n_bootstrap=10)):
        with pytest.raises(InputError, match="0 spoof trials"):
            call()


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=8))
def test_merged_stretches_cover_the_same_time(pairs):
    stretches = [(a / 10, (a + n) / 10) for a, n in pairs]
    found = merged(stretches)
    middles = np.arange(400) / 100 + 0.005

    def inside(of):
        return [any(a < t < b for a, b in of) for t in middles]

    assert inside(found) == inside(stretches)
    assert all(b < c for (_, b), (c, _) in itertools.pairwise(found))


def test_intervals_cover_95_per_cent_and_extra_boundaries_are_counted_against_the_true_ones():
    found = measures_module._interval(1.0, np.append(np.arange(1001.0), np.nan))
    assert found == {"value": 1.0, "low": pytest.approx(25), "high": pytest.approx(975)}
    edges, p_fake = np.arange(251) / 50, np.full(250, 0.1)  # frames of 20 ms
    p_fake[50:100] = p_fake[150:200] = 0.9
    curves = [Curve(str(i), edges, p_fake, [(1.0, 2.0)]) for i in range(2)]
    at = measure(curves, {"half": 0.5}, n_bootstrap=0)["at"]["half"]["measures"]
    assert (at["boundaries_missed"]["value"], at["boundaries_extra"]["value"]) == (0.0, 1.0)
