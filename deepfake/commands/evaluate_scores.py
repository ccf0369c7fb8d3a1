"""Score files evaluated, whoever made them: one, several side by side, several fused."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake.atomic import write_atomically
from deepfake.commands.settings import Settings
from deepfake.errors import InputError
from deepfake.evaluation.comparison import Comparison, compare, write_comparison
from deepfake.evaluation.metrics import evaluate
from deepfake.evaluation.output import Evaluation, short_names, write_evaluation
from deepfake.evaluation.sasv import evaluate_sasv, write_sasv
from deepfake.runs.provenance import hash_of_file
from deepfake.scores.formats import read_any
from deepfake.scores.fusion import aligned, fused
from deepfake.scores.sasv import read_sasv
from deepfake.scores.table import Scores, write_scores

log = logging.getLogger(__name__)
OUTPUTS = Path("outputs/evaluations")


def evaluate_file(path: str, settings: Settings, *, threshold: float | None = None, **reading: Any) -> Evaluation:
    """Evaluate a score file, a countermeasure's or a verifier's (`deepfake.scores.sasv.read_sasv`).

    Args:
        path: The file.
        settings: Settings that all commands share.
        threshold: Decision threshold on the scores, None for the EER threshold of these very scores.
        reading: Options of `deepfake.scores.formats.read_any`.

    Raises:
        InputError: It cannot be read, no score has a key, or an option does not apply to a verifier's scores.
    """
    name, subset = Path(path).name, reading.get("subset")
    verifier = read_sasv(path, **{key: value for key, value in reading.items() if key != "subset"})
    how = settings.intervals
    method = None if how.method == "percentile" else how.method
    given: dict[str, Any] = {"threshold": threshold, "subset": subset, "asv_scores": settings.asv_scores}
    for key, value in {**given, "bootstrap.cluster": how.cluster, "bootstrap.method": method}.items():
        if verifier and value is not None:
            raise InputError(f"{key}={value}: {path} has the scores of a verifier, for which there is no {key}")
    scores, sentences = verifier or _read(path, **reading)
    if isinstance(scores, Scores) and not (scores.labels >= 0).any():
        raise InputError(f"{path}: no score has a key; give protocol=FILE, which says which are bona fide and spoof")
    digest = hash_of_file(Path(path))
    output = settings.folder(OUTPUTS / f"{Path(path).stem}-{digest[:8]}").path
    provenance: dict[str, Any] = {"scores": Path(path).absolute(), "SHA-256 of the scores": digest}
    if protocol := reading.get("protocol"):
        file = Path(protocol)
        provenance |= {"protocol": file.absolute(), "SHA-256 of the protocol": hash_of_file(file)}
    if not isinstance(scores, Scores):
        metrics = evaluate_sasv(scores, dataset=name, how=how) | {"read_as": sentences}
        write_sasv(output, metrics, scores, title=name, provenance=provenance)
        return Evaluation(metrics, scores, output)
    if tandem := settings.tandem():
        provenance["ASV"] = tandem.source
    options: dict[str, Any] = {"threshold": threshold, "tandem": tandem, "intervals": how}
    metrics = evaluate(scores, dataset=name, partition=subset or "", **options) | {"read_as": sentences}
    write_evaluation(output, metrics, scores, title=name, provenance=provenance)
    return Evaluation(metrics, scores, output)


def compare_files(paths: Sequence[str], settings: Settings, **reading: Any) -> tuple[Comparison, Path]:
    """Evaluate several score files of the same trials, and test the differences.

    Raises:
        InputError: One cannot be read, or the trials are not the same.
    """
    systems, tandem = aligned(_systems(paths, **reading)), settings.tandem()
    metrics = {
        name: evaluate(scores, threshold=None, tandem=tandem, dataset=name, partition="", intervals=settings.intervals)
        for name, scores in systems.items()
    }
    found = compare(systems, metrics, tandem=tandem, intervals=settings.intervals, seeds=False)
    output = settings.folder(OUTPUTS / _joined(paths)).path
    write_comparison(output, found, systems, title="score files side by side", paths=paths)
    return found, output


def fuse_files(paths: Sequence[str], fit_on: Sequence[str], settings: Settings, **reading: Any) -> Evaluation:
    """Fuse score files by logistic regression and evaluate the result; see `deepfake.scores.fusion.fused`.

    Args:
        paths: Score files to fuse.
        fit_on: The same systems' scores of other trials to fit the weights on, in the same order; empty for
            cross-validation.
        settings: Settings that all commands share.
        reading: Options of `deepfake.scores.formats.read_any`.

    Raises:
        InputError: One cannot be read, the trials are not the same, or there are not as many of both.
    """
    if fit_on and len(fit_on) != len(paths):
        raise InputError(f"fit has {len(fit_on)} score files and fuse {len(paths)}: as many, in the same order")
    scores, fusion = fused(_systems(paths, **reading), _systems(fit_on, **reading) if fit_on else None)
    output = settings.folder(OUTPUTS / f"fusion-{_joined(paths)}")
    write_scores(output.scores, scores)
    write_atomically(output.fusion, json.dumps(fusion, indent=2, ensure_ascii=False) + "\n")
    options = {"tandem": settings.tandem(), "intervals": settings.intervals}
    metrics = evaluate(scores, threshold=0.0, dataset="fusion", partition="", **options)
    metrics["fusion"] = fusion
    metrics["notes"] += [fusion["how"], "Decisions are those of a likelihood ratio of 1."]
    weights = ", ".join(f"{name} {weight:.4g}" for name, weight in fusion["weights"].items())
    provenance = {"systems": ", ".join(str(Path(p).absolute()) for p in paths), "weights": weights}
    write_evaluation(output.path, metrics, scores, title=f"fusion of {len(paths)} systems", provenance=provenance)
    return Evaluation(metrics, scores, output.path)


def _systems(paths: Sequence[str], **reading: Any) -> dict[str, Scores]:
    return {name: _read(path, **reading)[0] for name, path in zip(short_names(paths), paths, strict=True)}


def _read(path: str, **reading: Any) -> tuple[Scores, list[str]]:
    scores, sentences = read_any(path, **reading)
    for sentence in sentences:
        log.info("%s", sentence)
    return scores, sentences


def _joined(paths: Sequence[str]) -> str:
    return "-".join(name.replace("/", "_") for name in short_names(paths))[:100]
