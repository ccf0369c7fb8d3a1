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
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake.audio.measures import MEANINGS, WORDS, cues
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.metrics.bootstrap import intervals
from deepfake.metrics.eer import eer
from deepfake.metrics.trials import Trials
from deepfake.terminal import progress

CONFIDENCE = 0.95
STRONG = 0.40  # upper end of the interval
VERDICTS = {
    "near chance": "the 95 % interval reaches 50 %",
    "weak": "the interval lies below 50 %, but not all of it below 40 %",
    "strong": "the whole interval lies below 40 %",
}
TRIVIAL = ("rms_dbfs", "peak_dbfs", "duration_s", "leading_silence_s", "trailing_silence_s", "dc_offset", "top_hz")
PER_BIN, MOST_BINS = 20, 20  # utterances of the smaller class in a bin of the likelihood ratio, and bins
PER_TREE = 10_000  # utterances that a tree of the forest is fitted to, which bounds the time
FILES_AT_ONCE = 32  # between two steps of the progress bar
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
    batches = [range(len(utterances))[i : i + FILES_AT_ONCE] for i in range(0, len(utterances), FILES_AT_ONCE)]
    for batch in progress(cast(Any, batches), "measuring cues"):
        for i in batch:
            try:
                for name, value in cues(utterances[i].path).items():
                    table[name][i] = value
            except InputError as error:
                errors[i] = str(error)
    if len(errors) == len(utterances):
        first = next(iter(errors.values()), "there are none")
        raise InputError(f"none of the {len(utterances)} files could be measured; the first: {first}")
    return table, errors


def audit(
    table: Mapping[str, ArrayLike],
    labels: Sequence[int | None] | NDArray[Any],
    groups: Sequence[str] | None,
    attacks: Sequence[str],
    *,
    partitions: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    n_bootstrap: int = 1000,
) -> dict[str, Any]:
    """Evaluate every cue alone, and all together, by cross-validation.

    For each cue a likelihood ratio (`log_ratio`) is fitted to all folds but one and scores that one; the scores of all
    folds are pooled, which is sound for log ratios, and give one tie-aware EER with a bootstrap interval, and one per
    attack (against all bona fide utterances). All together: logistic regression and a random forest, on the `TRIVIAL`
    cues and on all cues, in the same folds; with partitions also fitted to `train` and evaluated on the others.

    Args:
        table: Cues by name, `[N]` each, NaN where missing, which may be informative itself. Utterances without any cue
            and those without a label are excluded.
        labels: Label of each utterance: 1 = bona fide, 0 = spoof, None or -1 = unknown.
        groups: Speaker of each utterance, `""` where unknown; no speaker is in two folds. None if none is known.
        attacks: Spoofing system of each utterance.
        partitions: Partition of each utterance: `train`, `dev` or `eval`.
        folds: Number of folds of the cross-validation.
        seed: Seed of folds, forest and bootstrap.
        n_bootstrap: Bootstrap replicates, stratified by class, and clustered by speaker where speakers are known.

    Returns:
        `cues` and `together`: by name `eer, low, high, verdict, by_attack` (rates as fractions), for a cue also whether
        it is `constant`, its `typical` value in each class (the median) and `n_missing`; `carried`: as `together`, by
        partition; the settings, and `notes`.

    Raises:
        InputError: Lengths differ, there is no cue, or a class has fewer utterances than there are folds.
    """
    data, notes = _checked(table, labels, groups, attacks, partitions, folds)
    values, y, speakers = data["values"], data["bonafide"], data["speakers"]
    splits, grouped = _splits(y, speakers, folds, seed)
    if not grouped:
        why = (
            "no speakers are known" if groups is None or not any(groups) else "the speakers cannot be split over folds"
        )
        notes.append(f"{why.capitalize()}: a speaker may be in several folds, and the intervals ignore it.")

    judge = _Judge(y, speakers if grouped else None, data["attacks"], n_bootstrap, seed, notes)
    single = _alone(values, y, splits, judge)
    together, carried = _together(values, y, data["partitions"], splits, judge, seed)
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
class _Judge:
    """What scores of the utterances are worth.

    Args:
        bonafide: Which of the N are.
        speakers: N, None where the folds do not part them.
        attacks: N.
        n_bootstrap: Resamplings.
        seed: Of them.
        notes: Where a sentence goes on intervals that could not be made as they should.
    """

    bonafide: Bools
    speakers: NDArray[Any] | None
    attacks: NDArray[Any]
    n_bootstrap: int
    seed: int
    notes: list[str]

    def __call__(self, scores: Floats, of: Bools) -> dict[str, Any]:
        """EER, interval, verdict and EER by attack of those of the scores `[N]` that `of` `[N]` picks."""
        y, settings = self.bonafide, {"n": self.n_bootstrap, "confidence": CONFIDENCE, "seed": self.seed}
        try:
            clusters = None if self.speakers is None else self.speakers[of]
            low, high = intervals(scores[of], y[of], clusters=clusters, **settings)["eer"]
        except InputError:  # one speaker is all there is of a class
            low, high = intervals(scores[of], y[of], **settings)["eer"]
            if FEW_SPEAKERS not in self.notes:
                self.notes.append(FEW_SPEAKERS)
        by_attack = {
            name: eer(scores[some], y[some])[0]
            for name in np.unique(self.attacks[~y & of]).tolist()
            for some in [of & (y | (self.attacks == name))]
        }
        rate, _ = eer(scores[of], y[of])
        return {"eer": rate, "low": low, "high": high, "verdict": verdict(high), "by_attack": by_attack}


def _alone(values: Table, y: Bools, splits: Splits, judge: _Judge) -> dict[str, dict[str, Any]]:
    """Each cue judged by its likelihood ratio, out of fold."""
    single = {}
    for name, column in values.items():
        scores = np.empty(len(y))
        for train, test in splits:
            scores[test] = log_ratio(column[train], y[train], column[test])
        single[name] = judge(scores, np.ones(len(y), dtype=bool)) | {
            "constant": not _varies(column),
            "typical": {"bonafide": _typical(name, column[y]), "spoof": _typical(name, column[~y])},
            "n_missing": int(np.isnan(column).sum()),
        }
    return single


def _together(
    values: Table, y: Bools, partitions: NDArray[Any], splits: Splits, judge: _Judge, seed: int
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Cues judged together, out of fold and, by partition, as `train` carries over to the others."""
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
                scores[test] = scored(matrix[some], y[some], matrix[test], seed)
            together[f"{model}, {kind}"] = judge(scores, np.ones(len(y), dtype=bool)) | {"cues": names}
            if others and _both(y[train]):
                scores = scored(matrix[train], y[train], matrix, seed)
                for part in others:
                    carried.setdefault(part, {})[f"{model}, {kind}"] = judge(scores, partitions == part)
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
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )
    return model.fit(known, bonafide).decision_function(held_out)


def _forest(known: Floats, bonafide: Bools, held_out: Floats, seed: int) -> Floats:
    """Share of bona fide by a random forest, missing cues as in `_logistic`."""
    model = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        RandomForestClassifier(
            100,
            min_samples_leaf=10,
            class_weight="balanced_subsample",
            max_samples=min(len(known), PER_TREE),
            random_state=seed,
        ),
    )
    return model.fit(known, bonafide).predict_proba(held_out)[:, 1]


MODELS: dict[str, Callable[[Floats, Bools, Floats, int], Floats]] = {
    "logistic regression": _logistic,
    "random forest": _forest,
}


def _splits(y: Bools, speakers: NDArray[Any], folds: int, seed: int) -> tuple[Splits, bool]:
    """Training and held-out indices, and whether the folds part the speakers."""
    n_speakers = len(np.unique(speakers))
    if 1 < n_speakers < len(y):
        folder = StratifiedGroupKFold(min(folds, n_speakers), shuffle=True, random_state=seed)
        splits = list(folder.split(y, y, speakers))
        if all(_both(y[train]) and len(test) for train, test in splits):
            return splits, True
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(y, y)), False


def _checked(
    table: Mapping[str, ArrayLike],
    labels: Sequence[int | None] | NDArray[Any],
    groups: Sequence[str] | None,
    attacks: Sequence[str],
    partitions: Sequence[str] | None,
    folds: int,
) -> tuple[dict[str, Any], list[str]]:
    """Arrays of the usable utterances, and notes on the excluded ones."""
    values = {name: np.asarray(column, dtype=np.float64) for name, column in table.items()}
    n = len(labels)
    given = np.array([-1 if label is None else label for label in labels])
    columns = {"groups": [""] * n if groups is None else groups, "attacks": attacks}
    columns["partitions"] = [""] * n if partitions is None else partitions
    if not values or (wrong := {k: len(v) for k, v in (values | columns).items() if len(v) != n}):
        raise InputError(f"got {n} labels and {wrong if values else 'no cue'}: cues of that length were expected")
    if folds < 2:
        raise InputError(f"folds={folds}: a number from 2 was expected")
    labelled, measured = given != -1, ~np.all([np.isnan(column) for column in values.values()], axis=0)
    kept = labelled & measured
    notes = []
    if missing := int(np.sum(~labelled)):
        notes.append(f"{missing} of {n} utterances have no label and are excluded.")
    if missing := int(np.sum(labelled & ~measured)):
        notes.append(f"{missing} of {n} utterances could not be measured and are left out.")
    bonafide = Trials.of(np.zeros(kept.sum()), given[kept]).bonafide
    if (fewest := min(bonafide.sum(), (~bonafide).sum())) < folds:
        raise InputError(f"the smaller class has {fewest} utterances: at least {folds}, one per fold, were expected")
    texts = {name: np.array([str(text) for text in column], dtype=object)[kept] for name, column in columns.items()}
    own = [speaker or f"\0{i}" for i, speaker in enumerate(texts["groups"])]  # unknown: each its own
    return {
        "values": {name: column[kept] for name, column in values.items()},
        "bonafide": bonafide,
        "speakers": np.unique(np.array(own, dtype=object).astype(str), return_inverse=True)[1],
        "attacks": np.array([a if a not in ("", "-") else "unknown" for a in texts["attacks"]]),
        "partitions": texts["partitions"].astype(str),
    }, notes


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
