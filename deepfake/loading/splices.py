"""Clips of which is known when they are spoofed: partially spoofed utterances, or splices made on the fly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepfake.audio import crop_or_repeat, load
from deepfake.audio.crossfade import crossfade
from deepfake.datasets.corpus import Segments
from deepfake.datasets.utterance import BONAFIDE, SPOOF, Utterance
from deepfake.errors import InputError
from deepfake.loading.item import Clips

UNIT_SECONDS = 0.01  # of the labels
FADE_SECONDS = 0.01


class Splices(Clips):
    """Clips with `spoofed`, their labels over time: True for a unit of 10 ms of which anything is spoofed.

    Where stretches of an utterance are known, it is heard as it is, as in PartialSpoof (Zhang et al., IEEE/ACM TASLP
    2023). Else a `share` of the clips get a stretch, or two, of another utterance of the same list, chosen anew for
    each item seed: of the other class twice in three, of the same class else, so that neither a seam nor a change of
    the speaker tells that something is spoofed. The stretch is brought to the level of what it replaces, its edges are
    cross-faded by raised cosines over 10 ms.

    Without a seed (scoring) an utterance always gets the same splice.

    Args:
        utterances: The list.
        n_samples: Length of a clip in samples.
        sample_rate: In hertz.
        whole: As for `Clips`.
        augment: As for `Clips`.
        segments: Known spoofed stretches by utterance; None: splices are made.
        share: Of the clips that get a splice.
        seconds: Shortest and longest stretch; none is longer than 0.8 of its clip.

    Raises:
        InputError: An utterance has no entry in `segments`, or a setting is out of range.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        n_samples: int,
        sample_rate: int,
        whole: bool = False,
        augment: Sequence[Callable[[Tensor, np.random.Generator], Tensor]] = (),
        segments: Segments | None = None,
        share: float = 0.7,
        seconds: tuple[float, float] = (0.2, 2.0),
    ) -> None:
        super().__init__(utterances, n_samples=n_samples, sample_rate=sample_rate, whole=whole, augment=augment)
        if not (0 <= share <= 1 and 0 < seconds[0] <= seconds[1]):
            raise InputError(f"share={share}, seconds={list(seconds)}: a share of 0 to 1, a range of lengths expected")
        self.segments = segments
        self.share = share
        self.seconds = seconds
        if segments is not None and (lacking := [u.id for u in utterances if u.id not in segments]):
            raise InputError(f"{len(lacking)} utterances have no line about their stretches, first {lacking[0]}")
        self.of_class = {
            label: [i for i, u in enumerate(utterances) if u.label == label] for label in (BONAFIDE, SPOOF)
        }

    def __getitem__(self, key: tuple[int, int | None]) -> dict[str, Any]:
        index, seed = key
        rng = np.random.default_rng([index] if seed is None else [seed, 0])
        try:
            clip, spoofed = self._clip(index, rng, random=seed is not None)
            if self.segments is None and rng.random() < self.share:
                for _ in range(int(rng.integers(1, 3))):
                    clip, spoofed = self._spliced(clip, spoofed, index, rng)
            clip = self.augmented(clip, seed)
        except InputError as error:
            return {"index": index, "error": str(error)}
        n_units = math.ceil(len(clip) / self.unit)
        units = torch.nn.functional.pad(spoofed, (0, n_units * self.unit - len(clip))).view(n_units, self.unit)
        return {
            "index": index,
            "seed": 0 if seed is None else seed,
            "waveform": clip,
            "label": SPOOF if bool(spoofed.any()) else BONAFIDE,
            "spoofed": units.any(dim=1),
            "seconds": len(clip) / self.sample_rate,
        }

    @property
    def unit(self) -> int:
        """Samples of a unit."""
        return round(UNIT_SECONDS * self.sample_rate)

    def _clip(self, index: int, rng: np.random.Generator, *, random: bool) -> tuple[Tensor, Tensor]:
        """A clip and which of its samples are spoofed, `[T]` and `[T]`."""
        u = self.utterances[index]
        waveform = load(u.path, sample_rate=self.sample_rate)
        spoofed = torch.full((len(waveform),), u.label == SPOOF and self.segments is None)
        for start, end, _ in self.segments[u.id] if self.segments is not None else ():
            end = min(end, len(waveform) / self.sample_rate)
            spoofed[round(start * self.sample_rate) : round(end * self.sample_rate)] = True
        start = int(rng.integers(max(len(waveform) - self.n_samples, 0) + 1)) if random else 0
        return tuple(crop_or_repeat(x, self.n_samples, start) for x in (waveform, spoofed))  # type: ignore[return-value]

    def _spliced(self, clip: Tensor, spoofed: Tensor, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The clip with a stretch of another utterance in it."""
        label = self.utterances[index].label
        others = self.of_class[label if rng.random() < 1 / 3 else SPOOF + BONAFIDE - label]  # type: ignore[index,operator]
        other, other_spoofed = self._clip(others[int(rng.integers(len(others)))], rng, random=True)
        longest = min(self.seconds[1], 0.8 * len(clip) / self.sample_rate)
        n = round(rng.uniform(min(self.seconds[0], longest), longest) * self.sample_rate)
        start = int(rng.integers(len(clip) - n + 1))
        gain = _rms(clip[start : start + n]) / _rms(other[start : start + n])
        weight = crossfade(len(clip), start, start + n, round(FADE_SECONDS * self.sample_rate))
        inside = weight > 0.5
        return clip + weight * (gain * other - clip), torch.where(inside, other_spoofed, spoofed)


def _rms(waveform: Tensor) -> Tensor:
    return waveform.square().mean().sqrt().clamp(min=1e-5)
