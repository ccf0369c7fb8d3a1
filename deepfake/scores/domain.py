"""The domain of a detector, from the utterances that it was trained and tuned on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from deepfake.datasets.utterance import BONAFIDE, SPOOF, Utterance
from deepfake.detector import Detector
from deepfake.domain import FEWEST, STATES, Described, Domain, Floats, band_levels
from deepfake.errors import InputError
from deepfake.loading.item import Clips, collate
from deepfake.loading.reading import deaths_explained, end_where_memory_is_short
from deepfake.loading.sampler import SeededSampler
from deepfake.metrics.calibration import dealt
from deepfake.terminal import progress

log = logging.getLogger(__name__)

MOST = 1000  # utterances of each class
FOLDS = 5


def learn_domain(
    detector: Detector, source: str, train: Sequence[Utterance], dev: Sequence[Utterance], **loading: Any
) -> None:
    """Give a detector the domain of its training, if there is enough speech for one.

    Args:
        detector: It is left in eval mode on the device.
        source: Name of the speech.
        train: Utterances that Gaussians are fitted to; evenly drawn ones of each class where there are many.
        dev: Those whose distances set the percentiles, likewise.
        loading: As `describe` has it.
    """
    fitted, held_out = (describe(detector, utterances, **loading) for utterances in (train, dev))
    if _enough(fitted) and _enough(held_out):
        domain, distances = Domain.fit(fitted, held_out, detector.sample_rate)
        wrong = count_misjudged(detector, domain, distances, held_out)
        n_train, n_dev = len(fitted.labels), len(held_out.labels)
        detector.set_domain(domain, source, n_train=n_train, n_dev=n_dev, misjudged=wrong)


def learn_domain_of(detector: Detector, source: str, utterances: Sequence[Utterance], **loading: Any) -> None:
    """Give a detector the domain of utterances that it was not trained on, by speaker where speakers are known.

    Args:
        detector: As in `learn_domain`.
        source: Name of the speech.
        utterances: Those that it is calibrated on.
        loading: As `describe` has it.
    """
    chosen = _chosen(utterances)
    clips = describe(detector, chosen, **loading)
    if not _enough(clips):
        return
    speakers = np.array([u.speaker or f"\n{i}" for i, u in enumerate(chosen)])
    groups = np.unique(speakers, return_inverse=True)[1]
    try:
        folds = [outside for _, outside in dealt(clips.labels, groups, folds=FOLDS, seed=0)]
    except InputError:
        folds = [outside for _, outside in dealt(clips.labels, np.arange(len(groups)), folds=FOLDS, seed=0)]
    n = len(clips.labels)
    domain, distances = Domain.cross_fit(clips, folds, detector.sample_rate)
    wrong = count_misjudged(detector, domain, distances, clips)
    detector.set_domain(domain, source, n_train=n, n_dev=n, misjudged=wrong)


def count_misjudged(detector: Detector, domain: Domain, distances: Floats, held_out: Described) -> dict[str, list[int]]:
    """How many held-out clips of each state lie on the wrong side of the threshold, and how many there are.

    Args:
        detector: With its threshold.
        domain: Its domain.
        distances: Of the clips from it `[N]`.
        held_out: The clips.
    """
    wrong = (held_out.scores > detector.threshold) != (held_out.labels == BONAFIDE)
    found = np.array([domain.place(distance).state for distance in distances])
    return {state: [int(wrong[found == state].sum()), int((found == state).sum())] for state in STATES}


@deaths_explained()
@torch.inference_mode()
def describe(
    detector: Detector,
    utterances: Sequence[Utterance],
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    device: str | torch.device = "cpu",
) -> Described:
    """The first clips of utterances, as the detector scores them, as its domain sees them.

    Args:
        detector: In float32 on `device`; it is left there in eval mode.
        utterances: Those that have a label are taken, and of many of a class evenly drawn ones.
        batch_size: Clips per step.
        num_workers: Loader processes.
        device: Where to compute.

    Raises:
        InputError: One cannot be read.
    """
    detector = detector.to(device).eval()
    chosen = _chosen(utterances)
    loader = DataLoader(
        Clips(chosen, n_samples=detector.n_samples, sample_rate=detector.sample_rate),
        batch_size=batch_size,
        sampler=SeededSampler(len(chosen), seed=None),
        collate_fn=collate,
        num_workers=num_workers,
        worker_init_fn=end_where_memory_is_short,
    )
    found: list[list[np.ndarray]] = []
    for batch in progress(loader, "domain"):
        if batch["errors"]:
            raise InputError(batch["errors"][0][1])
        waveform = batch["waveform"].to(device)
        logits, embedding = detector.logits_and_embedding(waveform)
        described = embedding, band_levels(waveform, detector.sample_rate), detector.score(logits)
        found.append([one.double().cpu().numpy() for one in described])
    embeddings, spectra, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Described(embeddings, spectra, np.array([u.label for u in chosen]), scores)


def _chosen(utterances: Sequence[Utterance]) -> list[Utterance]:
    """At most `MOST` of each class, evenly drawn, without those that are never drawn in training."""
    found: list[Utterance] = []
    for label in (SPOOF, BONAFIDE):
        own = [u for u in utterances if u.label == label and u.weight > 0]
        found += [own[i] for i in np.linspace(0, len(own) - 1, min(MOST, len(own))).round().astype(int)]
    return found


def _enough(clips: Described) -> bool:
    if not clips.enough:
        log.info("what lies outside the detector's domain is not known: it takes %d utterances of each class", FEWEST)
    return clips.enough
