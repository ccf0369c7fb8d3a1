"""Measures of p_fake over time against known spoofed stretches: error rates, boundaries, verdicts of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepfake.errors import InputError
from deepfake.localisation.segments import segments, share_of, verdict_of_file
from deepfake.metrics.classification import auc, auc_on, proportion_interval
from deepfake.metrics.eer import carried_threshold, eer, eer_on
from deepfake.metrics.localisation import (
    RESOLUTIONS,
    Stretches,
    boundary_error,
    frame_labels,
    overlaps,
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


class Curve(NamedTuple):
    """p_fake of a recording over time, and its known stretches of spoof.

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
        spoof = overlaps(self.edges, self.spoofed)
        return np.maximum(np.diff(self.edges) - spoof, 0.0), spoof


def merged(stretches: Stretches) -> list[tuple[float, float]]:
    """The same time in order, as stretches that neither overlap nor touch."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1][1] + TOUCHING:
            start, end = found[-1][0], max(found.pop()[1], end)
        found.append((start, end))
    return found


def dev_threshold(curves: Sequence[Curve]) -> float:
    """The threshold of p_fake at which as large a share of spoofed frames is missed as of bona fide ones is flagged.

    The EER threshold of all frames together, carried as `deepfake.metrics.eer.carried_threshold` carries it to other
    data: a frame is flagged if its p_fake is strictly greater.

    Raises:
        InputError: A class is missing.
    """
    scores, labels = zip(*(c.units(FRAME_SECONDS) for c in curves), strict=True)
    return -carried_threshold(np.concatenate(scores), np.concatenate(labels))


def measure(
    curves: Sequence[Curve], thresholds: Mapping[str, float | None], *, n_bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Measure curves against the known stretches; the layout is that of a partition of `localisation.json`.

    Intervals are 95 % percentile intervals of a bootstrap over whole files, stratified: bona fide, spliced and fully
    spoofed files are resampled apart. A stratum of one file has no interval. Thresholds stay fixed. Intervals of shares
    of files are exact (`deepfake.metrics.classification.proportion_interval`).

    Args:
        curves: The files.
        thresholds: Of p_fake by name, None where there is none.
        n_bootstrap: Number of resamples.
        seed: Of the resamples.

    Raises:
        InputError: There is no bona fide or no spoofed speech.
    """
    counts = _counts(curves, n_bootstrap, seed)
    measures: dict[str, Interval] = {}
    for resolution in RESOLUTIONS:
        scores, labels = zip(*(c.units(resolution) for c in curves), strict=True)
        units, name = Trials(np.concatenate(scores), np.concatenate(labels)), f"{1000 * resolution:.0f}ms"
        rates = {f"segment_eer_{name}": eer(units)[0], f"frame_auc_{name}": auc(units)}
        measures |= _with_intervals(rates, Pool(scores, labels, [1 - y for y in labels]), counts)
    rate, _ = range_eer((c.edges, -c.p_fake, c.spoofed) for c in curves)
    durations = [c.seconds() for c in curves]
    by_duration = Pool([-c.p_fake for c in curves], *zip(*durations, strict=True))
    measures |= _with_intervals({"range_eer": rate}, by_duration, counts)
    spoof = np.array([bool(c.spoofed) for c in curves])
    files = Pool([[-c.p_fake.max()] for c in curves], list((~spoof)[:, None]), list(spoof[:, None]))
    whole = _rates(files, np.ones((1, len(curves))))[0]
    measures |= _with_intervals(dict(zip(("file_eer", "file_auc"), whole, strict=True)), files, counts)
    bonafide_seconds, spoof_seconds = np.array([[s.sum() for s in pair] for pair in durations]).sum(axis=0).tolist()
    return {
        "n_bonafide": int((~spoof).sum()),
        "n_spoof": int(spoof.sum()),
        "seconds": {"bonafide": bonafide_seconds, "spoof": spoof_seconds},
        "measures": measures,
        "at": {name: None if t is None else _at(curves, spoof, t, counts) for name, t in thresholds.items()},
    }


def _at(curves: Sequence[Curve], spoofed: NDArray[np.bool_], threshold: float, counts: NDArray) -> dict[str, Any]:
    """Measures at a threshold of p_fake: of frames, of boundaries, and the verdicts of the files."""
    rows, verdicts = [], []
    for c in curves:
        flagged, spoof = c.p_fake > threshold, c.units(FRAME_SECONDS)[1] == 0
        found = segments(c.edges, c.p_fake, threshold=threshold)
        near = boundary_error([([s[:2] for s in found], c.spoofed)])
        total = near.seconds * near.matched if near.matched else 0.0
        rows.append([(flagged & spoof).sum(), flagged.sum(), spoof.sum(), total, near.matched, near.missed, near.extra])
        verdicts.append(verdict_of_file(share_of(found, c.edges[-1])))
    hit, flagged, spoof, total, matched, missed, extra = np.array(rows, dtype=np.float64).T
    return {
        "threshold": threshold,
        "measures": {
            "frame_f1": _ratio(2 * hit, flagged + spoof, counts),
            "frame_precision": _ratio(hit, flagged, counts),
            "frame_recall": _ratio(hit, spoof, counts),
            "boundary_seconds": _ratio(total, matched, counts),
            "boundaries_missed": _ratio(missed, matched + missed, counts),
            "boundaries_extra": _ratio(extra, matched + missed, counts),
        },
        "verdicts": {
            name: {verdict: _share(np.array(verdicts)[files] == verdict) for verdict in VERDICTS}
            for name, files in (("bonafide", ~spoofed), ("spoof", spoofed))
        },
    }


def _counts(curves: Sequence[Curve], n: int, seed: int) -> NDArray[np.int32]:
    """How often each file stands in each resample `[n, files]`; no resamples where one file is all of its kind.

    Raises:
        InputError: There is no bona fide or no spoofed speech.
    """
    labels = [c.units(FRAME_SECONDS)[1] for c in curves]
    Trials.of(np.zeros(sum(map(len, labels))), np.concatenate(labels))  # both classes are needed
    file, kind = np.nonzero([[(y == 0).any(), (y == 1).any()] for y in labels])  # what a file holds, as one trial each
    first = np.searchsorted(file, np.arange(len(curves)))
    try:
        drawn = Resampler(kind == 1, [f"file {i}" for i in file]).counts(np.random.default_rng(seed), n)
    except InputError:
        return np.zeros((0, len(curves)), dtype=np.int32)
    return np.array([counts[first] for counts in drawn], dtype=np.int32).reshape(-1, len(curves))


def _with_intervals(rates: Mapping[str, float], pool: Pool, counts: NDArray) -> dict[str, Interval]:
    """An EER and, if there are two rates, an AUC with the intervals of their resamples."""
    drawn = _rates(pool, counts).T
    return {name: _interval(value, column) for (name, value), column in zip(rates.items(), drawn, strict=False)}


def _rates(pool: Pool, counts: NDArray) -> Floats:
    """EER and AUC of each resample `[n, 2]`, NaN where a class is missing."""
    points = (pool.roc(c) for c in counts)
    return np.array([(np.nan, np.nan) if p is None else (eer_on(p)[0], auc_on(p)) for p in points]).reshape(-1, 2)


def _ratio(part: Floats, whole: Floats, counts: NDArray) -> Interval:
    """Ratio of two sums over files."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return _interval(part.sum() / whole.sum(), (counts @ part) / (counts @ whole))


def _share(counted: NDArray[np.bool_]) -> dict[str, Any]:
    """Number and share of files, with an exact interval: no file among n does not mean that there are none."""
    n, k = len(counted), int(counted.sum())
    low, high = proportion_interval(k / n, n) if n else (None, None)
    return {"n": k, "value": k / n if n else None, "low": low, "high": high}


def _interval(value: float, replicates: Floats) -> Interval:
    found = replicates[np.isfinite(replicates)]
    ends = np.quantile(found, [0.025, 0.975]) if len(found) else (np.nan, np.nan)
    numbers = zip(("value", "low", "high"), (value, *ends), strict=True)
    return {name: float(number) if np.isfinite(number) else None for name, number in numbers}
