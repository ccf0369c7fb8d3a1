"""Scoring a list of utterances with a detector: in `evaluate.py`, in `predict`, and for dev at the end of training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from deepfake.datasets.utterance import Utterance
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.loading.item import Clips, collate
from deepfake.loading.reading import deaths_explained, end_where_memory_is_short
from deepfake.processes import Process
from deepfake.scores.keys import extras_of
from deepfake.scores.table import Scores
from deepfake.terminal import progress


def device_of(name: str) -> torch.device:
    """`auto` is the GPU where there is one, and one for each of several processes."""
    if name == "auto":
        process, n_gpus = Process.here(), torch.cuda.device_count()
        one = f"cuda:{process.local_rank % n_gpus}" if n_gpus and process.n > 1 else "cuda"
        name = one if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={name} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


class Batch(NamedTuple):
    """What came of some utterances, by their indices in a list.

    Attributes:
        index: Those that were scored.
        scores: Their scores.
        errors: Why others could not be.
        seconds: Of speech that was decoded.
    """

    index: list[int]
    scores: list[float]
    errors: dict[int, str]
    seconds: float


class Scoring(NamedTuple):
    """What came of a list of utterances.

    Attributes:
        scores: Those that could be had.
        errors: By index of the utterance, why the others could not.
        seconds: Of speech that was decoded.
    """

    scores: Scores
    errors: dict[int, str]
    seconds: float


def score(detector: Detector, utterances: Sequence[Utterance], **how: Any) -> Scoring:
    """Score utterances, all in this process.

    Args:
        detector: See `scored`.
        utterances: N of them.
        how: Settings of `scored`.

    Raises:
        InputError: No utterance could be scored.
    """
    return put_together(detector, utterances, scored(detector, utterances, range(len(utterances)), **how))


@torch.inference_mode()
def scored(
    detector: Detector,
    utterances: Sequence[Utterance],
    indices: Sequence[int],
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    device: str | torch.device = "cpu",
    clips: str = "first",
    to_end: bool = False,
) -> Iterator[Batch]:
    """Score some of a list of utterances, batch by batch.

    Args:
        detector: In float32 on `device`; it is left there in eval mode.
        utterances: The list.
        indices: Which of them, in this order.
        batch_size: Clips per step, where each is the first of a file.
        num_workers: Loader processes.
        device: Where to compute.
        clips: `first` for the first clip of each, as challenges have it; `whole` for the score of the whole recording
            by `deepfake.detector.Windows`, which `predict` gives.
        to_end: Decode each file to its end, so that damage behind the first clip is noticed.
    """
    detector = detector.to(device).eval()
    n_samples = None if clips == "whole" else detector.n_samples
    loader = DataLoader(
        Clips(utterances, n_samples=n_samples, sample_rate=detector.sample_rate, whole=to_end),
        batch_size=batch_size if n_samples else 1,
        sampler=[(i, None) for i in indices],
        collate_fn=collate,
        num_workers=num_workers,
        worker_init_fn=end_where_memory_is_short,
    )
    with deaths_explained():
        for batch in progress(loader, "scoring") if Process.here().first else loader:
            index, errors = batch["index"].tolist(), dict(batch["errors"])
            values: list[float] = []
            if n_samples is None and index:
                try:
                    values = [detector.score_blocks(batch["waveform"], utterances[index[0]].path)]  # [1, T]
                except InputError as error:
                    errors[index[0]] = str(error)
            elif index:
                values = detector(batch["waveform"].to(device)).double().tolist()
                for i, value in zip(index, values, strict=True):
                    if not math.isfinite(value):
                        errors[i] = f"{utterances[i].path}: the detector's score is {value}, which is not finite"
            good = [(i, value) for i, value in zip(index, values, strict=False) if i not in errors]
            yield Batch([i for i, _ in good], [value for _, value in good], errors, batch["seconds"])


def put_together(detector: Detector, utterances: Sequence[Utterance], batches: Iterable[Batch]) -> Scoring:
    """The scores of a list of utterances, of which each is in one batch, in the order of the list.

    Where the detector is calibrated, a column `llr` holds its log-likelihood ratios.

    Raises:
        InputError: No utterance could be scored.
    """
    values: dict[int, float] = {}
    errors: dict[int, str] = {}
    seconds = 0.0
    for batch in batches:
        values.update(zip(batch.index, batch.scores, strict=True))
        errors.update(batch.errors)
        seconds += batch.seconds
    if not values:
        raise InputError(f"none of the {len(utterances)} files could be scored; the first: {errors[min(errors)]}")
    rows = sorted(values)
    listed, found = [utterances[i] for i in rows], np.array([values[i] for i in rows])
    extras = extras_of(listed)
    if (calibration := detector.calibration) is not None:
        extras["llr"] = [repr(float(llr)) for llr in calibration.llr(found)]
    scores = Scores([u.id for u in listed], [u.label for u in listed], [u.attack for u in listed], found, extras)
    return Scoring(scores, dict(sorted(errors.items())), seconds)
