"""The task that fits Gaussian mixtures, without gradients and epochs."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepfake.datasets.utterance import BONAFIDE, SPOOF, Utterance
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.loading.datamodule import DataModule
from deepfake.models.gmm import GaussianMixtures
from deepfake.terminal import progress
from deepfake.training.finish import finish
from deepfake.training.gmm.em import Mixture, fit_mixture, initial_mixture, standardise
from deepfake.training.setup import Setup
from deepfake.training.task import Task

log = logging.getLogger(__name__)

WORDS = {BONAFIDE: "bona fide", SPOOF: "spoof"}


class MixtureFit(Task):
    """Expectation maximisation of a mixture for each class, over the frames of the training partition.

    The recipe of the LFCC-GMM baselines of ASVspoof 2019 and 2021 (the organisers' Matlab scripts): random frames as
    the initial means, the variance of all frames, ten iterations. They use whole utterances; here the detector takes
    the same clip as in scoring, the first `seconds` of each utterance, repeated if it is shorter.

    The frames are extracted once, into memory. A resumed fit starts over, from its seed or, with `init_from`, from the
    mixtures of that run. Only rank 0 fits.

    Args:
        detector: Detector whose model is `GaussianMixtures`.
        seed: Seed of the initial means and of the choice of frames.
        max_iterations: Largest number of iterations.
        tolerance: Gain in nats per frame below which the iterations end.
        variance_floor: Smallest variance of a component, as a share of the variance of all frames of the class.
        max_frames: Largest number of frames per class; of more, equally many are drawn from each clip.

    Raises:
        InputError: Another model, or a setting out of range.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        seed: int,
        max_iterations: int,
        tolerance: float,
        variance_floor: float,
        max_frames: int,
    ) -> None:
        if not isinstance(detector.model, GaussianMixtures):
            name = type(detector.model).__name__
            raise InputError(f"task=gmm, {name}: Gaussian mixtures were expected; set model=lfcc_gmm")
        for key, value in {"max_iterations": max_iterations, "max_frames": max_frames}.items():
            if value < 1:
                raise InputError(f"task.{key}={value}: at least 1 was expected")
        if not 0 < variance_floor < 1:
            raise InputError(f"task.variance_floor={variance_floor}: a share between 0 and 1 was expected")
        self.detector = detector
        self.model: GaussianMixtures = detector.model
        self.seed = seed
        self.max_frames = max_frames
        self.settings = {"max_iterations": max_iterations, "tolerance": tolerance, "variance_floor": variance_floor}

    def fit(self, setup: Setup) -> dict[str, Any] | None:
        """Fit both mixtures, and write the files of the run, see `deepfake.training.finish.finish`."""
        datamodule, trainer = setup.datamodule, setup.trainer
        if datamodule.in_loader or datamodule.on_device:
            raise InputError("task=gmm takes the training clips unchanged: leave augment out")
        if not trainer.is_global_zero:
            return None
        if setup.config["resume"]:
            log.info("a fit of mixtures has no checkpoints: it starts over")
        device = trainer.strategy.root_device
        frames = self._frames(datamodule, device)
        begin = time.monotonic()
        for label in (BONAFIDE, SPOOF):
            mean, std = standardise(frames[label])
            gain = float(std.log().sum())  # of the likelihood by standardising the frames
            start = self._start(label, frames[label], mean, std, own=bool(setup.config["init_from"]))
            fit = fit_mixture(frames[label], start, device=device, **self.settings)  # type: ignore[arg-type]
            for i, (mixture, likelihood) in enumerate(fit, start=1):
                self.model.put(label, *mixture.rescaled(mean, std))
                words = WORDS[label], i, self.settings["max_iterations"], likelihood - gain, time.monotonic() - begin
                log.info("%s: iteration %d of at most %d, log-likelihood %.4f per frame, %.1f s", *words)
                for logger in trainer.loggers:
                    logger.log_metrics({f"log_likelihood/{WORDS[label]}": likelihood - gain}, i)
            del frames[label]
        return finish(setup, self.detector, {})

    @torch.no_grad()
    def _frames(self, datamodule: DataModule, device: torch.device) -> dict[int, Tensor]:
        """Training frames by label, each `[N, C]` on the CPU, in one pass over the clips."""
        front_end = self.detector.to(device).eval().features
        n_frames = front_end(torch.zeros(1, self.detector.n_samples, device=device)).shape[-1]
        kept = self._kept(datamodule.train, n_frames)
        labels = [u.label for u in datamodule.train]
        n_all = {label: sum(n for n, own in zip(kept, labels, strict=True) if own == label) for label in WORDS}
        for label, n in n_all.items():
            if n < self.model.n_components:
                raise InputError(
                    f"{datamodule.corpus.name}, partition train: {n} frames of {WORDS[label]} speech are too few for "
                    f"{self.model.n_components} components: use more speech, or a smaller model.n_components"
                )
        log.info("%s frames of bona fide speech, %s of spoof", f"{n_all[BONAFIDE]:,}", f"{n_all[SPOOF]:,}")
        frames = {label: torch.empty(n, self.model.in_channels) for label, n in n_all.items()}
        filled = dict.fromkeys(WORDS, 0)
        for batch in progress(datamodule.train_clips(), "features"):
            waveform = datamodule.on_before_batch_transfer(batch, 0)["waveform"]
            features = front_end(waveform.to(device)).transpose(1, 2).cpu()  # [B, L, C]
            for index, label, clip in zip(batch["index"].tolist(), batch["label"].tolist(), features, strict=True):
                if kept[index] < n_frames:
                    drawn = np.random.default_rng([self.seed, index]).choice(n_frames, kept[index], replace=False)
                    clip = clip[np.sort(drawn)]
                frames[label][filled[label] : filled[label] + len(clip)] = clip
                filled[label] += len(clip)
        for label, own in frames.items():
            if not all(part.isfinite().all() for part in own.split(100_000)):
                raise InputError(f"features of {WORDS[label]} training clips are not finite")
        return frames

    def _kept(self, utterances: Sequence[Utterance], n_frames: int) -> list[int]:
        """Number of frames to use of each utterance, in proportion to its weight in the corpus."""
        kept = [0] * len(utterances)
        for label in WORDS:
            weights = {i: u.weight for i, u in enumerate(utterances) if u.label == label and u.weight > 0}
            whole = n_frames * sum(weights.values()) / max(weights.values())
            most = n_frames * min(1.0, self.max_frames / whole) / max(weights.values())
            for i, weight in weights.items():
                kept[i] = max(1, round(most * weight))
        return kept

    def _start(self, label: int, frames: Tensor, mean: Tensor, std: Tensor, *, own: bool) -> Mixture:
        """Initial mixture for standardised frames: random, or the model's own.

        Args:
            label: Label of the class.
            frames: Standardised frames `[N, C]`.
            mean: Mean of the frames before, `[C]`.
            std: Standard deviation of the frames before, `[C]`.
            own: Whether to start from the model's own mixture.
        """
        if not own:
            return initial_mixture(frames, self.model.n_components, torch.Generator().manual_seed(self.seed))
        given = self.model.log_weights[label], self.model.means[label], self.model.log_variances[label]
        log_weights, means, log_variances = (x.detach().cpu().double() for x in given)
        return Mixture(log_weights.log_softmax(dim=0), means, log_variances).rescaled(-mean / std, 1 / std)
