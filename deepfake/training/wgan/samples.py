"""Samples of the generator, as images and audio in TensorBoard."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torchaudio.functional import griffinlim

from deepfake.features.frontend import FrontEnd
from deepfake.features.linear import LinearBands
from deepfake.features.mel import RANGE_DB, Mel
from deepfake.training.callbacks import add_feature, board_of

N_ITERATIONS = 32  # of Griffin and Lim's algorithm


class Generated(Callback):
    """Logs real clips once, and every few epochs generated ones from the same noise, to TensorBoard.

    Each is an image and, if the front end can be inverted, audio. Real clips pass through the same inversion, so that
    the comparison by ear is fair.

    Args:
        every_epochs: Number of epochs between two sets of samples.
        n_clips: Number of clips.
    """

    def __init__(self, every_epochs: int = 1, n_clips: int = 4) -> None:
        self.every_epochs = every_epochs
        self.n_clips = n_clips

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if board_of(trainer) is not None and trainer.global_step == 0:  # a resumed run has them
            batch = next(iter(trainer.datamodule.train_clips()))  # type: ignore[attr-defined]
            with torch.no_grad():
                waveform = batch["waveform"][: self.n_clips].to(pl_module.device)
                self._show("real", pl_module.detector.features(waveform), trainer, pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if board_of(trainer) is None or (trainer.current_epoch + 1) % self.every_epochs:
            return
        draw = torch.Generator().manual_seed(0)
        noise = torch.randn(self.n_clips, pl_module.noise_dim, generator=draw).to(pl_module.device)
        pl_module.generator.eval()
        with torch.no_grad():
            self._show("generated", pl_module.generator(noise), trainer, pl_module)
        pl_module.generator.train()

    def _show(self, tag: str, features: Tensor, trainer: lightning.Trainer, pl_module: Any) -> None:
        board, detector = board_of(trainer), pl_module.detector
        features = features.float()  # [B, C, L]
        waveform = waveform_of(detector.features, features)
        for i, feature in enumerate(features):
            add_feature(board, f"{tag}/{i}", feature, trainer.global_step)
            if waveform is not None:
                board.add_audio(f"{tag}/{i}", waveform[i].cpu(), trainer.global_step, sample_rate=detector.sample_rate)


def waveform_of(front_end: FrontEnd, features: Tensor) -> Tensor | None:
    """Audio with approximately these features, by the filterbank's pseudo-inverse and Griffin and Lim (1984).

    Args:
        front_end: Front end; it can be inverted if it is logarithmic bands, normalised by training statistics or not.
        features: Features `[B, C, L]`.

    Returns:
        Waveforms `[B, T]` with a peak of 0.9, since the level may be lost; None if the front end cannot be inverted.
    """
    if not isinstance(front_end, (Mel, LinearBands)) or front_end.normalise.mode == "utterance":
        return None
    if front_end.normalise.mode == "train_stats":
        features = features * front_end.normalise.std[:, None] + front_end.normalise.mean[:, None]
    unit = isinstance(front_end, Mel) and front_end.scale == "unit"
    log_power = features * (RANGE_DB / 10 * math.log(10)) if unit else features
    power = (log_power - log_power.amax(dim=(1, 2), keepdim=True)).exp()  # [B, C, L]
    spectrogram = front_end.spectrogram
    bins = (torch.linalg.pinv(spectrogram.filterbank) @ power).clamp(min=0)  # [B, n_fft // 2 + 1, L]
    window, n_fft, hop = spectrogram.window, spectrogram.n_fft, spectrogram.hop_length
    settings = {"power": 2.0, "n_iter": N_ITERATIONS, "momentum": 0.99, "length": None, "rand_init": False}
    waveform = griffinlim(bins, window, n_fft, hop, len(window), **settings)
    return 0.9 * waveform / waveform.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)
