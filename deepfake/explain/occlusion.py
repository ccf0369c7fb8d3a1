"""Occlusion: the evidence that is lost when a patch of time and frequency is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from captum import attr
from numpy.typing import NDArray
from torch import Tensor

from deepfake.errors import InputError
from deepfake.explain.baseline import refilled, require_filling
from deepfake.explain.clip import HOP_SECONDS, Clip
from deepfake.explain.map import Map, checked
from deepfake.explain.method import Method

ROUNDING = 1e-6  # nats


@dataclass(frozen=True, kw_only=True)
class Occlusion(Method):
    r"""The evidence for spoof that is lost with each patch: f(clip) - f(clip without the patch), in nats.

    After Zeiler and Fergus (2014). The clip is tiled with patches of `seconds` x a group of mel bands, and each is
    replaced by a filling in turn; with `shifts` there are several tilings, each shifted by a fraction of a patch.
    The cells of the map are the pieces that all tilings cut it into. A cell's value is the mean over the tilings of
    the evidence of its patch times its share of that patch's duration:

    \[ v_c = \frac1S \sum_{s=1}^{S} \frac{|c|}{|p_s(c)|} \bigl( f(x) - f(x \setminus p_s(c)) \bigr) \]

    so that the map adds up to the evidence of all patches of a tiling. For a detector that sums evidence of single
    cells that is f(clip) - f(filling); the distance of the sum from it (`difference`) is evidence that a network
    takes from several patches together. Each tiling is a feature mask of Captum's `FeatureAblation`; Captum's
    `Occlusion`, which is built on it, has no half patches at the ends and gives each cell the whole patch's evidence.

    The detector runs patches x shifts x fillings times: 84 times for 4 s with the defaults. Patches of half that length
    localise known fakes less well.

    Args:
        seconds: Duration of a patch.
        bands: Number of groups that the mel bands are split into.
        shifts: Number of tilings, each shifted by `seconds` / `shifts`: 2 is an overlap of one half.
        fillings: Of `noise`, `silence` and `reversed`; the map is the mean over them, and the facts state the lowest
            correlation between the maps of two of them.
        batch_size: Patches per step; memory grows with it.
        seed: Of the fillings.

    Raises:
        InputError: A number out of range, or an unknown filling.
    """

    seconds: float = 0.4
    bands: int = 4
    shifts: int = 2
    fillings: Sequence[str] = ("noise",)
    batch_size: int = 4
    seed: int = 0

    rank = 4

    def __post_init__(self) -> None:
        if not self.fillings:
            raise InputError("fillings is empty: at least one was expected")
        for filling in self.fillings:
            require_filling("fillings", filling)
        if self.seconds < HOP_SECONDS or min(self.bands, self.shifts, self.batch_size) < 1:
            raise InputError(
                f"seconds={self.seconds}, bands={self.bands}, shifts={self.shifts}, batch_size={self.batch_size}: at "
                f"least {HOP_SECONDS} s and 1 of the others were expected"
            )

    def attribute(self, clip: Clip) -> Map:
        """The clip's map: its frames are `seconds` / `shifts` long, its rows groups of mel bands."""
        n_bands, n_frames = clip.gain.shape[1:]
        step = max(1, round(self.seconds / self.shifts / HOP_SECONDS))  # frames
        columns = np.arange(0, n_frames, step)
        rows = np.array([group[0] for group in np.array_split(np.arange(n_bands), min(self.bands, n_bands))])
        ends = np.append(columns, n_frames)
        durations = np.diff(clip.seconds[ends])

        maps, differences = [], []
        for filling in self.fillings:
            filled = refilled(clip, filling, self.seed)
            with torch.no_grad():
                differences.append(float(filled.spoof(filled.gain) - filled.spoof(torch.zeros_like(filled.gain))))
            tilings = [self._tiled(filled, rows, columns, durations, shift) for shift in range(self.shifts)]
            maps.append(np.mean(tilings, axis=0))
        facts = {
            "unit": "nats",
            "additive": "no",
            "seconds": step * self.shifts * HOP_SECONDS,
            "bands": len(rows),
            "shifts": self.shifts,
            "fillings": ", ".join(self.fillings),
            "seed": self.seed,
            "difference": float(np.mean(differences)),
        }
        if len(maps) > 1 and maps[0].size > 1:
            facts["lowest_correlation_of_fillings"] = _lowest_correlation(maps)
        hz = clip.hz[np.append(rows, n_bands)]
        return checked(Map("occlusion", np.mean(maps, axis=0), hz, clip.seconds[ends], facts))

    def _tiled(
        self, clip: Clip, rows: NDArray, columns: NDArray, durations: NDArray, shift: int
    ) -> NDArray[np.float64]:
        """The map of one tiling, `[rows, columns]`."""
        n_bands, n_frames = clip.gain.shape[1:]
        patches = (np.arange(len(columns)) + shift) // self.shifts  # of each column, [columns]
        patches -= patches[0]
        band = np.searchsorted(rows, np.arange(n_bands), side="right") - 1
        patch = patches[np.searchsorted(columns, np.arange(n_frames), side="right") - 1]
        mask = torch.from_numpy(band[:, None] * (patches[-1] + 1) + patch).to(clip.device)  # [F, L]
        values: Tensor = attr.FeatureAblation(clip.spoof).attribute(
            clip.gain, baselines=0, feature_mask=mask[None], perturbations_per_eval=self.batch_size
        )
        lost = values[0].double().cpu().numpy()[np.ix_(rows, columns)]  # of the patch of each cell
        share = durations / np.bincount(patches, weights=durations)[patches]  # [columns]
        return lost * share


def _lowest_correlation(maps: list[NDArray[np.float64]]) -> float:
    """Between any two; 0 if a map is constant, but for rounding."""
    if min(m.std() for m in maps) < ROUNDING:
        return 0.0
    return float(np.corrcoef([m.ravel() for m in maps]).min())
