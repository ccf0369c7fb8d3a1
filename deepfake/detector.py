"""The detector: the result of a training, and the start of every other command.

The sign convention, stated once: label 1 = bona fide, 0 = spoof, and the score is larger for bona fide speech. It is
the log-odds of bona fide (for two logits their difference) unless a published system's own score is asked for.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from deepfake.audio import crop_or_repeat, stream
from deepfake.audio.windows import Cutter, mirrored
from deepfake.commandline import run_folder
from deepfake.detector_format import (
    check_settings,
    check_size,
    content_hash,
    one_line,
    read_detector_file,
    write_detector_file,
)
from deepfake.errors import InputError
from deepfake.features.frontend import FrontEnd
from deepfake.metrics.calibration import Calibration
from deepfake.models.network import FrameNetwork, Network

Part = TypeVar("Part", FrontEnd, Network)


class LikelihoodRatio(NamedTuple):
    """How much more probable a score is of spoofed than of bona fide speech.

    Attributes:
        log10_lr_spoof: Base-10 logarithm of the ratio, above 0 in favour of spoof.
        capped: Whether it is limited to what the calibration set supports.
    """

    log10_lr_spoof: float
    capped: bool


class Detector(nn.Module):
    """A front end and a network, from waveform to score.

    Built from a plain dictionary, so that a file with that dictionary and the weights is enough to load it:
    `features` and `model` (each `_target_` and keywords), `sample_rate` in hertz, `seconds` (length of the clip it
    takes), `score` (`log_odds`, or `bonafide_logit` as AASIST's authors score), `threshold` (`value`, `source`),
    `frame_threshold` (the same, if the network scores frames), `calibration` (`source` and the fields of
    `Calibration`) if it is calibrated.

    Args:
        config: That dictionary. `model.in_channels` is filled in from the front end.

    Shape:
        waveform `[B, T]` -> score `[B]`

    Raises:
        InputError: A setting is impossible, or a target is not a network of this package or does not take its keywords.

    Example:
        >>> features = {"_target_": "deepfake.features.raw.Raw"}
        >>> model = {"_target_": "deepfake.models.rawnet2.RawNet2", "gru_units": 8, "dense_units": 8}
        >>> config = {"features": features, "model": model, "sample_rate": 16_000, "seconds": 0.5, "score": "log_odds"}
        >>> detector = Detector(config).eval()
        >>> detector(torch.zeros(3, detector.n_samples)).shape
        torch.Size([3])
        >>> detector.verdict(2.5), detector.p_fake(0.0)
        ('bonafide', 0.5)
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        check_settings(config)
        self.features = _build(FrontEnd, config["features"])
        model = {**config["model"], "in_channels": self.features.n_channels}
        self.model = _build(Network, model, self.features.kind)
        default = {"value": 0.0, "source": "default"}
        thresholds = {"threshold": default, **({"frame_threshold": default} if self.locates else {})}
        self.config = {**thresholds, **config, "model": model}

    @property
    def sample_rate(self) -> int:
        return self.config["sample_rate"]

    @property
    def n_samples(self) -> int:
        """Length in samples of the clip that it takes."""
        return round(self.config["seconds"] * self.sample_rate)

    @property
    def seconds(self) -> float:
        """Length in seconds of the clip that it takes."""
        return self.n_samples / self.sample_rate

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    @property
    def threshold(self) -> float:
        """A score above it means bona fide."""
        return self.config["threshold"]["value"]

    def set_threshold(self, value: float, source: str) -> None:
        """Set the decision threshold and its source."""
        self.config["threshold"] = {"value": float(value), "source": source}

    @property
    def frame_threshold(self) -> float:
        """A frame whose log-odds are above it is bona fide."""
        return self.config["frame_threshold"]["value"]

    def set_frame_threshold(self, value: float, source: str) -> None:
        """Set the decision threshold of frames and its source."""
        self.config["frame_threshold"] = {"value": float(value), "source": source}

    def logits(self, waveform: Tensor) -> Tensor:
        """Output of the network, `[B, T]` -> `[B, 2]` (spoof, bona fide) or `[B, 1]`."""
        return self.model(self.features(waveform))

    def log_odds(self, logits: Tensor) -> Tensor:
        """Log-odds of bona fide, `[B, 1 or 2]` -> `[B]`: the training target, whatever the score is."""
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]

    @property
    def locates(self) -> bool:
        """Whether the network scores frames, not clips alone."""
        return isinstance(self.model, FrameNetwork)

    def frames(self, waveform: Tensor) -> Tensor:
        """Log-odds of bona fide by frame, `[B, T]` -> `[B, L]`; frame l is the l-th of L equal parts of the clip."""
        assert isinstance(self.model, FrameNetwork)
        return self.model.frames(self.features(waveform))

    def score(self, logits: Tensor) -> Tensor:
        """The score that `config["score"]` asks for, `[B, 1 or 2]` -> `[B]`."""
        return logits[:, -1] if self.config["score"] == "bonafide_logit" else self.log_odds(logits)

    def spoof(self, logits: Tensor) -> Tensor:
        """Evidence for spoof in nats, `[B, 1 or 2]` -> `[B]`, before any sigmoid and any bound.

        The log-likelihood ratio of a calibrated detector, else its log-odds.
        """
        if (calibration := self.calibration) is None:
            return -self.log_odds(logits)
        return -(calibration.weight * self.score(logits) + calibration.offset)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.score(self.logits(waveform))

    def score_file(self, path: str | os.PathLike[str]) -> float:
        """Score an audio file from beginning to end, by the rule of `Windows`, as `predict` does.

        Raises:
            InputError: The file cannot be used, or a score is not finite.
        """
        return self.score_blocks(stream(path, block_seconds=10.0, sample_rate=self.sample_rate), os.fspath(path))

    def score_blocks(self, blocks: Iterable[Tensor], name: str) -> float:
        """Score a recording in blocks `[T]`, with its name for errors."""
        windows = Windows(self, name)
        for block in blocks:
            windows.take(block)
        windows.finish()
        return windows.score

    @property
    def calibration(self) -> Calibration | None:
        """Map from scores to likelihood ratios, None for a detector that is not calibrated."""
        found = self.config.get("calibration")
        return Calibration(**{k: found[k] for k in Calibration._fields}) if found else None

    def set_calibration(self, calibration: Calibration, source: str) -> None:
        """Set the calibration and its source."""
        self.config["calibration"] = {**calibration._asdict(), "source": source}

    def llr(self, score: float) -> LikelihoodRatio | None:
        """The likelihood ratio of a score, within what the calibration supports; None without calibration."""
        if (calibration := self.calibration) is None:
            return None
        llr = float(calibration.llr(score))
        return LikelihoodRatio(0.0 - llr / math.log(10), llr != float(calibration.uncapped(score)))

    def p_fake(self, score: float) -> float:
        """Probability of spoof at even prior odds, `sigmoid(-llr)`, where the detector is calibrated.

        Otherwise `sigmoid(threshold - score)`: an uncalibrated value between 0 and 1, one half at the threshold.
        """
        log_odds = score - self.threshold if self.calibration is None else float(self.calibration.llr(score))
        return 1 / (1 + math.exp(min(log_odds, 700.0)))

    def verdict(self, score: float) -> str:
        """`bonafide` above the threshold, else `spoof`."""
        return "bonafide" if score > self.threshold else "spoof"

    @property
    def sha256(self) -> str:
        """SHA-256 of its settings and weights as they are now, see `deepfake.detector_format.content_hash`."""
        return content_hash(self.config, self.state_dict())

    def save(self, path: Path) -> None:
        """Write the plain config, the weights and the SHA-256 of both, whole or not at all."""
        write_detector_file(path, self.config, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Detector:
        """Load from a run folder or a `detector.pt`, on the CPU, in eval mode.

        Afterwards convolutions on a GPU keep single precision in this process, see `keep_single_precision`.

        Raises:
            InputError: The file is missing, damaged or not a detector, a setting is impossible, or its weights are
                those of another model.
        """
        keep_single_precision()
        file = detector_file(path)
        content = read_detector_file(file)
        config, state = content["config"], content["state_dict"]
        if config.get("kind") == "critic":
            raise InputError(f"{file} is a critic, no detector: train.py with init_from={path} makes one of it")
        try:
            with torch.device("meta"):
                check_size(config, cls(config), state)
            detector = cls(config)
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
        except Exception as error:
            what = f"{type(error).__name__}: {one_line(error)}"
            raise InputError(f"{file} is not a detector: its settings cannot be used ({what})") from error
        try:
            detector.load_state_dict(state)
        except RuntimeError as error:
            target = config["model"]["_target_"]
            raise InputError(f"{file}: the weights do not fit {target}: {one_line(error)}") from error
        return detector.eval()


def keep_single_precision() -> None:
    """Make cuDNN convolve in single precision on a GPU, so that reports can be verified on any device (TF32: 5e-3)."""
    torch.backends.cudnn.allow_tf32 = False


class Window(NamedTuple):
    """A window of a recording.

    Attributes:
        start: First sample.
        clip: Samples `[T]`, no more than the detector takes.
        score: Score by the detector.
    """

    start: int
    clip: Tensor
    score: float


class Windows:
    """The scoring of a recording: windows of its blocks, and the detector's scores of them.

    The score of a recording is the mean over windows as long as the detector's clip, each beginning half a clip after
    the one before, so that a threshold set on clips keeps its meaning; the last one ends with the recording. One no
    longer than a clip is repeated to fill it, as in training. No batch mixes recordings, so that no score depends on
    others; on a CPU a batch is one window. Windows that repeat the one before (digital silence) are not scored again.

    Args:
        detector: Detector, put into eval mode.
        name: Name of the recording, for errors.
        n_samples: Length of a window, None for the detector's clip; a shorter one is mirrored to fill the clip.
        overlap: Share of a window that the next one has in common.
        batch_size: Windows per step.

    Attributes:
        scores: Scores of the windows in order of time `[W]`.
        spoof: Evidence for spoof of each window, in nats `[W]`.
    """

    def __init__(
        self,
        detector: Detector,
        name: str,
        *,
        n_samples: int | None = None,
        overlap: float = 0.5,
        batch_size: int | None = None,
    ) -> None:
        self.detector, self.name = detector.eval(), name
        n = n_samples or detector.n_samples
        self.cutter, self.n_filled = Cutter(n, round(n * (1 - overlap))), max(n, detector.n_samples)
        self.batch_size = batch_size or (1 if detector.device.type == "cpu" else 8)
        self.scores: list[float] = []
        self.spoof: list[float] = []
        self._waiting: list[Tensor] = []
        self._last = torch.zeros(0)  # window that was scored

    @property
    def score(self) -> float:
        """Score of the recording, after `finish`."""
        return sum(self.scores) / len(self.scores)

    def take(self, block: Tensor) -> list[Window]:
        """Add a block `[T]`, and return the windows that were scored meanwhile.

        Raises:
            InputError: A score is not finite.
        """
        self._waiting += self.cutter.take(block)
        return self._scored(len(self._waiting) // self.batch_size * self.batch_size)

    def flush(self) -> list[Window]:
        """Score the windows that wait for a full batch, without the last one."""
        return self._scored(len(self._waiting))

    def finish(self) -> list[Window]:
        """Score the windows that wait, and the last one."""
        windows, last = self.flush(), self.cutter.last
        start, clip = self.cutter.n_taken - len(last), crop_or_repeat(last, self.detector.n_samples)
        score, spoof = self.score_clips([clip], [start])
        self.scores += score
        self.spoof += spoof
        return [*windows, Window(start, last, *score)]

    @torch.inference_mode()
    def score_clips(self, clips: list[Tensor], starts: list[int]) -> tuple[list[float], list[float]]:
        """Scores of clips `[T]` as long as the detector's, and their evidence for spoof; starts are in samples."""
        logits = self.detector.logits(torch.stack(clips).to(self.detector.device))
        scores = self.detector.score(logits).double().cpu().tolist()
        for start, score in zip(starts, scores, strict=True):
            if not math.isfinite(score):
                where = f"window from {start / self.detector.sample_rate:.2f} s on"
                raise InputError(f"{self.name}: the detector's score of the {where} is not a finite number")
        return scores, self.detector.spoof(logits).double().cpu().tolist()

    def _scored(self, n: int) -> list[Window]:
        clips, self._waiting, done = self._waiting[:n], self._waiting[n:], len(self.scores)
        starts = [(done + i) * self.cutter.hop for i in range(n)]
        for i in range(0, n, self.batch_size):
            batch = clips[i : i + self.batch_size]
            scores, spoof = (values[-1:] * len(batch) for values in (self.scores, self.spoof))
            if not all(torch.equal(clip, self._last) for clip in batch):
                scores, spoof = self.score_clips([mirrored(c, self.n_filled) for c in batch], starts[i:][: len(batch)])
            self._last = batch[-1]
            self.scores += scores
            self.spoof += spoof
        return [Window(*window) for window in zip(starts, clips, self.scores[done:], strict=True)]


def detector_file(run: str | os.PathLike[str]) -> Path:
    """The detector file of a run, given by its folder or a file of it, or the detector file itself.

    Example:
        >>> detector_file(Path("runs") / "detector.pt").name
        'detector.pt'
    """
    path = Path(run) if Path(run).suffix == ".pt" else run_folder(run)
    return path / "detector.pt" if path.is_dir() else path


def part_of(base: type[Part], target: str) -> type[Part]:
    """A class of this package; a name that is only imported there (`deepfake.x.os`) is refused."""
    module, _, name = target.rpartition(".")
    part = None
    if module.startswith("deepfake."):
        with suppress(ImportError):
            part = getattr(importlib.import_module(module), name, None)
    if not (isinstance(part, type) and issubclass(part, base) and part.__module__.startswith("deepfake.")):
        raise InputError(f"{target} is not a {'front end' if base is FrontEnd else 'network'} of this package")
    return part


def _build(base: type[Part], config: dict[str, Any], kind: str | None = None) -> Part:
    """Build a part of this package.

    Args:
        base: `FrontEnd` or `Network`.
        config: `_target_` and keywords.
        kind: Kind of the front end that a network takes.
    """
    config = dict(config)
    target = str(config.pop("_target_"))
    part = part_of(base, target)
    if kind is not None and issubclass(part, Network):
        part.require_kind(kind)
    try:
        return part(**config)
    except TypeError as error:
        raise InputError(f"{target} does not take these settings: {error}") from error
