"""Faithfulness of explanation methods: against known splices, against the detector, and against controls."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake.datasets.corpus import Segments
from deepfake.datasets.utterance import BONAFIDE, SPOOF, Utterance
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.explain.baseline import refilled, require_filling
from deepfake.explain.clip import Clip
from deepfake.explain.controls import Loudness, Random
from deepfake.explain.map import Map
from deepfake.explain.method import Method
from deepfake.faithfulness import pointing, sanity, seams
from deepfake.faithfulness.deletion import Blocks, areas, at_random
from deepfake.faithfulness.infidelity import infidelity, max_sensitivity
from deepfake.metrics.classification import auc
from deepfake.metrics.localisation import Stretches, frame_labels
from deepfake.metrics.ranked import Pool
from deepfake.runs import provenance
from deepfake.terminal import progress

CONTROLS = ("random", "loudness")
Row = dict[str, float]  # of a map, by measure
Units = tuple[NDArray, NDArray]  # of a file: evidence for spoof, and labels (1 = bona fide, 0 = spoof)


def measure(
    detector: Detector,
    utterances: Sequence[Utterance],
    methods: Mapping[str, Method],
    *,
    segments: Segments | None = None,
    seed: int = 0,
    n_bootstrap: int = 1000,
    n_slow: int = 15,
    steps: int = 10,
    fillings: Sequence[str] = ("noise", "silence", "reversed"),
) -> dict[str, Any]:
    """Measure explanation methods, and the controls `random` and `loudness`, on the clips of a corpus.

    The measures are those of `deepfake.faithfulness.report.MEASURES`, each the mean over the files for which it can be
    computed, with a percentile bootstrap interval of 95 % over files. Those relative to random order are means of the
    differences within files.

    Args:
        detector: In eval mode.
        utterances: Bona fide and spoofed.
        methods: By name.
        segments: Known spoofed stretches by utterance id, an empty list where there is none; None if unknown.
        seed: Of all random draws.
        n_bootstrap: Resamples of the files.
        n_slow: Number of files for sensitivity and sanity, which run each method six more times; evenly spaced.
        steps: Of the curves of deletion and insertion.
        fillings: Replacements of what is deleted, of `deepfake.explain.baseline.FILLINGS`; infidelity takes the first.
            Without any, deletion, insertion and infidelity are skipped, which take most of the time of a slow detector.

    Returns:
        `methods`: by name, controls last, `measures` (by name `value`, `low`, `high`, `n`), `warnings` (sentences);
        `recommended`: the method that should be the default by these results, or None; `notes`; counts and settings.

    Raises:
        InputError: A method has the name of a control, a filling is unknown, no file can be used, or no method can
            explain the detector.
    """
    for filling in fillings:
        require_filling("fillings", filling)
    if taken := set(methods) & set(CONTROLS):
        raise InputError(f"explain: {taken.pop()!r} is the name of a control, which is measured anyway: rename it")
    rows: dict[str, list[Row]] = defaultdict(list)
    units: dict[str, list[Units]] = defaultdict(list)
    notes: dict[str, list[str]] = defaultdict(list)
    slow = set(np.linspace(0, len(utterances) - 1, min(n_slow, len(utterances))).astype(int).tolist())
    used = []
    for i, utterance in enumerate(progress(utterances, "measuring explanations")):
        try:
            clip = Clip(detector, provenance.source(utterance.path, detector))
        except InputError as error:
            notes[f"skipped: {error}"].append(utterance.id)
            continue
        used.append(utterance)
        stretches = _stretches(utterance, segments, detector.seconds)
        blocks = {name: Blocks(refilled(clip, name, seed)) for name in fillings}
        for name, method in _with_controls(methods, seed + i).items():
            try:
                began = time.perf_counter()
                map = method.attribute(clip)
                row = {"seconds": time.perf_counter() - began}
            except InputError as error:
                notes[f"{name} is missing for some files: {error}"].append(utterance.id)
                continue
            if stretches is not None:
                units[name].append(_units(map, stretches))
                row |= _localisation(map, stretches, *units[name][-1])
            if "completeness_error" in map.facts:
                row["completeness_error"] = map.facts["completeness_error"]
            for filling, of_clip in blocks.items():
                row |= _deletion(of_clip, map, filling, steps=steps, seed=seed + i)
            if blocks:
                row["infidelity"] = infidelity(next(iter(blocks.values())), map, seed=seed + i)
            if i in slow and name != "random":
                row |= _stability(map, clip, method, seed=seed + i)
            rows[name].append(row)
    if not used:
        raise InputError(f"none of the {len(utterances)} files can be explained: {next(iter(notes), 'there are none')}")
    if not any(rows[name] for name in methods):
        raise InputError(f"no method can explain this detector: {next(iter(notes), 'none was given')}")
    for name, row in _seams_of_bona_fide(detector, utterances, methods, seed):
        rows[name].append(row)
    by_method = {}
    for name in [*methods, *CONTROLS]:
        measures = _summary(rows[name], units[name], n_bootstrap, seed)
        by_method[name] = {"measures": measures, "warnings": [] if name in CONTROLS else _warnings(measures)}
    return {
        "n_bonafide": sum(u.label == BONAFIDE for u in used),
        "n_spoof": sum(u.label == SPOOF for u in used),
        "methods": by_method,
        "recommended": recommended({name: by_method[name] for name in methods}),
        "notes": [f"{note} ({len(ids)} files, the first {ids[0]})" for note, ids in notes.items()],
        "settings": {"seed": seed, "steps": steps, "fillings": list(fillings), "n_slow": len(slow), "n": n_bootstrap},
    }


def _with_controls(methods: Mapping[str, Method], seed: int) -> dict[str, Method]:
    return {**methods, "random": Random(seed=seed), "loudness": Loudness()}


def _stretches(utterance: Utterance, segments: Segments | None, seconds: float) -> Stretches | None:
    """The known spoofed stretches; one without an end lasts to the end of the detector's clip."""
    known = None if segments is None else segments.get(utterance.id)
    return None if known is None else [(start, end if end < math.inf else seconds) for start, end, _ in known]


def _units(map: Map, stretches: Stretches) -> Units:
    """Smoothed evidence and labels of the units of time."""
    labels = frame_labels(stretches, resolution=pointing.RESOLUTION, duration=map.seconds[-1])
    return pointing.by_unit(map, seconds=pointing.SMOOTHING), labels


def _localisation(map: Map, stretches: Stretches, smooth: NDArray, labels: NDArray) -> Row:
    """AUC, pointing game and seams of a map with known spoofed stretches."""
    row: Row = {}
    if 0 < labels.sum() < len(labels):
        row |= {
            "localisation_auc": auc(-pointing.by_unit(map), labels),
            "localisation_auc_smooth": auc(-smooth, labels),
        }
        row["pointing"], row["pointing_chance"] = pointing.points_at(map, stretches)
    near, duration = seams.NEAR_SECONDS, map.seconds[-1]
    if inside := [t for stretch in stretches for t in stretch if near < t < duration - near]:
        row["seams_of_fakes"], row["seams_of_fakes_time"] = seams.shares_near(map, inside)
    return row


def _deletion(blocks: Blocks, map: Map, filling: str, *, steps: int, seed: int) -> Row:
    """Deletion and insertion with one filling, also relative to random order."""
    own = areas(blocks, map, steps=steps, seed=seed)
    chance = at_random(blocks, map, steps=steps, seed=seed)
    row: Row = {}
    for name in ("deletion", "insertion", "margin"):
        row[f"{name}_{filling}"] = getattr(own, name)
        row[f"{name}_{filling}_minus_random"] = getattr(own, name) - getattr(chance, name)
    return row


def _stability(map: Map, clip: Clip, method: Method, *, seed: int) -> Row:
    """Sensitivity to noise, and the sanity check."""
    row: Row = {"max_sensitivity": max_sensitivity(method, clip, seed=seed)}
    for stage, share in sanity.STAGES.items():
        other = Clip(sanity.randomised(clip.detector, share, seed=seed), clip.source)
        row[f"sanity_{stage}"] = sanity.rank_correlation(map, method.attribute(other))
        row[f"sanity_{stage}_unsigned"] = abs(row[f"sanity_{stage}"])
    return row


def _seams_of_bona_fide(
    detector: Detector, utterances: Sequence[Utterance], methods: Mapping[str, Method], seed: int
) -> Iterator[tuple[str, Row]]:
    """By method, how much of a map lies at the seams, of each bona fide clip with a stretch of the next one."""
    real = [(i, u) for i, u in enumerate(utterances) if u.label == BONAFIDE]
    for (i, host), (_, guest) in zip(real, real[1:] + real[:1], strict=True):
        if host is guest:
            continue
        try:
            clips = [provenance.source(u.path, detector) for u in (host, guest)]
            waveform, at = seams.spliced(*clips, sample_rate=detector.sample_rate, seed=seed + i)
            clip = Clip(detector, waveform)
        except InputError:
            continue
        for name, method in _with_controls(methods, seed + i).items():
            try:
                share, time_share = seams.shares_near(method.attribute(clip), at)
            except InputError:
                continue
            yield name, {"seams_of_bona_fide": share, "seams_of_bona_fide_time": time_share}


def _summary(rows: Sequence[Row], units: Sequence[Units], n: int, seed: int) -> dict[str, Any]:
    """Measures with intervals, by name; those without a finite value are left out."""
    names = dict.fromkeys(name for row in rows for name in row)
    measures = {name: _mean([row[name] for row in rows if name in row], n, seed) for name in names}
    if units:
        measures["localisation_auc_pooled"] = _pooled_auc(units, n, seed)
    return {name: found for name, found in measures.items() if found is not None}


def _mean(found: Sequence[float], n: int, seed: int) -> dict[str, Any] | None:
    """Mean of the finite values, and its percentile interval."""
    numbers = np.array([x for x in found if math.isfinite(x)])
    if not len(numbers):
        return None
    draws = np.random.default_rng(seed).integers(len(numbers), size=(n, len(numbers)))
    return _interval(float(numbers.mean()), numbers[draws].mean(axis=1), len(numbers))


def _pooled_auc(units: Sequence[Units], n: int, seed: int) -> dict[str, Any] | None:
    """AUC of the units of all files, and its percentile interval over files."""
    evidence, labels = zip(*units, strict=True)
    files, pool = len(units), Pool([-e for e in evidence], labels, [1 - y for y in labels])
    value = pool.auc(np.ones(files))
    if not math.isfinite(value):
        return None
    rng = np.random.default_rng(seed)
    counts = (np.bincount(rng.integers(files, size=files), minlength=files) for _ in range(n))
    return _interval(value, np.array([pool.auc(c) for c in counts]), files)


def _interval(value: float, replicates: NDArray, n: int) -> dict[str, Any]:
    low, high = np.nanquantile(replicates, [0.025, 0.975]).tolist() if n > 1 else (None, None)
    return {"value": value, "low": low, "high": high, "n": n}


def passes_sanity(measures: Mapping[str, Any]) -> bool | None:
    """Whether the maps depend on the detector's weights; None: not measured.

    The mean absolute rank correlation has to be below 0.3 with the weights of all layers randomised. Absolute, since
    other weights may turn the sign of the evidence, and a map that only shows the clip would average out.
    """
    found = measures.get(f"sanity_{list(sanity.STAGES)[-1]}_unsigned")
    return None if found is None else found["value"] < sanity.PASSES_BELOW


def beats_random(measures: Mapping[str, Any]) -> bool | None:
    """Whether deletion and its margin to insertion are better than random order with every filling; None: not measured.

    The intervals have to exclude zero. Deletion alone is not enough: loudness passes it with some fillings.
    """
    deletion, margin = (_minus_random(measures, what) for what in ("deletion", "margin"))
    if not deletion or any(m["low"] is None for m in deletion + margin):
        return None
    return all(m["high"] < 0 for m in deletion) and all(m["low"] > 0 for m in margin)


def recommended(methods: Mapping[str, Any]) -> str | None:
    """The method that localises best, or else deletes best, of those that pass sanity and beat random order."""

    def merit(name: str) -> tuple[float, float]:
        measures = methods[name]["measures"]
        auc = measures.get("localisation_auc_smooth", {"value": 0.0})["value"]
        return auc, -float(np.mean([m["value"] for m in _minus_random(measures, "deletion")]))

    passed = [n for n, m in methods.items() if passes_sanity(m["measures"]) and beats_random(m["measures"])]
    return max(passed, key=merit, default=None)


def _minus_random(measures: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    """Of each filling."""
    return [m for name, m in measures.items() if name.startswith(f"{what}_") and name.endswith("_minus_random")]


def _warnings(measures: Mapping[str, Any]) -> list[str]:
    found = []
    if passes_sanity(measures) is False:
        found.append(
            "Fails the sanity check: with randomised weights the map stays much the same, so it shows the clip only."
        )
    if beats_random(measures) is False:
        found.append("Deletion and insertion by this map are not better than in random order with every filling.")
    return found
