"""The figure of bona fide speech alone: how often each speaker's is rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from deepfake.errors import InputError
from deepfake.figures.style import BONAFIDE, REFERENCE, SPOOF, axes_of, percent, shorten


class Rejected(NamedTuple):
    """How much of a speaker's bona fide speech is rejected.

    Attributes:
        n: Utterances.
        rate: Share of them.
        interval: Of the rate, `[low, high]`; None where none was asked for.
    """

    n: int
    rate: float
    interval: Sequence[float] | None


def rejected_by_speaker(
    worst: Mapping[str, Rejected], best: Mapping[str, Rejected], *, n_speakers: int, overall: float
) -> Figure:
    """A point a speaker with its interval: those with the most rejected, and below them those with the least.

    Args:
        worst: Speakers from the worst down.
        best: From the worse to the best, none of `worst`; may be empty.
        n_speakers: How many there are.
        overall: Rate of all speakers together.

    Raises:
        InputError: There is no speaker.
    """
    if not worst:
        raise InputError("there is no speaker whose rate could be drawn")
    drawn = [*worst.items(), *best.items()]
    shown = "all" if len(drawn) == n_speakers else f"the {len(worst)} worst and the {len(best)} best of"
    title = f"False alarms by speaker: {shown} {n_speakers}"
    figure, axes = axes_of(
        title, "bona fide rejected (%)", "speaker (utterances)", width=6.0, height=1.7 + 0.24 * len(drawn)
    )
    for row, (_, found) in enumerate(drawn):
        colour = SPOOF if row < len(worst) and best else BONAFIDE
        if found.interval is not None:
            axes.plot(found.interval, [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([found.rate], [row], "s" if colour == SPOOF else "o", color=colour, markersize=6, clip_on=False)
    axes.axvline(overall, color=REFERENCE, linestyle="--", linewidth=1.4, label=f"all speakers {overall:.2%}")
    if best:
        axes.axhline(len(worst) - 0.5, color="#bbbbbb", linewidth=0.8)
    labels = [f"{name} ({found.n:,})" for name, (_, found) in zip(shorten(dict(drawn)), drawn, strict=True)]
    axes.set_yticks(np.arange(len(drawn)), labels, fontsize=8)
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    highest = max([overall, *(found.rate if found.interval is None else found.interval[1] for _, found in drawn)])
    axes.set_xlim(0, min(max(1.05 * highest, 0.01), 1.0))
    percent(axes.xaxis)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower right", fontsize=9)
    return figure
