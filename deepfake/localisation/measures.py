"""What curves over time are worth against the stretches that are known: rates, intervals over files, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepfake.errors import InputError
from deepfake.localisation import segments as timeline
from deepfake.metrics.classification import auc, auc_on, proportion_interval
from deepfake.metrics.eer import carried_threshold, eer, eer_on
from deepfake.metrics.localisation import (
    RESOLUTIONS,
    Stretches,
    boundary_error,
    frame_labels,
    range_eer,
    unit_scores,
)
from deepfake.metrics.ranked import Pool
from deepfake.metrics.resampling import Resampler
from deepfake.metrics.trials import Floats, Trials

Interval = dict[str, float | None]  # value, low, high
FRAME_SECONDS = RESOLUTIONS[0]
VERDICTS = ("REAL", "SUSPICIOUS", "FAKE")
TOUCHING = 1e-6  # seconds


class Heard(NamedTuple):
    """A recording's curve, and the truth.

    Attributes:
        id: Of the utterance.
        edges: Of the frames, in seconds `[L + 1]`.
        p_fake: Of the frames `[L]`.
        spoofed: Stretches of spoof, in order of time, no two touching; none for bona fide.
    """

    id: str
    edges: Floats
    p_fake: Floats
    spoofed: Stretches

    def units(self, resolution: float) -> tuple[Floats, NDArray[np.int64]]:
        """Scores (larger = more bona fide) and labels of its units of time."""
        scores = unit_scores(self.edges, -self.p_fake, resolution=resolution)
        return scores, frame_labels(self.spoofed, resolution=resolution, duration=self.edges[-1])

    def seconds(self) -> tuple[Floats, Floats]:
        """Seconds of bona fide and of spoof in each frame."""
        low, high = self.edges[:-1], self.edges[1:]
        spoof = sum((np.clip(np.minimum(high, b) - np.maximum(low, a), 0, None) for a, b in self.spoofed), low * 0.0)
        return np.maximum(high - low - spoof, 0.0), spoof


def joined(stretches: Stretches) -> list[tuple[float, float]]:
    """The same time in order, as stretches that neither overlap nor touch."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1][1] + TOUCHING:
            start, end = found[-1][0], max(found.pop()[1], end)
        found.append((start, end))
    return found


def dev_threshold(heard: Sequence[Heard]) -> float:
    """The threshold of p_fake at which as large a share of spoofed frames is missed as of bona fide ones is flagged.

    The EER threshold of all frames together, carried as `deepfake.metrics.eer.carried_threshold` carries it to other
    data: a frame is flagged if its p_fake is strictly greater.

    Raises:
        InputError: A class is missing.
    """
    scores, labels = zip(*(h.units(FRAME_SECONDS) for h in heard), strict=True)
    return -carried_threshold(np.concatenate(scores), np.concatenate(labels))


def measured(
    heard: Sequence[Heard], thresholds: Mapping[str, float | None], *, n_bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Measure curves against the known stretches; the layout is that of a partition of `localisation.json`.

    Intervals are percentile intervals of 95 %, of whole files drawn anew with replacement, those that are bona fide,
    spliced and spoofed throughout apart; none where one file is all there is of its kind. Thresholds stay as they are.
    Those of shares of files are exact (`deepfake.metrics.classification.proportion_interval`).

    Args:
        heard: The files.
        thresholds: Of p_fake by name, None where there is none.
        n_bootstrap: Resamples.
        seed: Of them.

    Raises:
        InputError: There is no bona fide or no spoofed speech.
    """
    counts = _counts(heard, n_bootstrap, seed)
    measures: dict[str, Interval] = {}
    for resolution in RESOLUTIONS:
        scores, labels = zip(*(h.units(resolution) for h in heard), strict=True)
        whole, name = Trials(np.concatenate(scores), np.concatenate(labels)), f"{1000 * resolution:.0f}ms"
        drawn = _drawn(Pool(scores, labels, [1 - y for y in labels]), counts)
        measures[f"segment_eer_{name}"] = _interval(eer(whole)[0], drawn[:, 0])
        measures[f"frame_auc_{name}"] = _interval(auc(whole), drawn[:, 1])
    pool = Pool([-h.p_fake for h in heard], *zip(*(h.seconds() for h in heard), strict=True))
    rate, _ = range_eer((h.edges, -h.p_fake, h.spoofed) for h in heard)
    measures["range_eer"] = _interval(rate, _drawn(pool, counts)[:, 0])
    spoof = np.array([bool(h.spoofed) for h in heard])
    files = Pool([[-h.p_fake.max()] for h in heard], list((~spoof)[:, None]), list(spoof[:, None]))
    one, drawn = _drawn(files, np.ones((1, len(heard)))), _drawn(files, counts)
    measures |= {f"file_{name}": _interval(one[0, i], drawn[:, i]) for i, name in enumerate(("eer", "auc"))}
    seconds = np.array([[s.sum() for s in h.seconds()] for h in heard]).sum(axis=0)
    return {
        "n_bonafide": int((~spoof).sum()),
        "n_spoof": int(spoof.sum()),
        "seconds": {"bonafide": float(seconds[0]), "spoof": float(seconds[1])},
        "measures": measures,
        "at": {name: None if t is None else _at(heard, t, counts) for name, t in thresholds.items()},
    }


def _at(heard: Sequence[Heard], threshold: float, counts: NDArray) -> dict[str, Any]:
    """What is found at a threshold of p_fake: frames, boundaries, verdicts of the files."""
    rows, verdicts = [], []
    for h in heard:
        flagged, spoof = h.p_fake > threshold, h.units(FRAME_SECONDS)[1] == 0
        found = timeline.segments(h.edges, h.p_fake, threshold=threshold)
        near = boundary_error([([s[:2] for s in found], h.spoofed)])
        total = near.seconds * near.matched if near.matched else 0.0
        rows.append([(flagged & spoof).sum(), flagged.sum(), spoof.sum(), total, near.matched, near.missed, near.extra])
        verdicts.append(timeline.verdict_of_file(timeline.share_of(found, h.edges[-1])))
    hit, flagged, spoof, total, matched, missed, extra = np.array(rows, dtype=np.float64).T
    measures = {
        "frame_f1": _ratio(2 * hit, flagged + spoof, counts),
        "frame_precision": _ratio(hit, flagged, counts),
        "frame_recall": _ratio(hit, spoof, counts),
        "boundary_seconds": _ratio(total, matched, counts),
        "boundaries_missed": _ratio(missed, matched + missed, counts),
        "boundaries_extra": _ratio(extra, matched + missed, counts),
    }
    told = {}
    fake = np.array([bool(h.spoofed) for h in heard])
    for name, of in (("bonafide", ~fake), ("spoof", fake)):
        n = {v: sum(found == v for found, counted in zip(verdicts, of, strict=True) if counted) for v in VERDICTS}
        told[name] = {v: {"n": k, **_share(k, int(of.sum()))} for v, k in n.items()}
    return {"threshold": threshold, "measures": measures, "verdicts": told}


def _counts(heard: Sequence[Heard], n: int, seed: int) -> NDArray[np.int32]:
    """How often each file stands in each resample `[n, files]`; no resamples where one file is all of its kind.

    Raises:
        InputError: There is no bona fide or no spoofed speech.
    """
    labels = [h.units(FRAME_SECONDS)[1] for h in heard]
    Trials.of(np.zeros(sum(map(len, labels))), np.concatenate(labels))  # without both there is nothing to draw
    file, kind = np.nonzero([[(y == 0).any(), (y == 1).any()] for y in labels])  # what a file holds, as one trial each
    first = np.searchsorted(file, np.arange(len(heard)))
    try:
        drawn = Resampler(kind == 1, [f"file {i}" for i in file]).counts(np.random.default_rng(seed), n)
    except InputError:
        return np.zeros((0, len(heard)), dtype=np.int32)
    return np.array([counts[first] for counts in drawn], dtype=np.int32).reshape(-1, len(heard))


def _drawn(pool: Pool, counts: NDArray) -> Floats:
    """EER and AUC of each resample `[n, 2]`, NaN where a class is missing."""
    points = (pool.roc(c) for c in counts)
    return np.array([(np.nan, np.nan) if p is None else (eer_on(p)[0], auc_on(p)) for p in points]).reshape(-1, 2)


def _ratio(part: Floats, whole: Floats, counts: NDArray) -> Interval:
    """Ratio of two sums over files."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return _interval(part.sum() / whole.sum(), (counts @ part) / (counts @ whole))


def _share(k: int, n: int) -> Interval:
    """Share of files: no file among n does not mean that there are none, which a resample cannot know."""
    if n == 0:
        return {"value": None, "low": None, "high": None}
    low, high = proportion_interval(k / n, n)
    return {"value": k / n, "low": low, "high": high}


def _interval(value: float, replicates: Floats) -> Interval:
    found = replicates[np.isfinite(replicates)]
    low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (None, None)
    return {
        name: None if x is None or not np.isfinite(x) else float(x)
        for name, x in (("value", value), ("low", low), ("high", high))
    }
