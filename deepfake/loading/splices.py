"""Clips with labels over time: partially spoofed utterances, or splices made on the fly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepfake.audio import crop_or_repeat, load
from deepfake.audio.crossfade import crossfade
from deepfake.datasets.corpus import Segments
from deepfake.datasets.utterance import BONAFIDE, SPOOF
from deepfake.errors import InputError
from deepfake.loading.item import Clips

UNIT_SECONDS = 0.01  # of the labels
FADE_SECONDS = 0.01


@dataclass(eq=False, kw_only=True)
class Splices(Clips):
    """Clips with `spoofed`, their labels over time: True for a unit of 10 ms of which anything is spoofed.

    Where the spoofed stretches of the utterances are known, as in PartialSpoof (Zhang et al., IEEE/ACM TASLP 2023),
    clips are not changed. Else a `share` of the clips get one or two stretches of other utterances of the same list,
    drawn by the item seed: two thirds of them of the other class, the rest of the same class, so that neither a seam
    nor a change of speaker is a cue. A stretch gets the level of what it replaces, and its edges are cross-faded by
    raised cosines over 10 ms.

    Without a seed (scoring) an utterance always gets the same splice.

    Args:
        segments: Known spoofed stretches by utterance; None: splices are made.
        share: Share of the clips that get a splice.
        seconds: Shortest and longest stretch in seconds; none is longer than 0.8 of its clip.

    The others are those of `Clips`.

    Raises:
        InputError: An utterance has no entry in `segments`, or a setting is out of range.
    """

    segments: Segments | None = None
    share: float = 0.7
    seconds: tuple[float, float] = (0.2, 2.0)

    def __post_init__(self) -> None:
        share, seconds = self.share, self.seconds
        if not (0 <= share <= 1 and 0 < seconds[0] <= seconds[1]):
            raise InputError(f"share={share}, seconds={list(seconds)}: a share of 0 to 1, a range of lengths expected")
        known = self.segments
        if known is not None and (lacking := [u.id for u in self.utterances if u.id not in known]):
            raise InputError(f"{len(lacking)} utterances have no line about their stretches, first {lacking[0]}")
        self.of_class = {
            label: [i for i, u in enumerate(self.utterances) if u.label == label] for label in (BONAFIDE, SPOOF)
        }

    def item(self, index: int, seed: int | None) -> dict[str, Any]:
        rng = np.random.default_rng([index] if seed is None else [seed, 0])
        clip, spoofed = self._clip(index, self.length(index), rng, random=seed is not None)
        if self.segments is None and rng.random() < self.share:
            for _ in range(int(rng.integers(1, 3))):
                clip, spoofed = self._spliced(clip, spoofed, index, rng)
        n_units = math.ceil(len(clip) / self.unit)
        units = torch.nn.functional.pad(spoofed, (0, n_units * self.unit - len(clip))).view(n_units, self.unit)
        return {
            "waveform": clip,
            "label": SPOOF if bool(spoofed.any()) else BONAFIDE,
            "spoofed": units.any(dim=1),
            "seconds": len(clip) / self.sample_rate,
        }

    @property
    def unit(self) -> int:
        """Samples of a unit."""
        return round(UNIT_SECONDS * self.sample_rate)

    def _clip(
        self, index: int, n_samples: int | None, rng: np.random.Generator, *, random: bool
    ) -> tuple[Tensor, Tensor]:
        """A clip and which of its samples are spoofed, `[T]` and `[T]`."""
        u = self.utterances[index]
        waveform = load(self.source(u.path), sample_rate=self.sample_rate)
        n = n_samples or len(waveform)
        spoofed = torch.full((len(waveform),), u.label == SPOOF and self.segments is None)
        for start, end, _ in self.segments[u.id] if self.segments is not None else ():
            end = min(end, len(waveform) / self.sample_rate)
            spoofed[round(start * self.sample_rate) : round(end * self.sample_rate)] = True
        start = int(rng.integers(max(len(waveform) - n, 0) + 1)) if random else 0
        return tuple(crop_or_repeat(x, n, start) for x in (waveform, spoofed))  # type: ignore[return-value]

    def _spliced(self, clip: Tensor, spoofed: Tensor, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The clip with a stretch of another utterance in it."""
        label = self.utterances[index].label
        others = self.of_class[label if rng.random() < 1 / 3 else SPOOF + BONAFIDE - label]  # type: ignore[index,operator]
        other, other_spoofed = self._clip(others[int(rng.integers(len(others)))], len(clip), rng, random=True)
        longest = min(self.seconds[1], 0.8 * len(clip) / self.sample_rate)
        n = round(rng.uniform(min(self.seconds[0], longest), longest) * self.sample_rate)
        start = int(rng.integers(len(clip) - n + 1))
        gain = _rms(clip[start : start + n]) / _rms(other[start : start + n])
        weight = crossfade(len(clip), start, start + n, round(FADE_SECONDS * self.sample_rate))
        return clip + weight * (gain * other - clip), torch.where(weight > 0.5, other_spoofed, spoofed)


def _rms(waveform: Tensor) -> Tensor:
    return waveform.square().mean().sqrt().clamp(min=1e-5)
