"""From an utterance to tensors, the same way in training and in scoring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deepfake.audio import crop_or_repeat, info, load, load_clip
from deepfake.audio.sound import Source
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.loading import reading
from deepfake.loading.pcm import PCM


@dataclass(eq=False)
class Clips(Dataset[dict[str, Any]]):
    """Clips of a list of utterances.

    An item is indexed by `(index, seed)`: with a seed the crop is drawn from it, so that it depends neither on the
    worker nor on what was loaded before; with None it is the first `n_samples`, repeat-padded. A file that cannot be
    used becomes an item with `error`: raised in a loader process, the sentence would drown in that process's traceback.

    Args:
        utterances: The list.
        n_samples: Length of a clip in samples, or of the clip of each utterance; None for whole files, which cannot be
            stacked.
        sample_rate: In hertz.
        whole: Decode a file to its end even where the clip is only its beginning, so that damage further on is noticed.
        augment: Augmentations of a clip that has a seed, in this order: `(waveform [T], rng) -> [T]`.
        pcm: Decoded samples, which are taken instead of the files that are in them.
    """

    utterances: Sequence[Utterance]
    _: KW_ONLY
    n_samples: int | Sequence[int] | None
    sample_rate: int
    whole: bool = False
    augment: Sequence[Callable[[Tensor, np.random.Generator], Tensor]] = ()
    pcm: Sequence[PCM] = ()

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, key: tuple[int, int | None]) -> dict[str, Any]:
        index, seed = key
        reading.note(self.utterances[index].path)
        try:
            item = self.item(index, seed)
            if seed is not None and self.augment:
                rng = np.random.default_rng([seed, 1])
                for augment in self.augment:
                    item["waveform"] = augment(item["waveform"], rng)
        except InputError as error:
            return {"index": index, "error": str(error)}
        return {"index": index, "seed": 0 if seed is None else seed, **item}

    def source(self, path: str) -> Source:
        """What an utterance is decoded from."""
        return next((found for pcm in self.pcm if (found := pcm.get(path))), path)

    def length(self, index: int) -> int | None:
        """Samples of the clip of an utterance, None for all that it has."""
        return self.n_samples if isinstance(self.n_samples, int | None) else self.n_samples[index]

    def own_seconds(self, index: int) -> float | None:
        """The length of an utterance by its header, None where that does not know it.

        Raises:
            InputError: As in `deepfake.audio.info`.
        """
        return info(self.source(self.utterances[index].path)).seconds

    def item(self, index: int, seed: int | None) -> dict[str, Any]:
        """An item before augmentation: `waveform` `[T]`, `label` (-1 = unknown) and `seconds` decoded."""
        u, n = self.utterances[index], self.length(index)
        if self.whole or n is None:
            decoded = load(self.source(u.path), sample_rate=self.sample_rate)
            clip = decoded if n is None else crop_or_repeat(decoded, n)
        else:
            decoded = clip = self.clip(u.path, n, seed)
        label = -1 if u.label is None else u.label
        return {"waveform": clip, "label": label, "seconds": len(decoded) / self.sample_rate}

    def clip(self, path: str, n_samples: int, seed: int | None) -> Tensor:
        """A clip of a file, from its decoded samples where there are some at this rate."""
        for pcm in self.pcm:
            if pcm.sample_rate == self.sample_rate and (kept := pcm.clip(path, n_samples, seed)) is not None:
                return kept
        rng = None if seed is None else np.random.default_rng(seed)
        return load_clip(self.source(path), n_samples=n_samples, sample_rate=self.sample_rate, rng=rng)


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack items.

    Returns:
        `waveform` `[B, T]`, `label` `[B]` (-1 = unknown), `index` `[B]`, `seed` `[B]` (of the item), the sum of
        `seconds`, `spoofed` `[B, U]` where the items have labels over time, and `errors`, the list of
        `(index, message)` of those that could not be loaded, which are in no tensor.
    """
    good = [item for item in items if "error" not in item]
    located = {"spoofed": torch.stack([item["spoofed"] for item in good])} if good and "spoofed" in good[0] else {}
    return {
        **located,
        "waveform": torch.stack([item["waveform"] for item in good]) if good else torch.empty(0, 0),
        **{key: torch.tensor([item[key] for item in good], dtype=torch.long) for key in ("label", "index", "seed")},
        "seconds": sum(item["seconds"] for item in good),
        "errors": [(item["index"], item["error"]) for item in items if "error" in item],
    }
