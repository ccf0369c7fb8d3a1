"""What is said of one partition's scores: every metric, its interval, and the same by attack and by condition."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.datasets.protocol import utterance_keys
from deepfake.errors import InputError
from deepfake.evaluation.tandem import Tandem
from deepfake.metrics import bootstrap, resampling
from deepfake.metrics.classification import at_threshold, auc, auc_on, proportion_interval
from deepfake.metrics.cllr import cllr, min_cllr
from deepfake.metrics.dcf import act_dcf, min_dcf, min_dcf_on
from deepfake.metrics.eer import eer, eer_official, eer_official_on, eer_on, official_points, reachable
from deepfake.metrics.probability import brier, ece, misleading, posterior
from deepfake.metrics.tdcf import min_tdcf_of, min_tdcf_on
from deepfake.metrics.teer import t_eer_on
from deepfake.scores.table import Scores

log = logging.getLogger(__name__)
ON_REQUEST: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "eer_official": lambda s, y: eer_official(s, y)[0],
    "act_dcf": act_dcf,
    "cllr": cllr,
    "min_cllr": min_cllr,
}
RATES = ("fpr", "fnr", "accuracy", "balanced_accuracy", "precision", "recall", "f1")
CALIBRATION = ("act_dcf", "cllr", "min_cllr", "ece", "brier", "misleading_bonafide", "misleading_spoof")
MOST_GROUPS = 200
Mask = NDArray[np.bool_]


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


def judge(
    scores: Scores,
    *,
    threshold: float | None,
    tandem: Tandem | None = None,
    dataset: str,
    partition: str,
    trained_on: Collection[str] = (),
    intervals: Intervals | None = None,
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
        intervals: How confidence intervals are made, None for none.

    Returns:
        Flat, rates as fractions. `ci` holds `[low, high]` by metric: bootstrapped, but exact for `fpr` and `fnr` where
        trials are not clustered, and for an EER of 0 that of no error among the trials of the smaller class.
        `by_attack` and `by_training` hold `n, eer, eer_official, auc, fpr, fnr` (and `ci` of the EER) of some of the
        spoofs against all bona fide utterances, `fpr` being the share of these spoofs that is accepted. `by_<column>`
        holds the same (no `ci`) of the utterances of each speaker, codec ... with their own bona fide utterances, or
        with all of them where there are none of their own; `by_attack_and_<column>` the EERs of the attacks within
        each.

    Raises:
        InputError: The threshold is not finite.
    """
    known = np.flatnonzero(scores.labels >= 0)
    order = known[np.argsort(scores.scores[known], kind="stable")]  # once: what sorts sorted scores is quick
    s, y = scores.scores[order], scores.labels[order]
    bonafide, spoof = y == 1, y == 0
    n_bonafide, n_spoof = int(bonafide.sum()), int(spoof.sum())
    both = n_bonafide > 0 and n_spoof > 0
    notes: list[str] = []
    if len(y) < len(scores):
        notes.append(f"{len(scores) - len(y)} of {len(scores)} utterances have no label and are left out.")
    metrics: dict[str, Any] = {"dataset": dataset, "partition": partition, "n_bonafide": n_bonafide, "n_spoof": n_spoof}
    metrics |= dict.fromkeys(("eer", "eer_official", "eer_threshold"))
    metrics |= {"threshold": None if threshold is None else float(threshold), "threshold_source": None}
    metrics |= dict.fromkeys(("fpr", "fnr", "auc", *RATES[2:], "min_tdcf_legacy", "min_tdcf", "t_eer", "min_dcf"))
    metrics |= dict.fromkeys(CALIBRATION) | {"calibrated": "llr" in scores.extras}
    metrics |= {"tdcf_weights": {k: list(w) for k, w in tandem.weights.items()} if tandem else {}}
    metrics |= {"confidence": intervals.confidence if intervals and intervals.n else None}
    if both:
        metrics |= _discrimination(s, y, tandem, notes) | _calibration(_llrs(scores, order), y, notes, metrics)
    else:
        notes.append(f"There are {n_bonafide} bona fide and {n_spoof} spoofed utterances: EER and AUC need both.")
    applied, source = (metrics["eer_threshold"], "eer") if threshold is None else (threshold, "carried")
    if applied is not None and len(y):
        metrics |= at_threshold(s, y, applied) | {"threshold_source": source}
        if source == "eer":
            notes.append("No threshold was carried from dev: the rates at the EER threshold of this data flatter it.")
    systems = Column.of(scores.attacks, blank="-")
    attacks = systems.at(order)
    columns = {name: Column.of(values).at(order) for name, values in scores.extras.items() if name != "llr"}
    metrics["ci"] = {}
    if intervals and intervals.n and applied is not None:
        among = {"fpr": n_spoof, "fnr": n_bonafide}
        metrics["ci"] = {k: _share(metrics[k], n, intervals) for k, n in among.items() if n}
    if intervals and intervals.n and min(n_bonafide, n_spoof) > 1:
        clusters = _clusters(intervals.cluster, {**columns, "attack": attacks})
        weights = {k: w for k, w in tandem.weights.items() if metrics[k] is not None} if tandem else {}
        metrics["ci"] |= _intervals(s, y, _llrs(scores, order), weights, applied, clusters, intervals)
        if metrics["eer"] == 0:
            metrics["ci"]["eer"] = _share(0.0, min(n_bonafide, n_spoof), intervals)

    def entry(chosen: Mask, own: Mask | None = None) -> dict[str, Any]:
        """Some of the spoofs against all bona fide utterances, or against `own`."""
        return _entry(s, y, chosen, bonafide if own is None else own, applied, intervals if own is None else None)

    named = attacks.groups(spoof)
    named = named if list(named) != ["-"] else {}
    metrics["by_attack"] = {name: entry(mask) for name, mask in named.items()}
    seen = np.zeros(len(y), dtype=bool)
    for name in set(trained_on) & set(named):
        seen |= named[name]
    split = {"seen": spoof & seen, "unseen": spoof & ~seen}
    split = split if trained_on and all(mask.any() for mask in split.values()) else {}
    metrics["by_training"] = {
        name: {**entry(mask), "attacks": [a for a, of in named.items() if (of & mask).any()]}
        for name, mask in split.items()
    }
    for name, column in columns.items():
        if f"by_{name}" not in metrics and 1 < len(groups := column.groups(bonafide | spoof)) <= MOST_GROUPS:
            own = {value: mask & bonafide for value, mask in groups.items()}
            against = {value: mask if mask.any() else bonafide for value, mask in own.items()}
            metrics[f"by_{name}"] = {
                value: {"n_bonafide": int(own[value].sum()), **entry(mask & spoof, against[value])}
                for value, mask in groups.items()
            }
            if name != "speaker" and len(named) > 1:
                metrics[f"by_attack_and_{name}"] = {
                    attack: {value: _eer(s, y, of & mask, against[value]) for value, mask in groups.items()}
                    for attack, of in named.items()
                }
    return metrics | {"trials_sha256": trials_hash(scores, systems), "notes": notes}


class Column(NamedTuple):
    """A column of texts as numbers, so that a group of rows is found without comparing texts.

    Attributes:
        names: The texts there are, sorted.
        codes: Of every row `[N]`, which of them it has.
    """

    names: list[str]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, values: Sequence[str], *, blank: str = "") -> Column:
        """The column of these texts, with `blank` for empty ones."""
        names = sorted({text or blank for text in set(values)})
        number = {name: i for i, name in enumerate(names)}
        number |= {"": number[blank]} if blank in number else {}
        return cls(names, np.fromiter(map(number.__getitem__, values), dtype=np.int64, count=len(values)))

    def at(self, rows: NDArray[np.intp]) -> Column:
        """Of these rows, in this order."""
        return Column(self.names, self.codes[rows])

    def groups(self, among: Mask) -> dict[str, Mask]:
        """Some of the rows by value, in order of value; those without one are in no group."""
        counts = np.bincount(self.codes[among], minlength=len(self.names))
        return {name: among & (self.codes == i) for i, name in enumerate(self.names) if counts[i] and name}


def trials_hash(scores: Scores, attacks: Column) -> str:
    """SHA-256 of what was judged: two judgements with the same one are of the same trials, in whatever order.

    Over the number of trials and the names of the attacks, in JSON; then three columns in the order of the ids' bytes:
    the ids without folder and extension (UTF-8, filled up with zeros to the longest), the labels, and which of the
    names each attack is (int32, little end first).
    """
    ids = np.array(list(map(str.encode, utterance_keys(scores.ids))))
    letters = ids.view(np.uint8).reshape(len(ids), -1)
    letters = letters[:, (letters != letters[0]).any(axis=0)]  # those that tell ids apart, often no more than 8
    words = np.zeros((len(ids), 1 + letters.shape[1] // 8), dtype=">u8")
    words.view(np.uint8)[:, : letters.shape[1]] = letters
    first, *others = words.astype(np.uint64).T  # numbers in the order of the bytes
    order = np.lexsort((*reversed(others), first)) if others else np.argsort(first)
    digest = hashlib.sha256(json.dumps([len(ids), *attacks.names]).encode())
    for column in (ids, scores.labels.astype("<i4"), attacks.codes.astype("<i4")):
        digest.update(column[order].tobytes())
    return digest.hexdigest()


def _llrs(scores: Scores, order: NDArray[np.intp]) -> NDArray[np.float64]:
    """The calibrated log-likelihood ratios where there are any, else the scores as they stand."""
    if "llr" not in scores.extras:
        return scores.scores[order]
    llrs = np.array([_number(text) for text in scores.extras["llr"]])[order]
    if np.isnan(llrs).any():
        raise InputError(
            "the column llr of the scores must hold numbers, natural-log likelihood ratios, and nothing else"
        )
    return llrs


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _discrimination(s: ArrayLike, y: ArrayLike, tandem: Tandem | None, notes: list[str]) -> dict[str, Any]:
    """What depends on the order of the scores alone."""
    found: dict[str, Any] = {}
    points = official_points(s, y)
    reached = reachable(points)
    found["eer"], found["eer_threshold"] = eer_on(reached)
    found["eer_official"], _ = eer_official_on(points)
    found["auc"], (found["min_dcf"], _) = auc_on(reached), min_dcf_on(points)
    if found["eer"] > 0.5:
        notes.append(
            f"The EER is above 50 %: the scores may be larger for spoof, the wrong way round. With their sign turned "
            f"(polarity=-1 given, or left out if it was) it is {1 - found['eer']:.2%}."
        )
    if abs(found["eer"] - found["eer_official"]) > 0.005:
        notes.append("The two EERs differ because many scores are equal, or because there are few.")
    if tandem is not None:
        asked: dict[str, Callable[[], float]] = {
            name: lambda w=w: min_tdcf_on(points, **w._asdict())[0] for name, w in tandem.weights.items()
        }
        if (asv := tandem.asv) is not None:
            asked["t_eer"] = lambda: t_eer_on(reached, *asv).value
        for name, compute in asked.items():
            try:
                found[name] = compute()
            except InputError as error:
                notes.append(f"No {name}: {error}.")
    return found


def _calibration(
    llrs: NDArray[np.float64], y: NDArray[np.int64], notes: list[str], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """What depends on the scores' values, read as natural-log likelihood ratios of bona fide."""
    if not metrics["calibrated"]:
        notes.append(
            "The scores are not calibrated: Cllr, actDCF and the calibration figures take them as if they were "
            "natural-log likelihood ratios."
        )
    p = posterior(llrs, prior_bonafide=float(np.mean(y)))
    wrong = misleading(llrs, y)
    cost = cllr(llrs, y)
    return {
        "act_dcf": act_dcf(llrs, y),
        "cllr": cost if np.isfinite(cost) else None,
        "min_cllr": min_cllr(llrs, y),
        "ece": ece(p, y),
        "brier": brier(p, y),
        "misleading_bonafide": wrong.bonafide_rate,
        "misleading_spoof": wrong.spoof_rate,
    }


def _clusters(name: str | None, columns: Mapping[str, Column]) -> list[str] | None:
    if name is None:
        return None
    if name not in columns or len(columns[name].names) < 2:
        raise InputError(f"bootstrap.cluster={name}: the scores have no such column with two values or more")
    return [columns[name].names[code] for code in columns[name].codes]


def _intervals(
    s: NDArray[np.float64],
    y: NDArray[np.int64],
    llrs: NDArray[np.float64],
    weights: Mapping[str, Any],
    threshold: float | None,
    clusters: list[str] | None,
    how: Intervals,
) -> dict[str, list[float]]:
    if unknown := set(how.metrics) - set(ON_REQUEST):
        raise InputError(f"bootstrap.metrics: {sorted(unknown)} are not among {', '.join(ON_REQUEST)}")
    options: dict[str, Any] = {"n": how.n, "confidence": how.confidence, "seed": how.seed, "clusters": clusters}
    statistics = {name: ON_REQUEST[name] for name in how.metrics}
    found: dict[str, tuple[float, float]] = {}
    if how.method == "bca":
        statistics |= {"eer": lambda s, y: eer(s, y)[0], "auc": auc, "min_dcf": lambda s, y: min_dcf(s, y)[0]}
        statistics |= {name: lambda s, y, w=w: min_tdcf_of(s, y, **w._asdict())[0] for name, w in weights.items()}
    elif how.method == "percentile":
        decided = None if clusters is None else threshold  # trials on their own have an exact interval of a rate
        found = dict(bootstrap.intervals(s, y, tdcf=weights, threshold=decided, **options))
    else:
        raise InputError(f"bootstrap.method={how.method}: percentile or bca was expected")
    for name, statistic in statistics.items():
        values = llrs if name in CALIBRATION else s
        try:
            found[name] = resampling.interval(statistic, values, y, method=how.method, **options)
        except InputError as error:
            log.warning("no interval of %s: %s", name, error)
    return {name: [float(low), float(high)] for name, (low, high) in found.items()}


def _entry(
    s: NDArray[np.float64],
    y: NDArray[np.int64],
    spoof: Mask,
    bonafide: Mask,
    threshold: float | None,
    intervals: Intervals | None,
) -> dict[str, Any]:
    spoofs, others = s[spoof], s[bonafide]
    figures: dict[str, Any] = {"n": len(spoofs)} | dict.fromkeys(("eer", "eer_official", "auc", "fpr", "fnr"))
    figures["ci"] = {}
    if len(spoofs) and len(others):
        points = official_points(np.append(others, spoofs), np.arange(len(others) + len(spoofs)) < len(others))
        reached = reachable(points)
        figures |= {"eer": eer_on(reached)[0], "eer_official": eer_official_on(points)[0], "auc": auc_on(reached)}
        if intervals and intervals.n and min(len(spoofs), len(others)) > 1:
            rows = spoof | bonafide
            few = bootstrap.intervals(
                s[rows], y[rows], n=intervals.n, confidence=intervals.confidence, seed=intervals.seed
            )
            errors = figures["eer"] > 0
            fewest = min(len(spoofs), len(others))
            figures["ci"] = {"eer": list(few["eer"]) if errors else _share(0.0, fewest, intervals)}
    if threshold is not None:
        figures["fpr"] = float(np.mean(spoofs > threshold)) if len(spoofs) else None
        figures["fnr"] = float(np.mean(others <= threshold)) if len(others) else None
    return figures


def _share(share: float, n: int, how: Intervals) -> list[float]:
    return list(proportion_interval(share, n, how.confidence))


def _eer(s: NDArray[np.float64], y: NDArray[np.int64], spoof: Mask, bonafide: Mask) -> float | None:
    rows = spoof | bonafide
    return eer(s[rows], y[rows])[0] if spoof.any() and bonafide.any() else None
