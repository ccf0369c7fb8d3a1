"""Bona fide speech alone: how often a detector rejects it, overall and speaker by speaker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from deepfake.errors import InputError
from deepfake.figures.speakers import Rejected, rejected_by_speaker

MOST_SPEAKERS = 15  # of the worst, and of the best
HEADINGS = ("speaker", "bona fide", "rejected", "interval")


def alone(metrics: Mapping[str, Any]) -> bool:
    """Whether the data is bona fide speech alone, with a threshold that some of it can fail."""
    return not metrics["n_spoof"] and metrics["fnr"] is not None


def speakers(metrics: Mapping[str, Any]) -> tuple[dict[str, Rejected], dict[str, Rejected]]:
    """The worst and the best speakers, from the worst to the best; all are among the worst where there are few.

    Of equal rates, that of more utterances says more: it is nearer to its end.
    """
    found = {
        name: Rejected(entry["n_bonafide"], entry["fnr"], entry["ci"].get("fnr"))
        for name, entry in metrics.get("by_speaker", {}).items()
    }
    sure = {name: of.n if of.rate <= metrics["fnr"] else -of.n for name, of in found.items()}
    order = sorted(found.items(), key=lambda item: (-item[1].rate, sure[item[0]], item[0]))
    if len(order) <= 2 * MOST_SPEAKERS:
        return dict(order), {}
    return dict(order[:MOST_SPEAKERS]), dict(order[-MOST_SPEAKERS:])


def figure(metrics: Mapping[str, Any]) -> Figure:
    """The rates of the worst and the best speakers.

    Raises:
        InputError: The data is not bona fide speech alone, or of fewer than two known speakers.
    """
    if not alone(metrics):
        raise InputError("bona fide speech alone, and a threshold, was expected: rates by speaker are drawn of that")
    worst, best = speakers(metrics)
    return rejected_by_speaker(worst, best, n_speakers=len(metrics.get("by_speaker", {})), overall=metrics["fnr"])
