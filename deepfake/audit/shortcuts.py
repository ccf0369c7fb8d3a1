"""The shortcut audit: how well each cue alone, and all together, separate bona fide from spoofed speech in a corpus.

A detector trained on a corpus in which a cue separates the classes can rely on that cue, and then fails where the cue
is absent (Müller et al. 2021 for silence in ASVspoof). The audit trains no detector: for each cue it fits a
one-dimensional likelihood ratio to some of the speakers and evaluates it on the others.

**Reading the EERs.** Every utterance is scored by a model that was not fitted to it. An uninformative cue gives 50 % or
slightly more: whatever is over-represented in the training folds is under-represented in the held-out fold, so a ratio
fitted to chance tends to be wrong there, above all in small corpora. An out-of-fold EER above 50 % is therefore chance,
never a cue of reversed sign, since the ratio learns the sign. The EER of a single attack may be higher: the model is
fitted to all attacks, so the cue separates an attack far above 50 %, but in the direction opposite to the others.

**Limits.** The interval covers the sampling of the scored utterances, not that of the training data; of forty
uninformative cues, one is expected to be rated weak. Near chance means that this cue alone, as defined, was not found
to help in a corpus of this size, not that there is no shortcut. A low EER means that a detector could use the shortcut,
not that it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake.audio.measures import MEANINGS, WORDS, cues
from deepfake.datasets.utterance import BONAFIDE, Utterance
from deepfake.errors import InputError
from deepfake.metrics.bootstrap import intervals
from deepfake.metrics.eer import eer
from deepfake.metrics.trials import Trials
from deepfake.terminal import progress

CONFIDENCE = 0.95
FOLDS = 5
STRONG = 0.40  # upper end of the interval
VERDICTS = {
    "near chance": "the 95 % interval reaches 50 %",
    "weak": "the interval lies below 50 %, but not all of it below 40 %",
    "strong": "the whole interval lies below 40 %",
}
TRIVIAL = ("rms_dbfs", "peak_dbfs", "duration_s", "leading_silence_s", "trailing_silence_s", "dc_offset", "top_hz")
PER_BIN, MOST_BINS = 20, 20  # utterances of the smaller class in a bin of the likelihood ratio, and bins
IMPUTED: dict[str, Any] = {"strategy": "median", "add_indicator": True, "keep_empty_features": True}
PER_TREE = 10_000  # utterances that a tree of the forest is fitted to, which bounds the time
FEW_SPEAKERS = "A class has too few speakers to resample: some intervals resample utterances, and may be too narrow."

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Table = dict[str, Floats]
Splits = list[tuple[Any, Any]]  # training and held-out indices of each fold


def measure(utterances: Sequence[Utterance]) -> tuple[Table, dict[int, str]]:
    """Measure all cues of a list of utterances.

    Args:
        utterances: The N utterances.

    Returns:
        Cues by name, `[N]` each, NaN where missing; and, by index, why files could not be read.

    Raises:
        InputError: No file could be read.
    """
    table = {name: np.full(len(utterances), np.nan) for name in MEANINGS}
    errors: dict[int, str] = {}
    for i, utterance in enumerate(progress(utterances, "measuring cues")):
        try:
            for name, value in cues(utterance.path).items():
                table[name][i] = value
        except InputError as error:
            errors[i] = str(error)
    if len(errors) == len(utterances):
        first = next(iter(errors.values()), "there are none")
        raise InputError(f"none of the {len(utterances)} files could be measured; the first: {first}")
    return table, errors


def audit(
    table: Mapping[str, ArrayLike], utterances: Sequence[Utterance], *, seed: int = 0, n_bootstrap: int = 1000
) -> dict[str, Any]:
    """Evaluate every cue alone, and all together, by cross-validation.

    For each cue a likelihood ratio (`log_ratio`) is fitted to all folds but one and scores that one; the scores of all
    folds are pooled, which is sound for log ratios, and give one tie-aware EER with a bootstrap interval, and one per
    attack (against all bona fide utterances). All together: logistic regression and a random forest, on the `TRIVIAL`
    cues and on all cues, in the same folds; also fitted to the partition `train` and evaluated on the others.

    Args:
        table: Cues by name, `[N]` each, NaN where missing, which may be informative itself.
        utterances: The N utterances; those without any cue and those without a label are excluded. No known speaker
            is in two folds.
        seed: Seed of folds, forest and bootstrap.
        n_bootstrap: Bootstrap replicates, stratified by class, and clustered by speaker where speakers are known.

    Returns:
        `cues` and `together`: by name `eer, low, high, verdict, by_attack` (rates as fractions), for a cue also whether
        it is `constant`, its `typical` value in each class (the median) and `n_missing`; `carried`: as `together`, by
        partition; the settings, and `notes`.

    Raises:
        InputError: There is no cue, a cue has another length, or a class has fewer utterances than there are folds.
    """
    values, utterances, notes = _usable(table, utterances)
    y = np.array([u.label for u in utterances]) == BONAFIDE
    own = [u.speaker or f"\0{i}" for i, u in enumerate(utterances)]  # an unknown speaker is one of their own
    speakers = np.unique(np.array(own, dtype=object).astype(str), return_inverse=True)[1]
    splits, grouped = _splits(y, speakers, seed)
    if not grouped:
        known = any(u.speaker for u in utterances)
        why = "The speakers cannot be split over folds" if known else "No speakers are known"
        notes.append(f"{why}: a speaker may be in several folds, and the intervals ignore it.")
    attacks = np.array([u.attack if u.attack not in ("", "-") else "unknown" for u in utterances])
    rates = _Rates(y, speakers if grouped else None, attacks, n_bootstrap, seed, notes)
    single = _alone(values, y, splits, rates)
    together, carried = _together(values, y, np.array([u.partition for u in utterances]), splits, rates)
    return {
        "n_bonafide": int(y.sum()),
        "n_spoof": int((~y).sum()),
        "n_speakers": len(np.unique(speakers)) if grouped else None,
        "folds": len(splits),
        "grouped_by_speaker": grouped,
        "n_bootstrap": n_bootstrap,
        "confidence": CONFIDENCE,
        "seed": seed,
        "cues": single,
        "together": together,
        "carried": carried,
        "notes": notes,
    }


@dataclass(frozen=True)
class _Rates:
    """The error rates of scores of the N utterances.

    Args:
        bonafide: Which utterances are bona fide, `[N]`.
        speakers: Speaker of each utterance, `[N]`; None where the folds are not speaker-disjoint.
        attacks: Attack of each utterance, `[N]`.
        n_bootstrap: Bootstrap replicates.
        seed: Seed of the bootstrap.
        notes: Is given a sentence on intervals that could not be computed as they should.
    """

    bonafide: Bools
    speakers: NDArray[Any] | None
    attacks: NDArray[Any]
    n_bootstrap: int
    seed: int
    notes: list[str]

    def __call__(self, scores: Floats, of: Bools | slice = slice(None)) -> dict[str, Any]:
        """EER, interval, verdict and EER by attack of those of the scores `[N]` that `of` selects."""
        settings = {"n": self.n_bootstrap, "confidence": CONFIDENCE, "seed": self.seed}
        scores, y, attacks = scores[of], self.bonafide[of], self.attacks[of]
        try:
            clusters = None if self.speakers is None else self.speakers[of]
            low, high = intervals(scores, y, clusters=clusters, **settings)["eer"]
        except InputError:  # one speaker is all there is of a class
            low, high = intervals(scores, y, **settings)["eer"]
            if FEW_SPEAKERS not in self.notes:
                self.notes.append(FEW_SPEAKERS)
        among = {name: y | (attacks == name) for name in np.unique(attacks[~y]).tolist()}
        by_attack = {name: eer(scores[some], y[some])[0] for name, some in among.items()}
        return {"eer": eer(scores, y)[0], "low": low, "high": high, "verdict": verdict(high), "by_attack": by_attack}


def _alone(values: Table, y: Bools, splits: Splits, rates: _Rates) -> dict[str, dict[str, Any]]:
    """The rates of each cue by its likelihood ratio, out of fold."""
    single = {}
    for name, column in values.items():
        scores = np.empty(len(y))
        for train, test in splits:
            scores[test] = log_ratio(column[train], y[train], column[test])
        single[name] = rates(scores) | {
            "constant": not _varies(column),
            "typical": {"bonafide": _typical(name, column[y]), "spoof": _typical(name, column[~y])},
            "n_missing": int(np.isnan(column).sum()),
        }
    return single


def _together(
    values: Table, y: Bools, partitions: NDArray[Any], splits: Splits, rates: _Rates
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The rates of cues together: out of fold, and by partition where fitted to `train`."""
    together: dict[str, dict[str, Any]] = {}
    carried: dict[str, dict[str, Any]] = {}
    train = partitions == "train"
    others = [p for p in np.unique(partitions).tolist() if p != "train" and _both(y[partitions == p])]
    for kind, names in {"trivial": [n for n in TRIVIAL if n in values], "all": list(values)}.items():
        if not (names := [n for n in names if _varies(values[n])]):
            continue
        matrix = np.column_stack([values[n] for n in names])  # [N, K]
        for model, scored in MODELS.items():
            scores = np.empty(len(y))
            for some, test in splits:
                scores[test] = scored(matrix[some], y[some], matrix[test], rates.seed)
            together[f"{model}, {kind}"] = rates(scores) | {"cues": names}
            if others and _both(y[train]):
                scores = scored(matrix[train], y[train], matrix, rates.seed)
                for part in others:
                    carried.setdefault(part, {})[f"{model}, {kind}"] = rates(scores, partitions == part)
    return together, carried


def verdict(high: float) -> str:
    """The verdict on a cue by the upper end of its EER's interval, see `VERDICTS`."""
    return "near chance" if high >= 0.5 else "weak" if high >= STRONG else "strong"


def log_ratio(values: Floats, bonafide: Bools, held_out: Floats) -> Floats:
    """Log-likelihood ratio, bona fide over spoof, of held-out values of one cue, fitted without assuming a shape.

    A ratio of histograms over quantiles of the training values, rather than the better of two signs: where all spoofs
    have the same level or duration, bona fide utterances lie on both sides of it, which no monotone score can use. A
    bin holds about 20 utterances of the smaller class (2 to 20 bins); few distinct values have a bin each. Counts are
    smoothed by one pseudo-utterance per bin and class, distributed as both classes together are. Between the medians of
    the bins the ratio is interpolated, so that bins do not cause ties. Missing values have a bin of their own.

    Args:
        values: Values of the training utterances; values that are not finite are missing.
        bonafide: Which training utterances are bona fide; both classes must occur.
        held_out: Values to be scored.

    Shape:
        `[N]`, `[N]`, `[M]` -> `[M]`
    """
    n = np.array([(~bonafide).sum(), bonafide.sum()])
    weights = 0.5 / n[bonafide.astype(int)]
    known = np.isfinite(values)
    edges = _edges(values[known], weights[known], int(np.clip(n.min() // PER_BIN, 2, MOST_BINS)))
    missing = len(edges) + 1
    which = np.where(known, np.searchsorted(edges, values, side="right"), missing)
    counts = np.stack([np.bincount(which[bonafide == c], minlength=missing + 1) for c in (0, 1)])  # [2, bins]
    share = (counts / n[:, None]).mean(axis=0)
    used = np.flatnonzero(share)
    smooth = len(used)  # pseudo-utterances of each class: one per bin
    spoof, real = (counts[:, used] + smooth * share[used]) / (n[:, None] + smooth)
    ratio = np.zeros(missing + 1)
    ratio[used] = np.log(real / spoof)
    scores = np.full(len(held_out), ratio[missing])
    if len(inner := used[used != missing]):
        nodes = [np.median(values[which == i]) for i in inner]
        there = np.isfinite(held_out)
        scores[there] = np.interp(held_out[there], nodes, ratio[inner])
    return scores


def _edges(values: Floats, weights: Floats, n_bins: int) -> Floats:
    """Lower edges of all bins but the first: one bin per distinct value, or weighted quantiles."""
    distinct = np.unique(values)
    if len(distinct) <= n_bins:
        return distinct[1:]
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    at = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, n_bins) / n_bins)
    quantiles = values[order][np.minimum(at, len(order) - 1)]
    repeated = quantiles[1:][quantiles[1:] == quantiles[:-1]]  # values frequent enough for a bin of their own
    return np.unique(np.concatenate([quantiles, np.nextafter(repeated, np.inf)]))


def _logistic(known: Floats, bonafide: Bools, held_out: Floats, seed: int) -> Floats:
    """Log-odds by logistic regression on standardised cues, missing ones imputed by the median and indicated."""
    model = make_pipeline(
        SimpleImputer(**IMPUTED), StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    return model.fit(known, bonafide).decision_function(held_out)


def _forest(known: Floats, bonafide: Bools, held_out: Floats, seed: int) -> Floats:
    """Share of bona fide by a random forest, missing cues as in `_logistic`."""
    forest = RandomForestClassifier(
        100,
        min_samples_leaf=10,
        class_weight="balanced_subsample",
        max_samples=min(len(known), PER_TREE),
        random_state=seed,
    )
    model = make_pipeline(SimpleImputer(**IMPUTED), forest)
    return model.fit(known, bonafide).predict_proba(held_out)[:, 1]


MODELS: dict[str, Callable[[Floats, Bools, Floats, int], Floats]] = {
    "logistic regression": _logistic,
    "random forest": _forest,
}


def _splits(y: Bools, speakers: NDArray[Any], seed: int) -> tuple[Splits, bool]:
    """Training and held-out indices, and whether the folds are speaker-disjoint."""
    n_speakers = len(np.unique(speakers))
    if 1 < n_speakers < len(y):
        folder = StratifiedGroupKFold(min(FOLDS, n_speakers), shuffle=True, random_state=seed)
        splits = list(folder.split(y, y, speakers))
        if all(_both(y[train]) and len(test) for train, test in splits):
            return splits, True
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(y, y)), False


def _usable(
    table: Mapping[str, ArrayLike], utterances: Sequence[Utterance]
) -> tuple[Table, list[Utterance], list[str]]:
    """The cues of the utterances that have both cues and a label, these utterances, and notes on the others."""
    values = {name: np.asarray(column, dtype=np.float64) for name, column in table.items()}
    n = len(utterances)
    if not values or (wrong := {name: len(column) for name, column in values.items() if len(column) != n}):
        raise InputError(f"got {n} utterances and {wrong if values else 'no cue'}: cues of that length were expected")
    labelled = np.array([u.label is not None for u in utterances])
    measured = ~np.all([np.isnan(column) for column in values.values()], axis=0)
    notes = []
    if missing := int(np.sum(~labelled)):
        notes.append(f"{missing} of {n} utterances have no label and are excluded.")
    if missing := int(np.sum(labelled & ~measured)):
        notes.append(f"{missing} of {n} utterances could not be measured and are excluded.")
    kept = np.flatnonzero(labelled & measured).tolist()
    usable = [utterances[i] for i in kept]
    trials = Trials.of(np.zeros(len(kept)), np.array([u.label for u in usable]))
    if (fewest := min(trials.n_bonafide, trials.n_spoof)) < FOLDS:
        raise InputError(f"the smaller class has {fewest} utterances: at least {FOLDS}, one per fold, were expected")
    return {name: column[kept] for name, column in values.items()}, usable, notes


def _both(y: Bools) -> bool:
    """Whether each class has at least two utterances, as fitting and resampling need."""
    return min(y.sum(), (~y).sum()) > 1


def _varies(column: Floats) -> bool:
    return len(np.unique(column)) > 1  # NaN is one value


def _typical(name: str, column: Floats) -> float | None:
    """The median; for a cue that is a name, the most frequent name."""
    if not len(known := column[np.isfinite(column)]):
        return None
    if name in WORDS:
        names, counts = np.unique(known, return_counts=True)
        return float(names[np.argmax(counts)])
    return float(np.median(known))
