"""The LightningModule that trains a detector to say when."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.loading.splices import Splices
from deepfake.metrics.classification import auc
from deepfake.metrics.eer import eer
from deepfake.terminal import progress
from deepfake.training.detection import Detection
from deepfake.training.setup import Setup


class Localisation(Detection):
    """Bona fide against spoof, frame by frame, on partially spoofed speech.

    Trained are the frames and, less, the whole clip. Where the corpus does not know spoofed stretches, they are spliced
    on the fly, on dev too: there always the same. Beside the metrics of `Detection`, which are those of spliced clips
    here, the EER and AUC of dev's frames are logged as `dev/frame_eer` and `dev/frame_auc`; the threshold of that EER
    goes with the detector. What stands in the report is of dev's own utterances, unspliced.

    Args:
        clip_weight: Of the loss of whole clips; frames have 1.
        share: See `Splices`.
        seconds: See `Splices`.
        *args: As for `Detection`.
        **more: As for `Detection`.

    Raises:
        InputError: The network judges no frames.
    """

    monitored = (*Detection.monitored, "dev/frame_eer", "dev/frame_auc")
    progress_metrics: ClassVar = {**Detection.progress_metrics, "frame EER": "dev/frame_eer"}

    def __init__(self, *args: Any, clip_weight: float, share: float, seconds: Sequence[float], **more: Any) -> None:
        super().__init__(*args, **more)
        if not self.detector.locates:
            name = type(self.detector.model).__name__
            raise InputError(f"task=localisation: {name} judges whole clips; model=frame_cnn judges frames")
        self.clip_weight = clip_weight
        self._splices = {"share": share, "seconds": tuple(seconds)}
        self._frames: list[tuple[Tensor, Tensor, Tensor]] = []

    def fit(self, setup: Setup) -> dict[str, Any] | None:
        data = setup.datamodule
        if unfit := [a for a in data.in_loader + data.on_device if a.batched or a.moves_time]:
            name = type(unfit[0]).__name__
            raise InputError(f"task=localisation: {name} changes when speech is spoofed: leave it out of augment")
        known = {partition: data.corpus.segments(partition) for partition in data.clips}
        missing = [partition for partition, segments in known.items() if segments is None]
        if len(missing) == 1:
            raise InputError(f"{data.corpus.name}: nothing is known of spoofed stretches in {missing[0]}")
        data.clips = {name: partial(Splices, segments=segments, **self._splices) for name, segments in known.items()}
        return super().fit(setup)

    def loss_of(self, batch: dict[str, Any]) -> Tensor:
        frames = self.detector.frames(batch["waveform"])
        of_frames = self.loss(frames.flatten(), bonafide_frames(batch["spoofed"], frames.shape[1]).flatten())
        return of_frames + self.clip_weight * self.loss(self._pooled(frames)[:, 0], batch["label"])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        frames = self.detector.frames(batch["waveform"]).float()
        log_odds = self._pooled(frames)[:, 0]
        self._batches.append((batch["index"], log_odds, log_odds, batch["label"]))
        self._frames.append((batch["index"], frames, bonafide_frames(batch["spoofed"], frames.shape[1])))

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        gathered = [torch.cat(parts) for parts in zip(*self._frames, strict=True)]
        self._frames.clear()
        if self.trainer.world_size > 1:
            gathered = [self.all_gather(x).flatten(0, 1) for x in gathered]  # type: ignore[union-attr]
        index, frames, labels = (x.cpu().numpy() for x in gathered)
        _, first = np.unique(index, return_index=True)  # ranks are padded with repeats
        if 0 < labels[first].mean() < 1:
            values, _ = frame_metrics(frames[first], labels[first])
            self.log_dict({f"dev/{name}": x for name, x in values.items()}, rank_zero_only=False, sync_dist=False)

    def closing(self, setup: Setup) -> dict[str, float]:
        """With the best weights: the frames of dev, whose threshold the detector carries."""
        device = setup.trainer.strategy.root_device
        detector = self.detector.to(device).eval()
        frames, labels = [], []
        with torch.inference_mode():
            for batch in progress(setup.datamodule.dev_clips(), "frames of dev"):
                frames.append(detector.frames(batch["waveform"].to(device)).float().cpu().numpy())
                labels.append(bonafide_frames(batch["spoofed"], frames[-1].shape[1]).numpy())
        values, threshold = frame_metrics(np.concatenate(frames), np.concatenate(labels))
        detector.set_frame_threshold(
            threshold, f"EER threshold of frames of {setup.datamodule.corpus.name}, partition dev"
        )
        return values

    def _pooled(self, frames: Tensor) -> Tensor:
        return self.detector.model.pooled(frames)  # type: ignore[operator]


def frame_metrics(frames: np.ndarray, labels: np.ndarray) -> tuple[dict[str, float], float]:
    """EER and AUC of frames of one length, and the threshold of that EER; log-odds and labels `[N, L]`."""
    scores, flat = frames.ravel().astype(np.float64), labels.ravel()
    rate, threshold = eer(scores, flat)
    return {"frame_eer": rate, "frame_auc": auc(scores, flat)}, threshold


def bonafide_frames(spoofed: Tensor, n_frames: int) -> Tensor:
    """Labels of the L frames of a clip from those of its units: 1, or 0 where any unit of a frame is spoofed.

    Shape:
        `[B, U]` bool -> `[B, L]` long
    """
    return 1 - F.adaptive_max_pool1d(spoofed.float(), n_frames).long()
