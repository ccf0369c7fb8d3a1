"""The LightningModule that trains a detector of spoofed frames."""

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
    """Training of a detector of spoofed frames, on partially spoofed speech.

    The loss is that of frames plus, with a smaller weight, that of clips. Where the corpus does not label spoofed
    stretches, they are spliced on the fly, on dev always the same ones. Beside the metrics of `Detection`, here of
    spliced clips, the EER and AUC of dev's frames are logged as `dev/frame_eer` and `dev/frame_auc`; the threshold of
    that EER is saved with the detector. The report is on dev's own utterances, without splices.

    Args:
        clip_weight: Weight of the loss of clips; that of frames is 1.
        share: See `Splices`.
        seconds: See `Splices`.
        *args: As for `Detection`.
        **more: As for `Detection`.

    Raises:
        InputError: The network does not score frames.
    """

    shardable = False  # frames are asked of the network past its `forward`, which puts its weights together
    monitored = (*Detection.monitored, "dev/frame_eer", "dev/frame_auc")
    progress_metrics: ClassVar = {**Detection.progress_metrics, "frame EER": "dev/frame_eer"}

    def __init__(self, *args: Any, clip_weight: float, share: float, seconds: Sequence[float], **more: Any) -> None:
        super().__init__(*args, **more)
        if not self.detector.locates:
            name = type(self.detector.model).__name__
            raise InputError(f"task=localisation, {name}: a network of frames was expected; set model=frame_cnn")
        self.clip_weight = clip_weight
        self._splices = {"share": share, "seconds": tuple(seconds)}
        self._frames: list[tuple[Tensor, ...]] = []

    def fit(self, setup: Setup) -> dict[str, Any] | None:
        data = setup.datamodule
        if unfit := [a for a in data.in_loader + data.on_device if a.batched or a.moves_time]:
            name = type(unfit[0]).__name__
            raise InputError(f"task=localisation: {name} changes when speech is spoofed: leave it out of augment")
        labelled = {partition: data.corpus.segments(partition) for partition in data.clips}
        missing = [partition for partition, segments in labelled.items() if segments is None]
        if len(missing) == 1:
            raise InputError(f"{data.corpus.name}, {missing[0]}: spoofed segments were expected, as of the others")
        data.clips = {name: partial(Splices, segments=segments, **self._splices) for name, segments in labelled.items()}
        return super().fit(setup)

    def loss_of(self, batch: dict[str, Any]) -> Tensor:
        frames = self.detector.frames(batch["waveform"])
        of_frames = self.loss(frames.flatten(), bonafide_frames(batch["spoofed"], frames.shape[1]).flatten())
        return of_frames + self.clip_weight * self.loss(self._clips(frames), batch["label"])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        frames = self.detector.frames(batch["waveform"]).float()
        log_odds = self._clips(frames)
        self._batches.append((batch["index"], log_odds, log_odds, batch["label"]))
        self._frames.append((batch["index"], frames, bonafide_frames(batch["spoofed"], frames.shape[1])))

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        _, frames, labels = (x.cpu().numpy() for x in self.gathered(self._frames))
        if 0 < labels.mean() < 1:
            values, _ = frame_metrics(frames, labels)
            self.log_dict({f"dev/{name}": x for name, x in values.items()}, rank_zero_only=False, sync_dist=False)

    def more_metrics(self, setup: Setup) -> dict[str, float]:
        """EER and AUC of dev's frames; the threshold of the EER becomes the detector's."""
        device = setup.trainer.strategy.root_device
        detector = self.detector.to(device).eval()
        frames, labels = [], []
        with torch.inference_mode():
            for batch in progress(setup.datamodule.dev_clips(), "frames of dev"):
                frames.append(detector.frames(batch["waveform"].to(device)).float().cpu().numpy())
                labels.append(bonafide_frames(batch["spoofed"], frames[-1].shape[1]).numpy())
        values, threshold = frame_metrics(np.concatenate(frames), np.concatenate(labels))
        source = f"EER threshold of frames of {setup.datamodule.corpus.name}, partition dev"
        detector.set_frame_threshold(threshold, source)
        return values

    def _clips(self, frames: Tensor) -> Tensor:
        """Log-odds of clips from those of their frames, `[B, L]` -> `[B]`."""
        return self.detector.model.pooled(frames)[:, 0]  # type: ignore[operator]


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
