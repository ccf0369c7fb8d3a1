"""Scoring a list of utterances with a detector: in `evaluate.py`, in `predict`, and for dev at the end of training."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from deepfake.datasets.utterance import Utterance
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.loading.item import Clips, collate
from deepfake.loading.sampler import SeededSampler
from deepfake.scores.table import COLUMNS, UNKNOWN, Scores
from deepfake.terminal import progress

log = logging.getLogger(__name__)


def device_of(name: str) -> torch.device:
    """`auto` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={name} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


class Scored(NamedTuple):
    """What came of a list of utterances.

    Attributes:
        values: Scores `[N]` in float64, NaN where there is none.
        errors: For each of those its index and the reason.
        seconds: Of speech that was decoded.
    """

    values: np.ndarray
    errors: dict[int, str]
    seconds: float


def scored(detector: Detector, utterances: Sequence[Utterance], **options: Any) -> tuple[Scores, dict[int, str], float]:
    """As `score`, with the scores as a score file holds them: without those that could not be had.

    Where the detector is calibrated, a column `llr` holds its log-likelihood ratios.

    Raises:
        InputError: None could be had.
    """
    values, errors, seconds = score(detector, utterances, **options)
    if len(errors) == len(utterances):
        raise InputError(
            f"none of the {len(utterances)} files could be scored; the first: {next(iter(errors.values()))}"
        )
    kept = [i for i in range(len(utterances)) if i not in errors]
    us = [utterances[i] for i in kept]
    labels = np.array([UNKNOWN if u.label is None else u.label for u in us])
    extras = {"speaker": [u.speaker for u in us]} if any(u.speaker for u in us) else {}
    names = dict.fromkeys(name for u in us for name in u.conditions if name not in COLUMNS)
    extras |= {name: [u.conditions.get(name, "") for u in us] for name in names}
    if (calibration := detector.calibration) is not None:
        extras["llr"] = [repr(float(llr)) for llr in calibration.llr(values[kept])]
    return Scores([u.id for u in us], labels, [u.attack for u in us], values[kept], extras), errors, seconds


@torch.inference_mode()
def score(
    detector: Detector,
    utterances: Sequence[Utterance],
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    device: str | torch.device = "cpu",
    clips: str = "first",
    to_end: bool = False,
) -> Scored:
    """Score utterances.

    Args:
        detector: In float32 on `device`; it is left there in eval mode.
        utterances: N of them.
        batch_size: Clips per step, where each is the first of a file.
        num_workers: Loader processes.
        device: Where to compute.
        clips: `first` for the first clip of each, as challenges have it; `whole` for the score of the whole recording
            by `deepfake.detector.Windows`, which `predict` gives.
        to_end: Decode each file to its end, so that damage behind the first clip is noticed.
    """
    detector = detector.to(device).eval()
    scores = np.full(len(utterances), np.nan)
    errors: dict[int, str] = {}
    seconds = 0.0
    n_samples = None if clips == "whole" else detector.n_samples
    loader = DataLoader(
        Clips(utterances, n_samples=n_samples, sample_rate=detector.sample_rate, whole=to_end),
        batch_size=batch_size if n_samples else 1,
        sampler=SeededSampler(len(utterances), seed=None),
        collate_fn=collate,
        num_workers=num_workers,
    )
    for batch in progress(loader, "scoring"):
        errors.update(batch["errors"])
        seconds += batch["seconds"]
        if len(batch["index"]):
            index = batch["index"].numpy()
            if n_samples is None:
                name = utterances[int(index[0])].path
                try:
                    scores[index] = detector.score_blocks(batch["waveform"], str(name))  # [1, T]
                except InputError as error:
                    errors[int(index[0])] = str(error)
                continue
            scores[index] = detector(batch["waveform"].to(device)).double().cpu().numpy()
            for i in index[~np.isfinite(scores[index])]:
                errors[int(i)] = f"{utterances[i].path}: the detector's score is {scores[i]}, which says nothing"
                scores[i] = np.nan
    return Scored(scores, errors, seconds)
