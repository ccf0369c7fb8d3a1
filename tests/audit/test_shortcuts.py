"""The shortcut audit on cues whose separability is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_curve
from tiny import write_audio

from deepfake.audio.measures import MEANINGS
from deepfake.audit import shortcuts as module
from deepfake.audit.shortcuts import audit, log_ratio, measure, verdict
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.metrics.bootstrap import replicates

N_BONAFIDE, N_SPOOF = 250, 750
LABELS = np.r_[np.ones(N_BONAFIDE, int), np.zeros(N_SPOOF, int)]
ATTACKS = [""] * N_BONAFIDE + [f"A{i % 3 + 1:02d}" for i in range(N_SPOOF)]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch, request):
    """The models of all cues together take seconds; one test is about them."""
    if "together" not in request.node.name:
        monkeypatch.setattr(module, "MODELS", {})


def normal(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(len(LABELS))


def utterances(labels=LABELS, speakers=None, attacks=ATTACKS, partitions=None):
    unknown = [""] * len(labels)
    known = zip(labels, attacks, speakers or unknown, partitions or unknown, strict=False)
    return [Utterance(f"u{i}", f"u{i}.wav", *facts) for i, facts in enumerate(known)]


def audited(values, *, labels=LABELS, speakers=None, attacks=ATTACKS, seed=0):
    return audit({"cue": values}, utterances(labels, speakers, attacks), seed=seed, n_bootstrap=100)


def rate_by_sklearn(scores, labels):
    far, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(np.interp(0, far - (1 - hits), far))


@pytest.mark.parametrize("distance", [0.8, 2.0, 4.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_two_gaussians_give_their_eer(distance, sign):
    entry = audited(sign * (normal() + distance * LABELS))["cues"]["cue"]
    assert entry["eer"] == pytest.approx(norm.cdf(-distance / 2), abs=0.03)
    assert entry["low"] <= entry["eer"] <= entry["high"]
    assert entry["verdict"] == "strong"


def test_a_constant_gives_exactly_one_half_and_is_near_chance():
    entry = audited(np.full(len(LABELS), 16000.0))["cues"]["cue"]
    assert (entry["eer"], entry["low"], entry["high"]) == (0.5, 0.5, 0.5)
    assert entry["verdict"] == "near chance"
    assert entry["constant"]


def test_few_uninformative_cues_are_rated_weak_and_none_strong():
    rng = np.random.default_rng(5)
    kinds = [
        rng.standard_normal,
        lambda n: rng.integers(0, 3, n).astype(float),
        lambda n: np.maximum(rng.normal(size=n), 0),
    ]
    table = {f"noise {i}": kinds[i % 3](len(LABELS)) for i in range(60)}
    found = audit(table, utterances(), n_bootstrap=200)["cues"].values()
    assert np.mean([entry["eer"] for entry in found]) == pytest.approx(0.503, abs=0.01)
    assert not any(entry["verdict"] == "strong" for entry in found)
    assert sum(entry["verdict"] == "weak" for entry in found) <= 4  # 1.5 are expected
    assert not any(entry["constant"] for entry in found)


def test_a_cue_that_is_not_monotone_is_found():
    values = np.where(LABELS == 1, normal(), 0.05 * normal(1))  # all spoofs have about the same value
    entry = audited(values)["cues"]["cue"]
    assert min(rate_by_sklearn(s * values, LABELS) for s in (1, -1)) > 0.45
    assert entry["eer"] < 0.15


def test_ratios_are_fitted_to_training_folds_only():
    """Were a held-out value in the training set, a value of its own per utterance would tell its label."""
    values = np.random.default_rng(0).permutation(len(LABELS)).astype(float)
    calls = []

    def spy(known, bonafide, held_out):
        calls.append((set(known), set(held_out), len(known) == len(bonafide)))
        return log_ratio(known, bonafide, held_out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "log_ratio", spy)
        audited(values)
    assert len(calls) == 5 and all(equal for *_, equal in calls)
    assert all(not known & held_out and len(known | held_out) == len(LABELS) for known, held_out, _ in calls)
    assert set.union(*(held_out for _, held_out, _ in calls)) == set(values)


def test_speakers_are_kept_together():
    speakers = [f"s{i % 40}" for i in range(len(LABELS))]
    number = np.array([float(s[1:]) for s in speakers])  # the cue names the speaker
    calls = []

    def spy(known, bonafide, held_out):
        calls.append(set(known) & set(held_out))
        return log_ratio(known, bonafide, held_out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "log_ratio", spy)
        result = audited(number, speakers=speakers)
    assert len(calls) == 5 and not any(calls)
    assert result["grouped_by_speaker"] and result["n_speakers"] == 40 and result["notes"] == []


def test_a_cue_of_the_voice_is_chance_only_across_speakers():
    """Ten speakers, each of one class and with a value of their own: within speakers the class can be looked up."""
    rng = np.random.default_rng(2)
    speaker = np.r_[rng.integers(0, 5, N_BONAFIDE), rng.integers(5, 10, N_SPOOF)]
    values = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9.0])[speaker]
    mixed = audited(values)
    disjoint = audited(values, speakers=[f"s{s}" for s in speaker])
    assert not mixed["grouped_by_speaker"] and "No speakers are known" in mixed["notes"][0]
    assert mixed["cues"]["cue"]["eer"] == 0
    assert disjoint["cues"]["cue"]["eer"] > 0.4
    assert disjoint["cues"]["cue"]["verdict"] == "near chance"


def test_speakers_that_cannot_be_split_over_folds_are_said():
    result = audited(normal(), speakers=["reader"] * len(LABELS))
    assert not result["grouped_by_speaker"]
    assert "cannot be split" in result["notes"][0]
    one_reader = audited(normal(), speakers=["reader"] * N_BONAFIDE + [f"s{i % 50}" for i in range(N_SPOOF)])
    assert not one_reader["grouped_by_speaker"]


def test_unknown_speakers_stand_for_themselves():
    speakers = [f"s{i}" if i % 2 else "" for i in range(len(LABELS))]
    assert audited(normal(), speakers=[*speakers[:-1], "s1"])["n_speakers"] == len(LABELS) - 1


def test_missing_values_are_a_cue_of_their_own():
    values = normal()
    values[(LABELS == 0) & (np.arange(len(LABELS)) % 10 > 0)] = np.nan
    result = audit({"cue": values, "other": normal(1)}, utterances(), n_bootstrap=100)
    entry = result["cues"]["cue"]
    assert entry["eer"] < 0.1
    assert entry["n_missing"] == 675
    at_random = normal(3)
    at_random[::3] = np.nan
    entry = audit({"cue": at_random, "other": normal(1)}, utterances(), n_bootstrap=100)["cues"]["cue"]
    assert entry["verdict"] == "near chance"


def test_utterances_without_cues_or_label_are_excluded():
    values, labels = normal() + LABELS, LABELS.tolist()
    values[:5] = np.nan
    labels[-7:] = [None] * 7
    result = audited(values, labels=labels)
    assert (result["n_bonafide"], result["n_spoof"]) == (N_BONAFIDE - 5, N_SPOOF - 7)
    assert len(result["notes"]) == 3 and "7 of 1000" in result["notes"][0] and "5 of 1000" in result["notes"][1]


def test_attacks_are_evaluated_against_all_bona_fide():
    values = normal()
    values[[a == "A02" for a in ATTACKS]] += 6
    rates = audited(values)["cues"]["cue"]["by_attack"]
    assert list(rates) == ["A01", "A02", "A03"]
    assert rates["A02"] < 0.02
    assert min(rates["A01"], rates["A03"]) > 0.4
    assert list(audited(values, attacks=["-"] * len(LABELS))["cues"]["cue"]["by_attack"]) == ["unknown"]


def test_the_pooled_rate_is_that_of_sklearn():
    kept = {}

    def spy(known, bonafide, held_out):
        kept[len(kept)] = (held_out, log_ratio(known, bonafide, held_out))
        return kept[len(kept) - 1][1]

    values = normal() + 1.2 * LABELS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "log_ratio", spy)
        entry = audited(values)["cues"]["cue"]
    label_of = dict(zip(values.tolist(), LABELS.tolist(), strict=True))
    pooled = [(score, label_of[v]) for held, scores in kept.values() for v, score in zip(held, scores, strict=True)]
    assert len(pooled) == len(LABELS)
    assert entry["eer"] == pytest.approx(rate_by_sklearn(*np.array(pooled).T), abs=0.003)


def test_log_ratio_is_near_that_of_the_densities():
    rng = np.random.default_rng(1)
    bonafide = np.arange(40_000) < 10_000
    values = rng.standard_normal(40_000) + 1.0 * bonafide
    at = np.linspace(-1.5, 2.5, 21)
    assert log_ratio(values, bonafide, at) == pytest.approx(at - 0.5, abs=0.25)


def test_log_ratio_of_a_few_values_is_that_of_their_counts():
    bonafide = np.repeat([True, True, False, False], [300, 100, 100, 300])
    values = np.repeat([1.0, 2.0, 1.0, 2.0], [300, 100, 100, 300])
    one, two = log_ratio(values, bonafide, np.array([1.0, 2.0]))
    smoothed = math.log((300 + 2 * 0.5) / (100 + 2 * 0.5))
    assert one == pytest.approx(smoothed) and two == pytest.approx(-smoothed)


def test_log_ratio_gives_a_frequent_value_a_bin_of_its_own():
    rng = np.random.default_rng(0)
    bonafide = np.arange(2000) < 1000
    values = np.abs(rng.standard_normal(2000)) + 0.01
    values[:600] = 0  # of 1000 bona fide
    values[1000:1100] = 0  # of 1000 spoofs
    at_zero, beside = log_ratio(values, bonafide, np.array([0.0, 1.0]))
    assert at_zero == pytest.approx(math.log(6), abs=0.1)
    assert beside == pytest.approx(math.log(0.4 / 0.9), abs=0.3)


def test_log_ratio_is_zero_for_what_training_did_not_have():
    bonafide = np.arange(200) < 100
    assert log_ratio(normal()[:200], bonafide, np.array([np.nan, np.inf])).tolist() == [0, 0]
    assert log_ratio(np.full(200, np.nan), bonafide, np.array([1.0, np.nan])).tolist() == [0, 0]


def test_the_typical_value_of_a_class_is_a_median_or_the_most_frequent_name():
    coding = np.where(np.arange(len(LABELS)) % 2, 2.0, 14.0)  # the mean of the two is another coding
    coding[:3] = 2
    result = audit({"coding": coding, "rms_dbfs": 3.0 * LABELS}, utterances(), n_bootstrap=100)["cues"]
    assert result["coding"]["typical"]["bonafide"] == 2
    assert result["rms_dbfs"]["typical"] == {"bonafide": 3, "spoof": 0}


def test_verdicts_follow_the_upper_end():
    assert [verdict(high) for high in (0.6, 0.5, 0.499, 0.4, 0.399, 0)] == ["near chance"] * 2 + ["weak"] * 2 + [
        "strong"
    ] * 2


def test_all_together_and_carried_from_train():
    table = {"rms_dbfs": normal(1) + LABELS, "hole_share": normal(2) + LABELS, "n_channels": np.ones(len(LABELS))}
    table["hole_share"][::9] = np.nan
    partitions = [("train", "dev", "eval")[i % 3] for i in range(len(LABELS))]
    result = audit(table, utterances(partitions=partitions), n_bootstrap=100)
    both = norm.cdf(-math.sqrt(2) / 2)
    assert result["together"]["logistic regression, trivial"]["cues"] == ["rms_dbfs"]
    assert result["together"]["logistic regression, all"]["cues"] == ["rms_dbfs", "hole_share"]
    for model in ("logistic regression", "random forest"):
        assert result["together"][f"{model}, all"]["eer"] == pytest.approx(both, abs=0.05)
        assert result["together"][f"{model}, trivial"]["eer"] == pytest.approx(norm.cdf(-0.5), abs=0.07)
        for part in ("dev", "eval"):
            assert result["carried"][part][f"{model}, all"]["eer"] == pytest.approx(both, abs=0.07)
    assert set(result["carried"]) == {"dev", "eval"}
    json.dumps(result, allow_nan=False)


def test_together_noise_is_near_chance():
    table = {f"noise {i}": normal(i) for i in range(5)}
    found = audit(table, utterances(), n_bootstrap=100)["together"]
    assert set(found) == {"logistic regression, all", "random forest, all"}
    assert all(entry["eer"] == pytest.approx(0.5, abs=0.05) for entry in found.values())


def test_the_same_seed_gives_the_same_audit():
    values = normal() + 0.3 * LABELS
    assert audited(values, seed=1) == audited(values, seed=1)
    assert audited(values, seed=1)["cues"] != audited(values, seed=2)["cues"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.ones(len(LABELS), int)}, "both are needed"),
        ({"labels": [1] * 3 + [0] * (len(LABELS) - 3)}, "has 3 utterances: at least 5"),
        ({"labels": [2] * len(LABELS)}, "neither 1"),
        ({"labels": LABELS[1:]}, "got 999 utterances and {'cue': 1000}"),
    ],
)
def test_what_cannot_be_audited_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        audited(normal(), **change)


def test_no_cue_is_refused():
    with pytest.raises(InputError, match="no cue"):
        audit({}, utterances())


def test_measure_gives_a_column_per_cue_and_names_what_cannot_be_read(tmp_path):
    good = write_audio(tmp_path / "a.wav", spoof=False, seed=0)
    (tmp_path / "b.wav").write_text("no audio")
    paths = [good, tmp_path / "b.wav", *(write_audio(tmp_path / f"{i}.wav", spoof=True, seed=i) for i in range(40))]
    table, errors = measure([Utterance(p.stem, str(p), 1) for p in paths])
    assert list(table) == list(MEANINGS)
    assert list(errors) == [1] and "b.wav" in errors[1]
    assert np.isnan([column[1] for column in table.values()]).all()
    assert np.delete(table["duration_s"], 1) == pytest.approx(0.6)
    with pytest.raises(InputError, match=r"none of the 1 files could be measured.*b\.wav"):
        measure([Utterance("b", str(tmp_path / "b.wav"), 1)])


def test_what_is_carried_is_fitted_to_the_training_partition_alone():
    """A cue of the opposite sign outside of it: a model that had seen the others would be right about them."""
    partitions = np.array([("train", "dev", "eval", "eval")[i % 4] for i in range(len(LABELS))])
    sign = np.where(partitions == "train", 1, -1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MODELS", {"logistic regression": module._logistic})
        cue = sign * (normal() + 3 * (LABELS - 0.5))
        found = audit({"rms_dbfs": cue}, utterances(partitions=partitions.tolist()), n_bootstrap=50)
    wrong = norm.cdf(1.5)  # 93 %
    assert {part: entry["logistic regression, all"]["eer"] for part, entry in found["carried"].items()} == {
        "dev": pytest.approx(wrong, abs=0.04),
        "eval": pytest.approx(wrong, abs=0.04),
    }


def test_the_interval_of_an_audit_covers_95_per_cent():
    values = normal() + LABELS
    entry = audited(values)["cues"]["cue"]
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "intervals", lambda *given, **_: kept.append(given) or {"eer": (0, 1)})
        audited(values)
    scores, y = kept[0]
    draws = replicates(scores, y, n=100, seed=0)["eer"]
    assert (entry["low"], entry["high"]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
