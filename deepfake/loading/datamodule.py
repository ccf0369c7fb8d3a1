"""The only DataModule: clips of any corpus."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from deepfake.datasets.corpus import Corpus
from deepfake.datasets.manifest import rows
from deepfake.datasets.utterance import BONAFIDE, SPOOF, Utterance, speaker_overlap, write_manifest, write_skipped
from deepfake.errors import InputError
from deepfake.loading.buckets import BucketSampler, buckets
from deepfake.loading.item import Clips, collate
from deepfake.loading.pcm import PCM, pcm
from deepfake.loading.reading import deaths_explained, end_where_memory_is_short
from deepfake.loading.sampler import SeededSampler
from deepfake.terminal import progress

log = logging.getLogger(__name__)
CACHE = Path("data/cache")
SHORTEST_SECONDS = 1.0  # of a clip at its own length: shorter utterances are repeated


@dataclass(kw_only=True, eq=False, repr=False)
class DataModule(lightning.LightningDataModule):
    """Train and dev partitions of a corpus as batches of clips. The eval partition is never read here.

    Args:
        corpus: The corpus. With `on_bad_audio=skip` all files are decoded before training; those that cannot be used
            are skipped and listed. With `cache` their decoded samples are kept below `CACHE`, for later runs too.
        sample_rate: In hertz.
        seconds: Length of a clip in scoring.
        train_seconds: Length of a clip in training, cropped at random.
        batch_size: Utterances per step and process.
        batch_seconds: Most seconds of speech per step and process. Training clips then have the length of their
            utterance, from `SHORTEST_SECONDS` to `train_seconds`, and those of a batch one length, see
            `deepfake.loading.buckets`. None = `batch_size` clips of `train_seconds`.
        score_batch_size: Utterances per scoring step.
        num_workers: Loader processes.
        seed: Seed of order, crops and subsets.
        bonafide_share: Share of bona fide speech among the training draws; None = as in the corpus, each utterance once
            an epoch.
        augment: Augmentations of the training clips, in this order: `batched` ones (`(waveform [B, T], label [B], rngs)
            -> (waveform, label)`) on the device, the others (`(waveform [T], rng) -> [T]`) in the loader.
        supervised: Whether both classes and a dev partition are needed.
        manifest: Path of the manifest of a partition.
        skipped_list: Path of the list of skipped files.
    """

    corpus: Corpus
    sample_rate: int
    seconds: float
    train_seconds: float
    batch_size: int
    score_batch_size: int
    num_workers: int
    seed: int
    batch_seconds: float | None = None
    bonafide_share: float | None = None
    augment: Sequence[Any] = ()
    supervised: bool = True
    manifest: Callable[[str], Path]
    skipped_list: Path
    train: list[Utterance] = field(default_factory=list, init=False)
    dev: list[Utterance] = field(default_factory=list, init=False)
    skipped: list[tuple[Utterance, str]] = field(default_factory=list, init=False)
    pcm: list[PCM] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        super().__init__()
        if self.bonafide_share is not None and not 0 < self.bonafide_share < 1:
            raise InputError(f"bonafide_share={self.bonafide_share}: a share between 0 and 1, or null, was expected")
        if self.batch_seconds is not None and self.batch_seconds < self.train_seconds:
            raise InputError(
                f"batch_seconds={self.batch_seconds}: at least the longest clip was expected, that of "
                f"train_seconds={self.train_seconds}"
            )
        self.in_loader = [a for a in self.augment if not a.batched]
        self.on_device = [a for a in self.augment if a.batched]
        self.clips: dict[str, Callable[..., Clips]] = {"train": Clips, "dev": Clips}

    def prepare_data(self) -> None:
        """Rank 0 only, before the others start: read (or make) the corpus, write the manifests."""
        if not self.train:
            self._read()
            for partition, utterances in (("train", self.train), ("dev", self.dev)):
                self._write_manifest(self.manifest(partition), utterances)
            if self.skipped:
                write_skipped(self.skipped_list, self.skipped)

    def _write_manifest(self, path: Path, utterances: list[Utterance]) -> None:
        if not path.is_file():
            write_manifest(path, utterances)
        elif [(u.id, u.label) for u in rows(path)] != [(u.id, u.label) for u in utterances]:
            raise InputError(
                f"{path}: the corpus no longer gives the utterances that this run began with; bring it back as it was, "
                "or start a new run"
            )

    def setup(self, stage: str | None = None) -> None:
        if not self.train:
            self._read()
        if self.trainer is not None:  # the first process may have lowered it
            self.batch_size = self.trainer.strategy.broadcast(self.batch_size)

    def _read(self) -> None:
        self._select()
        if self.corpus.cache:
            self.pcm = [self._pcm(name, us) for name, us in (("train", self.train), ("dev", self.dev)) if us]

    def _pcm(self, partition: str, utterances: list[Utterance]) -> PCM:
        """The decoded samples of a partition, made by the first run with these files and kept for others."""
        each = {u.path: u for u in utterances}
        files = list(each)
        unique = hashlib.sha256("\n".join(files).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        path = CACHE / f"{self.corpus.name}-{partition}-{self.sample_rate}-{unique}.pcm"

        def decoded() -> Iterator[Tensor | None]:
            clips = Clips([*each.values()], n_samples=None, sample_rate=self.sample_rate)
            how = {"num_workers": self.num_workers, "worker_init_fn": end_where_memory_is_short}
            loader = Loader(clips, batch_size=None, sampler=SeededSampler(len(clips), seed=None), **how)
            for item in progress(loader, f"decoding {partition} into {path}"):
                yield item.get("waveform")

        return pcm(path.absolute(), files, self.sample_rate, decoded)

    def _select(self) -> None:
        self.train = self.corpus.select("train", self.seed)
        self.dev = self.corpus.select("dev", self.seed) if self.supervised else []
        if self.corpus.on_bad_audio == "skip":
            self.train, self.dev = (self._usable(us) if us else us for us in (self.train, self.dev))
        if not self.supervised:
            return
        drawn = [u for u in self.train if u.weight > 0]
        for name, utterances in (("train", drawn), ("dev", self.dev)):
            require_both_classes(utterances, f"{self.corpus.name}, partition {name}")
        for (a, b), speakers in speaker_overlap({"train": self.train, "dev": self.dev}).items():
            log.warning(
                "%d speakers are in both %s and %s (%s ...): dev scores may flatter the detector",
                len(speakers), a, b, ", ".join(speakers[:3]),
            )  # fmt: skip

    def _usable(self, utterances: list[Utterance]) -> list[Utterance]:
        errors: dict[int, str] = {}
        for batch in self._loader(self._clips(Clips, utterances, self.seconds, whole=True), sharded=False):
            errors.update(batch["errors"])
        for index, message in sorted(errors.items()):
            log.warning("skipped: %s", message)
            self.skipped.append((utterances[index], message))
        return [u for i, u in enumerate(utterances) if i not in errors]

    def _clips(self, kind: Callable[..., Clips], utterances: list[Utterance], seconds: float, **more: Any) -> Clips:
        n_samples = round(seconds * self.sample_rate)
        more |= {"sample_rate": self.sample_rate, "augment": self.in_loader, "pcm": self.pcm}
        return kind(utterances, n_samples=n_samples, **more)

    def _loader(self, clips: Clips, *, seed: int | None = None, sharded: bool = True) -> DataLoader[dict[str, Any]]:
        weights = None if seed is None else self._weights(clips.utterances)
        sampler = SeededSampler(len(clips), seed=seed, weights=weights, **(self._rank if sharded else {}))
        size = self.score_batch_size if seed is None else min(self.batch_size, len(sampler))
        return self._made(clips, sharded, batch_size=size, sampler=sampler, drop_last=seed is not None)

    def _made(self, clips: Clips, persistent: bool, **batches: Any) -> DataLoader[dict[str, Any]]:
        return Loader(
            clips,
            **batches,
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0 and persistent,
            worker_init_fn=end_where_memory_is_short,
            pin_memory=torch.cuda.is_available(),
        )

    @property
    def _rank(self) -> dict[str, int]:
        if self.trainer is None:
            return {}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}

    def _of_like_lengths(self, clips: Clips) -> DataLoader[dict[str, Any]]:
        """Batches of clips of one length each, by the headers of the files."""
        shortest, rate = min(SHORTEST_SECONDS, self.train_seconds), self.sample_rate
        seconds = [clips.own_seconds(i) for i in progress(range(len(clips)), "lengths of train")]
        bounded = [self.train_seconds if s is None else min(max(s, shortest), self.train_seconds) for s in seconds]
        weights = self._weights(clips.utterances)
        found = buckets([int(s * rate + 1e-3) for s in bounded], weights)
        lengths = np.zeros(len(clips), dtype=np.int64)
        for bucket in found:
            lengths[bucket.members] = bucket.n_samples
        clips.n_samples = lengths.tolist()
        n_most = int((self.batch_seconds or 0) * rate)
        sampler = BucketSampler(found, n_most, seed=self.seed, weights=weights, **self._rank)
        return self._made(clips, True, batch_sampler=sampler)

    def _weights(self, utterances: Sequence[Utterance]) -> list[float]:
        """Weights of the draws in training: the corpus's own, scaled to `bonafide_share`."""
        if self.bonafide_share is None:
            return [u.weight for u in utterances]
        totals = {label: sum(u.weight for u in utterances if u.label == label) for label in (BONAFIDE, SPOOF)}
        shares = {BONAFIDE: self.bonafide_share, SPOOF: 1 - self.bonafide_share}
        return [u.weight * shares[u.label] / totals[u.label] for u in utterances]  # type: ignore[index]

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Augment training clips on the device, each by its own seed."""
        if self.on_device and self.trainer is not None and self.trainer.training:
            rngs = [np.random.default_rng([int(seed), 2]) for seed in batch["seed"].tolist()]
            for augment in self.on_device:
                batch["waveform"], batch["label"] = augment(batch["waveform"], batch["label"], rngs)
        return batch

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Stop at a file that cannot be used."""
        if batch["errors"]:
            raise InputError(f"{batch['errors'][0][1]} (dataset.on_bad_audio=skip leaves such files out)")
        return batch

    def train_clips(self) -> DataLoader[dict[str, Any]]:
        """The training partition once, in order, for statistics."""
        return self._loader(self._clips(self.clips["train"], self.train, self.seconds), sharded=False)

    def dev_clips(self) -> DataLoader[dict[str, Any]]:
        """The dev partition once, in order, in one process."""
        return self._loader(self._clips(self.clips["dev"], self.dev, self.seconds), sharded=False)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Random crops, shuffled or drawn by weight; a last batch that is not full is dropped, unless it is alone.

        With `batch_seconds` none is dropped.
        """
        clips = self._clips(self.clips["train"], self.train, self.train_seconds)
        return self._loader(clips, seed=self.seed) if self.batch_seconds is None else self._of_like_lengths(clips)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The dev partition whole, in order."""
        return self._loader(self._clips(self.clips["dev"], self.dev, self.seconds))


class Loader(DataLoader[dict[str, Any]]):
    """A loader whose worker processes start with its first batch.

    The trainer iterates over the training loader before it sets the sampler's epoch; in a resumed run even before it
    has read the epoch from the checkpoint, since the scheduler needs the number of steps first. Workers started then
    would prefetch the order and the crops of epoch 0.
    """

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        with deaths_explained():
            yield from super().__iter__()


def require_both_classes(utterances: list[Utterance], where: str) -> None:
    """Raise InputError unless there are utterances, of both classes, all labelled."""
    labels = {u.label for u in utterances}
    if None in labels:
        raise InputError(f"{where}: some utterances have no label; training and dev need one for each")
    for label, word in ((BONAFIDE, "bona fide"), (SPOOF, "spoofed")):
        if label not in labels:
            raise InputError(f"{where}: all {len(utterances)} utterances are of one class, none is {word}")
