"""From an utterance to tensors, the same way in training and in scoring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deepfake.audio import crop_or_repeat, load, load_clip
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError


class Clips(Dataset[dict[str, Any]]):
    """Clips of a list of utterances.

    An item is asked for by `(index, seed)`: with a seed the crop is drawn from it, so that it depends neither on the
    worker nor on what was loaded before; with None it is the first `n_samples`, repeat-padded. A file that cannot be
    used becomes an item with `error`: raised in a loader process, the sentence would drown in that process's traceback.

    Args:
        utterances: The list.
        n_samples: Length of a clip in samples; None for whole files, which cannot be stacked.
        sample_rate: In hertz.
        whole: Decode a file to its end even where the clip is only its beginning, so that damage further on is noticed.
        augment: What is done to a clip that has a seed, in this order: `(waveform [T], rng) -> [T]`.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        n_samples: int | None,
        sample_rate: int,
        whole: bool = False,
        augment: Sequence[Callable[[Tensor, np.random.Generator], Tensor]] = (),
    ) -> None:
        self.utterances = utterances
        self.n_samples = n_samples or 0
        self.sample_rate = sample_rate
        self.whole = whole
        self.augment = augment

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, key: tuple[int, int | None]) -> dict[str, Any]:
        index, seed = key
        utterance = self.utterances[index]
        rng = None if seed is None else np.random.default_rng(seed)
        try:
            if self.whole or not self.n_samples:
                heard = load(utterance.path, sample_rate=self.sample_rate)
                clip = crop_or_repeat(heard, self.n_samples) if self.n_samples else heard
            else:
                heard = clip = load_clip(
                    utterance.path, n_samples=self.n_samples, sample_rate=self.sample_rate, rng=rng
                )
            clip = self.augmented(clip, seed)
        except InputError as error:
            return {"index": index, "error": str(error)}
        label = -1 if utterance.label is None else utterance.label
        return {
            "index": index,
            "seed": 0 if seed is None else seed,
            "waveform": clip,
            "label": label,
            "seconds": len(heard) / self.sample_rate,
        }

    def augmented(self, clip: Tensor, seed: int | None) -> Tensor:
        """The clip after all augmentations, by a generator of their own: `[T]` -> `[T]`."""
        if seed is not None and self.augment:
            rng = np.random.default_rng([seed, 1])
            for augment in self.augment:
                clip = augment(clip, rng)
        return clip


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack items.

    Returns:
        `waveform` `[B, T]`, `label` `[B]` (-1 = unknown), `index` `[B]`, `seed` `[B]` (of the item), `seconds` decoded
        in all, `spoofed` `[B, U]` where the items say where they are, and `errors`, the list of `(index, message)` of
        those that could not be loaded, which are in no tensor.
    """
    good = [item for item in items if "error" not in item]
    located = {"spoofed": torch.stack([item["spoofed"] for item in good])} if good and "spoofed" in good[0] else {}
    return {
        **located,
        "waveform": torch.stack([item["waveform"] for item in good]) if good else torch.empty(0, 0),
        "label": torch.tensor([item["label"] for item in good], dtype=torch.long),
        "index": torch.tensor([item["index"] for item in good], dtype=torch.long),
        "seed": torch.tensor([item["seed"] for item in good], dtype=torch.long),
        "seconds": sum(item["seconds"] for item in good),
        "errors": [(item["index"], item["error"]) for item in items if "error" in item],
    }
