"""How far explanations can be trusted: each method against known splices, against the detector, and beside controls."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
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
from deepfake.metrics.ranked import Pool
from deepfake.runs import provenance
from deepfake.terminal import progress

log = logging.getLogger(__name__)
CONTROLS = ("random", "loudness")
Values = dict[str, dict[str, dict[int, float]]]  # by method, measure, file


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
    """Measure explanation methods, and the controls `random` and `loudness` beside them, on the clips of a corpus.

    What is measured stands in `deepfake.faithfulness.report.MEASURES`. Each measure is a mean over the files
    for which it can be taken, with a percentile bootstrap interval of 95 % over files; what is held against random
    order is the mean of the differences within files.

    Args:
        detector: In eval mode.
        utterances: Bona fide and spoofed.
        methods: By name.
        segments: Stretches known to be spoofed by utterance id, an empty list where there is none; None: not known.
        seed: Of all that is drawn.
        n_bootstrap: Resamples of the files.
        n_slow: Files on which sensitivity and sanity are measured, which take each method six times more; drawn evenly.
        steps: Of the curves of deletion and insertion.
        fillings: That take the place of what is deleted, of `deepfake.explain.baseline.FILLINGS`; infidelity is
            measured with the first. None at all: deletion, insertion and infidelity are left out, which take most of
            the time of a slow detector.

    Returns:
        `methods`: by name, controls last, `measures` (by name `value`, `low`, `high`, `n`), `warnings` (sentences);
        `recommended`: the method to be the default by these figures, or None; `notes`; counts and settings.

    Raises:
        InputError: A method has the name of a control, a filling is none, no file can be used, or no method can
            explain the detector.
    """
    for filling in fillings:
        require_filling("fillings", filling)
    if taken := set(methods) & set(CONTROLS):
        raise InputError(f"explain: {taken.pop()!r} is the name of a control, which stands beside every method anyway")
    values: Values = defaultdict(lambda: defaultdict(dict))
    notes: dict[str, list[str]] = defaultdict(list)
    pools: dict[str, dict[int, tuple[NDArray, NDArray]]] = defaultdict(dict)
    slow = {int(i) for i in np.linspace(0, len(utterances) - 1, min(n_slow, len(utterances)))}
    used = []
    for i, utterance in enumerate(progress(utterances, "measuring explanations")):
        try:
            clip = Clip(detector, provenance.source(utterance.path, detector))
        except InputError as error:
            notes[f"passed over: {error}"].append(utterance.id)
            continue
        used.append(utterance)
        known = None if segments is None else segments.get(utterance.id)
        clip_end = detector.n_samples / detector.sample_rate
        stretches = None if known is None else [(start, end if end < math.inf else clip_end) for start, end, _ in known]
        blocks = {name: Blocks(refilled(clip, name, seed)) for name in fillings}
        everyone = {**methods, "random": Random(seed=seed + i), "loudness": Loudness()}
        for name, method in everyone.items():
            found = values[name]
            try:
                began = time.perf_counter()
                map = method.attribute(clip)
                found["seconds"][i] = time.perf_counter() - began
            except InputError as error:
                notes[f"{name} is missing for some files: {error}"].append(utterance.id)
                continue
            if stretches is not None:
                evidence, labels = pointing.by_unit(map, seconds=pointing.SMOOTHING), pointing.labels(map, stretches)
                pools[name][i] = evidence, labels
                _localise(found, i, map, stretches, labels, evidence)
            if "completeness_error" in map.facts:
                found["completeness_error"][i] = map.facts["completeness_error"]
            for filling, cells in blocks.items():
                _delete(found, i, cells, map, filling, steps=steps, seed=seed + i)
            if blocks:
                found["infidelity"][i] = infidelity(next(iter(blocks.values())), map, seed=seed + i)
            if i in slow and name != "random":
                found["max_sensitivity"][i] = max_sensitivity(method, clip, seed=seed + i)
                for stage, share in sanity.STAGES.items():
                    other = Clip(sanity.redrawn(detector, share, seed=seed + i), clip.source)
                    correlation = sanity.rank_correlation(map, method.attribute(other))
                    found[f"sanity_{stage}"][i] = correlation
                    found[f"sanity_{stage}_unsigned"][i] = abs(correlation)
    if not used:
        raise InputError(f"none of the {len(utterances)} files can be explained: {next(iter(notes), 'there are none')}")
    if not any(values[name]["seconds"] for name in methods):
        raise InputError(f"no method can explain this detector: {next(iter(notes), 'none was given')}")
    _seam_control(values, detector, utterances, methods, seed)
    return _result(values, pools, methods, used, notes, n_bootstrap=n_bootstrap, seed=seed) | {
        "settings": {"seed": seed, "steps": steps, "fillings": list(fillings), "n_slow": len(slow), "n": n_bootstrap}
    }


def _localise(found, i: int, map: Map, stretches, labels: NDArray, evidence: NDArray) -> None:
    """AUC, pointing game and seams of one clip whose stretches are known."""
    if 0 < labels.sum() < len(labels):
        for name, units in (("", pointing.by_unit(map)), ("_smooth", evidence)):
            found[f"localisation_auc{name}"][i] = _pool([(units, labels)]).auc(np.ones(1))
        hit, chance = pointing.points_at(map, stretches)
        found["pointing"][i], found["pointing_chance"][i] = float(hit), chance
    duration = map.seconds[-1]
    inside = [t for stretch in stretches for t in stretch if seams.NEAR_SECONDS < t < duration - seams.NEAR_SECONDS]
    if inside:
        found["seams_of_fakes"][i] = seams.share_near(map, inside)
        found["seams_of_fakes_time"][i] = seams.time_near(duration, inside)


def _delete(found, i: int, blocks: Blocks, map: Map, filling: str, *, steps: int, seed: int) -> None:
    """Deletion and insertion with one filling, and how far they are from random order."""
    own = areas(blocks, map, steps=steps, seed=seed)
    chance = at_random(blocks, map, steps=steps, seed=seed)
    for name in ("deletion", "insertion", "margin"):
        found[f"{name}_{filling}"][i] = getattr(own, name)
        found[f"{name}_{filling}_minus_random"][i] = getattr(own, name) - getattr(chance, name)


def _seam_control(
    values: Values, detector: Detector, utterances: Sequence[Utterance], methods: Mapping[str, Method], seed: int
) -> None:
    """Splice each bona fide clip with the next one, and see how much of a map lies at the seams."""
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
        for name, method in {**methods, "random": Random(seed=seed + i), "loudness": Loudness()}.items():
            try:
                map = method.attribute(clip)
            except InputError:
                continue
            values[name]["seams_of_bona_fide"][i] = seams.share_near(map, at)
            values[name]["seams_of_bona_fide_time"][i] = seams.time_near(clip.duration, at)


def _result(values: Values, pools, methods, used, notes, *, n_bootstrap: int, seed: int) -> dict[str, Any]:
    by_method: dict[str, Any] = {}
    for name in [*methods, *CONTROLS]:
        measures = {measure: _mean(list(of.values()), n_bootstrap, seed) for measure, of in values[name].items()}
        if name in pools:
            measures["localisation_auc_pooled"] = _pooled(pools[name].values(), n_bootstrap, seed)
        by_method[name] = {"measures": {k: m for k, m in measures.items() if m is not None}}
        by_method[name]["warnings"] = [] if name in CONTROLS else _warnings(by_method[name]["measures"])
    return {
        "n_bonafide": sum(u.label == BONAFIDE for u in used),
        "n_spoof": sum(u.label == SPOOF for u in used),
        "methods": by_method,
        "recommended": recommended({name: by_method[name] for name in methods}),
        "notes": [f"{note} ({len(ids)} files, the first {ids[0]})" for note, ids in notes.items()],
    }


def _mean(found: Sequence[float], n: int, seed: int) -> dict[str, Any] | None:
    """Mean of what could be measured, and its percentile interval."""
    numbers = np.array([x for x in found if math.isfinite(x)])
    if not len(numbers):
        return None
    draws = np.random.default_rng(seed).integers(len(numbers), size=(n, len(numbers)))
    return _interval(float(numbers.mean()), numbers[draws].mean(axis=1), len(numbers))


def _pool(units: Collection[tuple[NDArray, NDArray]]) -> Pool:
    """Files' units by evidence for spoof, from that and their labels."""
    evidence, labels = zip(*units, strict=True)
    return Pool([-e for e in evidence], labels, [1 - y for y in labels])


def _pooled(units: Collection[tuple[NDArray, NDArray]], n: int, seed: int) -> dict[str, Any] | None:
    files, pool = len(units), _pool(units)
    value = pool.auc(np.ones(files))
    if not math.isfinite(value):
        return None
    rng = np.random.default_rng(seed)
    counts = (np.bincount(rng.integers(files, size=files), minlength=files) for _ in range(n))
    return _interval(value, np.array([pool.auc(c) for c in counts]), files)


def _interval(value: float, replicates: NDArray, n: int) -> dict[str, Any]:
    low, high = np.nanquantile(replicates, [0.025, 0.975]) if n > 1 else (None, None)
    return {
        "value": value,
        "low": low if low is None else float(low),
        "high": high if high is None else float(high),
    } | {"n": n}


def passes_sanity(measures: Mapping[str, Any]) -> bool | None:
    """Whether maps of a detector with other weights are others; None: not measured.

    The mean size of the rank correlation has to be below 0.3 where all layers are re-drawn. Its sign is set aside: with
    other weights the detector may well turn it, and a map that draws the clip, upside down or not, would average out.
    """
    found = measures.get(f"sanity_{list(sanity.STAGES)[-1]}_unsigned")
    return None if found is None else found["value"] < sanity.PASSES_BELOW


def beats_random(measures: Mapping[str, Any]) -> bool | None:
    """Whether deletion and the margin of insertion over it are better than random order with every filling.

    The intervals have to be clear of zero. Deletion alone does not tell: loudness passes it with some fillings. None:
    not measured.
    """
    deletion, margin = (
        [m for name, m in measures.items() if name.startswith(f"{which}_") and name.endswith("_minus_random")]
        for which in ("deletion", "margin")
    )
    if not deletion or any(m["low"] is None for m in deletion + margin):
        return None
    return all(m["high"] < 0 for m in deletion) and all(m["low"] > 0 for m in margin)


def recommended(methods: Mapping[str, Any]) -> str | None:
    """The method that localises best, or else deletes best, of those that pass sanity and beat random order."""
    passed = {
        n: m["measures"] for n, m in methods.items() if passes_sanity(m["measures"]) and beats_random(m["measures"])
    }
    if not passed:
        return None

    def merit(name: str) -> tuple[float, float]:
        deletion = [m["value"] for k, m in passed[name].items() if k.startswith("deletion_") and k.endswith("_random")]
        return passed[name].get("localisation_auc_smooth", {"value": 0.0})["value"], -float(np.mean(deletion))

    return max(passed, key=merit)


def _warnings(measures: Mapping[str, Any]) -> list[str]:
    found = []
    if passes_sanity(measures) is False:
        found.append(
            "Fails the sanity check: the map of a detector with other weights is much the same, so it draws the clip."
        )
    if beats_random(measures) is False:
        found.append("Deletion and insertion in its order are not better than in random order with every filling.")
    return found
