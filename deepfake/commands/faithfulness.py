"""The explanations of a run measured on a corpus: from its detector to a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deepfake.datasets.corpus import Corpus
from deepfake.detector import Detector, detector_file
from deepfake.errors import InputError
from deepfake.explain.method import Method, supported
from deepfake.faithfulness import measure as faithfulness
from deepfake.faithfulness import report as faithfulness_report
from deepfake.runs.environment import environment, environment_rows

FILE = "faithfulness.json"


def measure_run(
    run: str,
    corpus: Corpus,
    partition: str,
    methods: Mapping[str, Method],
    *,
    quick: bool,
    output: str | None,
    device: torch.device,
) -> tuple[dict[str, Any], Path]:
    """Measure methods on a partition; see `deepfake.faithfulness.measure.measure`.

    Args:
        run: Run folder or detector file.
        corpus: The corpus.
        partition: Of it.
        methods: By name.
        quick: Leave out what takes many passes (deletion, insertion, infidelity, sensitivity, sanity).
        output: Folder; None for `faithfulness` in the run's, where explanations of that run find their warnings.
        device: Where to compute.

    Returns:
        What stands in `faithfulness.json`, and the folder.
    """
    detector = Detector.load(run).to(device)
    less = {"fillings": (), "n_slow": 0} if quick else {}
    methods = supported(methods, detector)
    utterances, segments = corpus.select(partition, 0), corpus.segments(partition)
    result = faithfulness.measure(detector, utterances, methods, segments=segments, **less)
    folder = Path(output) if output else detector_file(run).parent / "faithfulness"
    facts = environment_rows(environment(sys.argv, device, None))
    about = {"detector": Path(run).absolute(), "corpus": f"{corpus.name}, partition {partition}"}
    faithfulness_report.write(folder, result, title=f"explanations on {corpus.name}", provenance={**about, **facts})
    return result, folder


def warnings_of(run: str) -> dict[str, list[str]]:
    """What speaks against each method for this run, as far as it was measured.

    Raises:
        InputError: The run's `faithfulness.json` is none.
    """
    path = detector_file(run).parent / "faithfulness" / FILE
    if not path.is_file():
        return {}
    try:
        methods = json.loads(path.read_text(encoding="utf-8"))["methods"]
        return {name: [str(w) for w in method["warnings"]] for name, method in methods.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a measurement of explanations: {error}") from error
