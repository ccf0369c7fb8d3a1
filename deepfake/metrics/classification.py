"""What a detector is worth as a classifier: area under the ROC curve, and the rates at one threshold."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv

from deepfake.errors import InputError
from deepfake.metrics.eer import roc
from deepfake.metrics.trials import Labels, Roc, Scored, Trials


def auc(scores: Scored, labels: Labels = None) -> float:
    """Area under the ROC curve: the chance that a bona fide trial scores above a spoof one, a tie counting one half.

    The Mann-Whitney U statistic over the number of pairs.

    Raises:
        InputError: See `deepfake.metrics.eer.eer`.

    >>> auc([3, 1, 1, 0], [1, 1, 0, 0])
    0.875
    """
    return auc_on(roc(scores, labels))


def auc_on(points: Roc) -> float:
    """`auc` on an ROC that is not one of trials.

    >>> auc_on(roc([1, 0], [1, 0]))
    1.0
    """
    far, frr, _ = points
    rejected_spoof = 1 - (far[1:] + far[:-1]) / 2  # at each distinct score: the share below it, and half of its own tie
    return float(np.sum(np.diff(frr) * rejected_spoof))


def at_threshold(scores: Scored, labels: Labels, threshold: float) -> dict[str, float | None]:
    """Rates of the decision `score > threshold`. **The positive class is bona fide.**

    One class alone is allowed (a corpus of spoofed speech only has a false alarm rate); what it leaves undefined is
    `None` and not a number.

    Args:
        scores: Scores `[N]`, larger = more bona fide, or trials.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; None beside trials.
        threshold: A trial is accepted as bona fide if its score is strictly greater.

    Returns:
        `fpr`: share of spoof accepted as bona fide (false alarms of the CM; `None` without spoof).
        `fnr`: share of bona fide rejected (misses; `None` without bona fide).
        `accuracy`: share of all trials decided rightly.
        `balanced_accuracy`: mean of the two classes' own accuracies.
        `precision`: share of the accepted that are bona fide (`None` where nothing is accepted).
        `recall`: share of the bona fide that are accepted, 1 - fnr.
        `f1`: harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN).
        `balanced_accuracy`, `precision` and `f1` are `None` where a class is missing.

    Raises:
        InputError: The threshold is not finite; see also `deepfake.metrics.trials.Trials`.

    >>> rates = at_threshold([3, 1, 2, 0], [1, 1, 0, 0], 1.5)
    >>> rates["fpr"], rates["fnr"], rates["accuracy"]
    (0.5, 0.5, 0.5)
    """
    trials = Trials.of(scores, labels, both_classes=False)
    if not np.isfinite(threshold):
        raise InputError(f"the threshold is {threshold}: a finite number was expected")
    accepted = trials.scores > threshold
    tp, n_bonafide, n_spoof = int(np.sum(accepted & trials.bonafide)), trials.n_bonafide, trials.n_spoof
    fp = int(np.sum(accepted)) - tp
    fn, tn = n_bonafide - tp, n_spoof - fp
    both = n_bonafide > 0 and n_spoof > 0
    return {
        "fpr": fp / n_spoof if n_spoof else None,
        "fnr": fn / n_bonafide if n_bonafide else None,
        "accuracy": (tp + tn) / len(trials),
        "balanced_accuracy": (tp / n_bonafide + tn / n_spoof) / 2 if both else None,
        "precision": tp / (tp + fp) if both and tp + fp else None,
        "recall": tp / n_bonafide if n_bonafide else None,
        "f1": 2 * tp / (2 * tp + fp + fn) if both else None,
    }


def proportion_interval(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share of n independent trials (Clopper and Pearson 1934).

    No error among n trials does not mean that there are none: of 50, 7 % may be wrong.

    Args:
        share: Of the trials, a fraction of n.
        n: Number of trials, at least 1.
        confidence: Between 0 and 1.

    >>> low, high = proportion_interval(0.0, 50)
    >>> low, round(high, 4)
    (0.0, 0.0711)
    """
    k, tail = round(share * n), (1 - confidence) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    return low, float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
