"""The metrics of one partition: every metric, its interval, and the same by attack and by condition."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.errors import InputError
from deepfake.evaluation.column import Column, trials_hash
from deepfake.evaluation.tandem import Tandem
from deepfake.metrics import bootstrap, resampling
from deepfake.metrics.classification import at_threshold, auc, proportion_interval
from deepfake.metrics.cllr import cllr, min_cllr
from deepfake.metrics.dcf import act_dcf, min_dcf
from deepfake.metrics.eer import eer, eer_official
from deepfake.metrics.probability import brier, ece, misleading, posterior
from deepfake.metrics.tdcf import min_tdcf_of
from deepfake.metrics.teer import t_eer
from deepfake.metrics.trials import Bools, Trials
from deepfake.scores.table import Scores, is_number

log = logging.getLogger(__name__)
ON_REQUEST: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "eer_official": lambda s, y: eer_official(s, y)[0],
    "act_dcf": act_dcf,
    "cllr": cllr,
    "min_cllr": min_cllr,
}
RATES = ("fpr", "fnr", "accuracy", "balanced_accuracy", "precision", "recall", "f1")
CALIBRATION = ("act_dcf", "cllr", "min_cllr", "ece", "brier", "misleading_bonafide", "misleading_spoof")
TANDEM = ("min_tdcf_legacy", "min_tdcf", "t_eer")
MOST_GROUPS = 200


@dataclass(frozen=True)
class Intervals:
    """How confidence intervals are made; see `deepfake.metrics.bootstrap`.

    Args:
        n: Replicates; 0 for no intervals.
        confidence: Of each interval, between 0 and 1.
        seed: Of the resampling.
        cluster: Column whose values are resampled as wholes (`speaker`, `attack`, any other), None for trials.
        method: `percentile`, or `bca` for bias-corrected and accelerated ones, which take much longer.
        metrics: Of `ON_REQUEST`, those that get an interval too.
    """

    n: int = 1000
    confidence: float = 0.95
    seed: int = 0
    cluster: str | None = None
    method: str = "percentile"
    metrics: tuple[str, ...] = ()

    @property
    def resampling(self) -> dict[str, Any]:
        """What every function of the bootstrap takes."""
        return {"n": self.n, "confidence": self.confidence, "seed": self.seed}

    def of_share(self, share: float, n: int) -> list[float]:
        """Exact interval of a share of n trials."""
        return list(proportion_interval(share, n, self.confidence))

    def of_eer(self, trials: Trials, rate: float) -> list[float] | None:
        """The interval of an EER: bootstrapped, or of no error among the trials of the smaller class where it is 0.

        There is none where none is asked for or a class has but one trial.
        """
        fewest = min(trials.n_bonafide, trials.n_spoof)
        if not self.n or fewest < 2:
            return None
        return list(bootstrap.eer_interval(trials, **self.resampling) if rate else self.of_share(0.0, fewest))


NO_INTERVALS = Intervals(n=0)


def evaluate(
    scores: Scores,
    *,
    threshold: float | None,
    tandem: Tandem | None = None,
    dataset: str,
    partition: str,
    trained_on: Collection[str] = (),
    intervals: Intervals = NO_INTERVALS,
) -> dict[str, Any]:
    """Everything that `metrics.json` says of one partition, a pure function of its scores.

    What cannot be had is `None`, and `notes` says why. Utterances without a label are left out. A column `llr` of the
    scores holds calibrated natural-log likelihood ratios, from which the metrics of calibration are made; without it
    the scores are taken as if they were such, and a note says so.

    Args:
        scores: Scored utterances.
        threshold: The threshold carried from dev, `None` for that of the EER on this data (`threshold_source` says
            which was used: `carried`, `eer`, or `None`). Accepted as bona fide: score > threshold.
        tandem: The ASV system, for t-DCF and t-EER.
        dataset: Name of the corpus.
        partition: Name of the partition.
        trained_on: Attacks that the detector was trained on; `by_training` then holds the spoofs of `seen` and `unseen`
            attacks apart.
        intervals: How confidence intervals are made.

    Returns:
        Flat, rates as fractions. `ci` holds `[low, high]` by metric: bootstrapped, but exact for `fpr` and `fnr` where
        trials are not clustered, and for an EER of 0 that of no error among the trials of the smaller class.
        `by_attack` and `by_training` hold `n, eer, eer_official, auc, fpr, fnr` (and `ci` of the EER) of some of the
        spoofs against all bona fide utterances, `fpr` being the share of these spoofs that is accepted. `by_<column>`
        holds the same of the utterances of each speaker, codec ... with their own bona fide utterances, or with all of
        them where there are none of their own (no `ci`, but of bona fide speech alone that of `fnr`);
        `by_attack_and_<column>` the EERs of the attacks within each.

    Raises:
        InputError: The threshold is not finite.
    """
    order, trials = scores.ranked, scores.trials
    llrs, systems = _llrs(scores, order, trials), Column.of(scores.attacks, blank="-")
    attacks = systems.at(order)
    columns = {name: Column.of(values).at(order) for name, values in scores.extras.items() if name != "llr"}
    unlabelled = len(scores) - len(trials)
    notes = [f"{unlabelled} of {len(scores)} utterances have no label and are left out."] if unlabelled else []

    metrics: dict[str, Any] = {"dataset": dataset, "partition": partition}
    metrics |= {"n_bonafide": trials.n_bonafide, "n_spoof": trials.n_spoof}
    metrics |= dict.fromkeys(("eer", "eer_official", "eer_threshold"))
    metrics |= {"threshold": None if threshold is None else float(threshold), "threshold_source": None}
    metrics |= dict.fromkeys(("fpr", "fnr", "auc", *RATES[2:], *TANDEM, "min_dcf", *CALIBRATION))
    metrics |= {"calibrated": "llr" in scores.extras}
    metrics |= {"tdcf_weights": {k: list(w) for k, w in tandem.weights.items()} if tandem else {}}
    metrics |= {"confidence": intervals.confidence if intervals.n else None}
    if trials.n_bonafide and trials.n_spoof:
        metrics |= _discrimination(trials, notes) | (_tandem(trials, tandem, notes) if tandem else {})
        metrics |= _calibration(llrs, metrics["calibrated"], notes)
    else:
        counts = f"{trials.n_bonafide} bona fide and {trials.n_spoof} spoofed utterances"
        false_alarms = "" if trials.n_spoof else "; the share rejected (fnr) is the detector's false-alarm rate"
        notes.append(f"There are {counts}: EER, AUC, costs and calibration need both{false_alarms}.")
    applied = metrics["eer_threshold"] if threshold is None else threshold
    metrics |= _decisions(trials, applied, "eer" if threshold is None else "carried", notes)
    rates = {"fpr": trials.n_spoof, "fnr": trials.n_bonafide} if intervals.n and applied is not None else {}
    metrics["ci"] = {rate: intervals.of_share(metrics[rate], n) for rate, n in rates.items() if n}
    if intervals.n and min(trials.n_bonafide, trials.n_spoof) > 1:
        clusters = _clusters(intervals.cluster, {**columns, "attack": attacks})
        weights = {k: w for k, w in tandem.weights.items() if metrics[k] is not None} if tandem else {}
        metrics["ci"] |= _intervals(trials, llrs, weights, applied, clusters, intervals)
        if metrics["eer"] == 0:
            metrics["ci"]["eer"] = intervals.of_share(0.0, min(trials.n_bonafide, trials.n_spoof))
    elif applied is not None and len(metrics["ci"]) == 1 and intervals.cluster:  # one class alone
        wrong, clusters = (trials.scores > applied) != trials.bonafide, _clusters(intervals.cluster, columns) or []
        bounds = list(resampling.share_interval(wrong, clusters, **intervals.resampling))
        metrics["ci"] = {next(iter(metrics["ci"])): bounds}
    parts, named = Parts(trials, applied, intervals), attacks.groups(~trials.bonafide)
    named = {} if list(named) == ["-"] else named  # no attack has a name
    metrics |= _by_attack(parts, named, trained_on) | _by_condition(parts, named, columns)
    return metrics | {"trials_sha256": trials_hash(scores, systems), "notes": notes}


def _llrs(scores: Scores, order: NDArray[np.intp], trials: Trials) -> Trials:
    """The calibrated log-likelihood ratios of trials where there are any, else the scores as they stand."""
    if "llr" not in scores.extras:
        return trials
    if not all(map(is_number, scores.extras["llr"])) or np.isnan(llrs := np.array(scores.extras["llr"], float)).any():
        raise InputError(
            "the column llr of the scores must hold numbers, natural-log likelihood ratios, and nothing else"
        )
    return Trials.unchecked(llrs[order], trials.bonafide)


def _discrimination(trials: Trials, notes: list[str]) -> dict[str, Any]:
    """What depends on the order of the scores alone."""
    found: dict[str, Any] = {}
    found["eer"], found["eer_threshold"] = eer(trials)
    found["eer_official"], _ = eer_official(trials)
    found["auc"], (found["min_dcf"], _) = auc(trials), min_dcf(trials)
    if found["eer"] > 0.5:
        notes.append(
            f"The EER is above 50 %: the scores may be larger for spoof, the wrong way round. With their sign turned "
            f"(polarity=-1 given, or left out if it was) it is {1 - found['eer']:.2%}."
        )
    if abs(found["eer"] - found["eer_official"]) > 0.005:
        notes.append("The two EERs differ because many scores are equal, or because there are few.")
    return found


def _tandem(trials: Trials, tandem: Tandem, notes: list[str]) -> dict[str, float]:
    """The costs and the t-EER beside an ASV system, those that can be had."""
    asked: dict[str, Callable[[], float]] = {
        name: lambda w=w: min_tdcf_of(trials, **w._asdict())[0] for name, w in tandem.weights.items()
    }
    if (asv := tandem.asv) is not None:
        asked["t_eer"] = lambda: t_eer(trials, None, *asv).value
    found = {}
    for name, compute in asked.items():
        try:
            found[name] = compute()
        except InputError as error:
            notes.append(f"No {name}: {error}.")
    return found


def _calibration(llrs: Trials, calibrated: bool, notes: list[str]) -> dict[str, Any]:
    """What depends on the scores' values, read as natural-log likelihood ratios of bona fide."""
    if not calibrated:
        notes.append(
            "The scores are not calibrated: Cllr, actDCF and the calibration figures take them as if they were "
            "natural-log likelihood ratios."
        )
    prior = float(np.mean(llrs.bonafide))
    p = Trials.unchecked(posterior(llrs.scores, prior_bonafide=prior), llrs.bonafide)
    (misleading_bonafide, misleading_spoof), cost = misleading(llrs), cllr(llrs)
    return {
        "act_dcf": act_dcf(llrs),
        "cllr": cost if np.isfinite(cost) else None,
        "min_cllr": min_cllr(llrs),
        "ece": ece(p),
        "brier": brier(p),
        "misleading_bonafide": misleading_bonafide,
        "misleading_spoof": misleading_spoof,
    }


def _decisions(trials: Trials, threshold: float | None, source: str, notes: list[str]) -> dict[str, Any]:
    """The rates at a threshold, none without one."""
    if threshold is None or not len(trials):
        return {}
    if source == "eer":
        notes.append("No threshold was carried from dev: the rates at the EER threshold of this data flatter it.")
    return at_threshold(trials, None, threshold) | {"threshold_source": source}


def _clusters(name: str | None, columns: Mapping[str, Column]) -> list[str] | None:
    if name is None:
        return None
    if name not in columns or len(columns[name].names) < 2:
        raise InputError(f"bootstrap.cluster={name}: the scores have no such column with two values or more")
    return [columns[name].names[code] for code in columns[name].codes]


def _intervals(
    trials: Trials,
    llrs: Trials,
    weights: Mapping[str, Any],
    threshold: float | None,
    clusters: list[str] | None,
    how: Intervals,
) -> dict[str, list[float]]:
    if unknown := set(how.metrics) - set(ON_REQUEST):
        raise InputError(f"bootstrap.metrics: {sorted(unknown)} are not among {', '.join(ON_REQUEST)}")
    options: dict[str, Any] = how.resampling | {"clusters": clusters}
    statistics = {name: ON_REQUEST[name] for name in how.metrics}
    found: dict[str, tuple[float, float]] = {}
    if how.method == "bca":
        statistics |= {"eer": lambda s, y: eer(s, y)[0], "auc": auc, "min_dcf": lambda s, y: min_dcf(s, y)[0]}
        statistics |= {name: lambda s, y, w=w: min_tdcf_of(s, y, **w._asdict())[0] for name, w in weights.items()}
    elif how.method == "percentile":
        decided = None if clusters is None else threshold  # trials on their own have an exact interval of a rate
        found = dict(bootstrap.intervals(trials, tdcf=weights, threshold=decided, **options))
    else:
        raise InputError(f"bootstrap.method={how.method}: percentile or bca was expected")
    for name, statistic in statistics.items():
        of = llrs if name in CALIBRATION else trials
        try:
            found[name] = resampling.interval(statistic, of, method=how.method, **options)
        except InputError as error:
            log.warning("no interval of %s: %s", name, error)
    return {name: [float(low), float(high)] for name, (low, high) in found.items()}


class Parts(NamedTuple):
    """Metrics of some of the trials, each group of spoofs against bona fide speech.

    Attributes:
        trials: All of them.
        threshold: To decide by, None for none.
        how: How intervals are made.
    """

    trials: Trials
    threshold: float | None
    how: Intervals

    def entry(self, spoof: Bools, bonafide: Bools | None = None) -> dict[str, Any]:
        """Some of the spoofs against all bona fide utterances, or against some of them and then without intervals."""
        against = self.trials.bonafide if bonafide is None else bonafide
        spoofs, others = self.trials.scores[spoof], self.trials.scores[against]
        found: dict[str, Any] = {"n": len(spoofs)} | dict.fromkeys(("eer", "eer_official", "auc", "fpr", "fnr"))
        found["ci"] = {}
        if len(spoofs) and len(others):
            part = Trials.of_classes(others, spoofs)
            found |= {"eer": eer(part)[0], "eer_official": eer_official(part)[0], "auc": auc(part)}
            if bonafide is None and (bounds := self.how.of_eer(part, found["eer"])):
                found["ci"] = {"eer": bounds}
        if self.threshold is not None:
            found["fpr"] = float(np.mean(spoofs > self.threshold)) if len(spoofs) else None
            found["fnr"] = float(np.mean(others <= self.threshold)) if len(others) else None
            if not self.trials.n_spoof and self.how.n and (rate := found["fnr"]) is not None:
                found["ci"] = {"fnr": self.how.of_share(rate, len(others))}
        return found

    def eer(self, spoof: Bools, bonafide: Bools) -> float | None:
        """Of some of the spoofs against some of the bona fide utterances."""
        part = Trials.of_classes(self.trials.scores[bonafide], self.trials.scores[spoof])
        return eer(part)[0] if part.n_bonafide and part.n_spoof else None


def _by_attack(parts: Parts, named: Mapping[str, Bools], trained_on: Collection[str]) -> dict[str, Any]:
    """`by_attack` and `by_training`, from the spoofs of each attack."""
    spoof = ~parts.trials.bonafide
    seen = np.any([np.zeros_like(spoof), *(mask for name, mask in named.items() if name in trained_on)], axis=0)
    split = {"seen": seen, "unseen": spoof & ~seen}
    split = split if trained_on and all(mask.any() for mask in split.values()) else {}
    return {
        "by_attack": {name: parts.entry(mask) for name, mask in named.items()},
        "by_training": {
            name: {**parts.entry(mask), "attacks": [a for a, of in named.items() if (of & mask).any()]}
            for name, mask in split.items()
        },
    }


def _by_condition(parts: Parts, named: Mapping[str, Bools], columns: Mapping[str, Column]) -> dict[str, Any]:
    """`by_<column>` of each further column of the scores, and `by_attack_and_<column>`."""
    found: dict[str, Any] = {}
    bonafide = parts.trials.bonafide
    for name, column in columns.items():
        groups = column.groups(np.ones_like(bonafide))
        many = len(groups) > MOST_GROUPS and not bonafide.all()  # of bona fide speech alone it is quick
        if f"by_{name}" in ("by_attack", "by_training") or len(groups) < 2 or many:
            continue
        own = {value: mask & bonafide for value, mask in groups.items()}
        against = {value: mask if mask.any() else bonafide for value, mask in own.items()}
        found[f"by_{name}"] = {
            value: {"n_bonafide": int(own[value].sum()), **parts.entry(mask & ~bonafide, against[value])}
            for value, mask in groups.items()
        }
        if name != "speaker" and len(named) > 1:
            found[f"by_attack_and_{name}"] = {
                attack: {value: parts.eer(of & mask, against[value]) for value, mask in groups.items()}
                for attack, of in named.items()
            }
    return found
