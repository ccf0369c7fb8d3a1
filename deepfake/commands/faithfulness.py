"""The faithfulness of a run's explanations on a corpus: from its detector to a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from deepfake.commands.outcome import Outcome
from deepfake.datasets.corpus import Corpus
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.explain.method import Method, supported
from deepfake.faithfulness import measure as faithfulness
from deepfake.faithfulness import report
from deepfake.runs.environment import environment, environment_rows
from deepfake.runs.folder import RunFolder


def measure_run(
    run: str,
    corpus: Corpus,
    partition: str,
    methods: Mapping[str, Method],
    *,
    quick: bool,
    output: str | None,
    device: torch.device,
) -> Outcome:
    """Measure methods on a partition; see `deepfake.faithfulness.measure.measure`.

    Args:
        run: Run folder or detector file.
        corpus: The corpus.
        partition: Of the corpus.
        methods: By name.
        quick: Skip what needs many forward passes (deletion, insertion, infidelity, sensitivity, sanity).
        output: Folder to write; None for `faithfulness` in the run's, where explanations of that run find warnings.
        device: Where to compute.
    """
    detector = Detector.load(run).to(device)
    less = {"fillings": (), "n_slow": 0} if quick else {}
    methods = supported(methods, detector)
    utterances, segments = corpus.select(partition, 0), corpus.segments(partition)
    result = faithfulness.measure(detector, utterances, methods, segments=segments, **less)
    folder = Path(output or RunFolder.of(run).faithfulness.path)
    about = {"detector": Path(run).absolute(), "corpus": f"{corpus.name}, partition {partition}"}
    about |= environment_rows(environment(sys.argv, device, None))
    report.write(folder, result, title=f"explanations on {corpus.name}", provenance=about)
    return Outcome(result, folder, report.table(result))


def warnings_of(run: str) -> dict[str, list[str]]:
    """By method, what its faithfulness for this run warns of; empty where it was not measured.

    Raises:
        InputError: The run's `faithfulness.json` is not one.
    """
    path = RunFolder.of(run).faithfulness.faithfulness
    if not path.is_file():
        return {}
    try:
        methods = json.loads(path.read_text(encoding="utf-8"))["methods"]
        return {name: [str(w) for w in method["warnings"]] for name, method in methods.items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a measurement of explanations: {error}") from error
