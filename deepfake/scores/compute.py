"""Scoring a list of utterances with a detector: in `evaluate.py`, in `predict`, and for dev at the end of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from deepfake.datasets.utterance import Utterance
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.loading.item import Clips, collate
from deepfake.loading.reading import deaths_explained, end_where_memory_is_short
from deepfake.loading.sampler import SeededSampler
from deepfake.scores.keys import extras_of
from deepfake.scores.table import Scores
from deepfake.terminal import progress


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


@deaths_explained()
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
) -> Scoring:
    """Score utterances; where the detector is calibrated, a column `llr` holds its log-likelihood ratios.

    Args:
        detector: In float32 on `device`; it is left there in eval mode.
        utterances: N of them.
        batch_size: Clips per step, where each is the first of a file.
        num_workers: Loader processes.
        device: Where to compute.
        clips: `first` for the first clip of each, as challenges have it; `whole` for the score of the whole recording
            by `deepfake.detector.Windows`, which `predict` gives.
        to_end: Decode each file to its end, so that damage behind the first clip is noticed.

    Raises:
        InputError: No utterance could be scored.
    """
    detector = detector.to(device).eval()
    values = np.full(len(utterances), np.nan)
    errors: dict[int, str] = {}
    seconds = 0.0
    n_samples = None if clips == "whole" else detector.n_samples
    loader = DataLoader(
        Clips(utterances, n_samples=n_samples, sample_rate=detector.sample_rate, whole=to_end),
        batch_size=batch_size if n_samples else 1,
        sampler=SeededSampler(len(utterances), seed=None),
        collate_fn=collate,
        num_workers=num_workers,
        worker_init_fn=end_where_memory_is_short,
    )
    for batch in progress(loader, "scoring"):
        errors.update(batch["errors"])
        seconds += batch["seconds"]
        index = batch["index"].numpy()
        if n_samples is None and len(index):
            try:
                values[index] = detector.score_blocks(batch["waveform"], utterances[index[0]].path)  # [1, T]
            except InputError as error:
                errors[int(index[0])] = str(error)
        elif len(index):
            values[index] = detector(batch["waveform"].to(device)).double().cpu().numpy()
            for i in index[~np.isfinite(values[index])]:
                errors[int(i)] = f"{utterances[i].path}: the detector's score is {values[i]}, which is not finite"
    if len(errors) == len(utterances):
        first = next(iter(errors.values()))
        raise InputError(f"none of the {len(utterances)} files could be scored; the first: {first}")
    rows = [i for i in range(len(utterances)) if i not in errors]
    listed, values = [utterances[i] for i in rows], values[rows]
    extras = extras_of(listed)
    if (calibration := detector.calibration) is not None:
        extras["llr"] = [repr(float(llr)) for llr in calibration.llr(values)]
    scores = Scores([u.id for u in listed], [u.label for u in listed], [u.attack for u in listed], values, extras)
    return Scoring(scores, errors, seconds)
