"""The detector: the result of a training, and the start of every other command.

The sign convention, stated once: label 1 = bona fide, 0 = spoof, and the score is larger for bona fide speech. It is
the log-odds of bona fide (for two logits their difference) unless a published system's own score is asked for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from deepfake.audio import crop_or_repeat, stream
from deepfake.audio.windows import Cutter, mirrored
from deepfake.commandline import detector_file
from deepfake.detector_format import (
    SmallValues,
    check_settings,
    check_size,
    content_hash,
    one_line,
    read_detector_file,
    write_detector_file,
)
from deepfake.detector_parts import build, part_of
from deepfake.domain import SOURCES, Domain, Place
from deepfake.errors import InputError
from deepfake.features.frontend import FrontEnd
from deepfake.metrics.calibration import Calibration, LikelihoodRatio
from deepfake.models.network import FrameNetwork, Network
from deepfake.replay import replayed

if TYPE_CHECKING:
    from deepfake.localisation.stream import Stream


class Detector(nn.Module):
    """A front end and a network, from waveform to score.

    Built from a plain dictionary, so that a file with that dictionary and the weights is enough to load it:
    `features` and `model` (each `_target_` and keywords), `sample_rate` in hertz, `seconds` (length of the clip it
    takes), `score` (`log_odds`, or `bonafide_logit` as AASIST's authors score), `threshold` (`value`, `source`),
    `frame_threshold` (the same, if the network scores frames), `calibration` (`source` and the fields of
    `Calibration`) if it is calibrated, `domain` (`source`, counts and sizes) if it knows what it was trained on.

    Args:
        config: That dictionary. `model.in_channels` is filled in from the front end, and `n_layers` of a network that
            takes it.

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
        self.features = build(FrontEnd, config["features"])
        model = {**config["model"], "in_channels": self.features.n_channels}
        if part_of(Network, str(model["_target_"])).layered:
            model["n_layers"] = self.features.n_stacked
        self.model = build(Network, model, self.features.kind)
        default = {"value": 0.0, "source": "default"}
        thresholds = {"threshold": default, **({"frame_threshold": default} if self.locates else {})}
        self.config = {**thresholds, **config, "model": model}
        sizes = {source: found[source] for source in SOURCES} if (found := config.get("domain")) else None
        self.domain = Domain(**sizes, sample_rate=config["sample_rate"]) if sizes else None

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

    def logits_and_embedding(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Output of the network and the embedding that it is made of, `[B, T]` -> `[B, 1 or 2]`, `[B, D]`."""
        return self.model.with_embedding(self.features(waveform))

    def judged(self, waveform: Tensor) -> list[Tensor]:
        """Logits and, where the domain is known, distances from it, `[B, T]` -> `[B, 1 or 2]`, `[B]`."""
        if self.domain is None:
            return [self.logits(waveform)]
        logits, embedding = self.logits_and_embedding(waveform)
        return [logits, self.domain(waveform, embedding)]

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

    def stream(
        self, *, sample_rate: int | None = None, hop: float | None = None, seconds: float | None = None
    ) -> Stream:
        """What scores audio while it comes, in constant memory: `deepfake.localisation.stream.Stream`."""
        from deepfake.localisation.stream import Stream  # which stands above: the one door upwards

        return Stream(self, sample_rate=sample_rate, hop=hop, seconds=seconds)

    @property
    def calibration(self) -> Calibration | None:
        """Map from scores to likelihood ratios, None for a detector that is not calibrated."""
        found = self.config.get("calibration")
        return Calibration(**{k: found[k] for k in Calibration._fields}) if found else None

    def set_calibration(self, calibration: Calibration, source: str) -> None:
        """Set the calibration and its source."""
        self.config["calibration"] = {**calibration._asdict(), "source": source}

    def set_domain(
        self, domain: Domain, source: str, *, n_train: int, n_dev: int, misjudged: Mapping[str, list[int]]
    ) -> None:
        """Set the speech that it was made for, its source, of how many clips it is known, and which were misjudged."""
        self.domain = domain.to(self.device)
        counts = {"n_train": n_train, "n_dev": n_dev, "misjudged": dict(misjudged)}
        self.config["domain"] = {"source": source, **counts, **domain.sizes}

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
            with torch.device("meta"), SmallValues():
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
        distances: From the detector's domain `[W]`; empty where it has none.
        n_scored: Windows that were scored, also where their scores were forgotten.
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
        self.distances: list[float] = []
        self.n_scored = 0
        self._waiting: list[Tensor] = []
        self._last = torch.zeros(0)  # window that was scored

    @property
    def score(self) -> float:
        """Score of the recording, after `finish`."""
        return sum(self.scores) / len(self.scores)

    @property
    def place(self) -> Place | None:
        """Where the recording lies, by the median distance of its windows: a pause does not put it outside."""
        domain = self.detector.domain
        return None if domain is None else domain.place(median(self.distances))

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
        self._keep(*self.score_clips([clip], [start]))
        return [*windows, Window(start, last, self.scores[-1])]

    def forget(self) -> None:
        """Forget all scores but the last one, for a recording without end."""
        for values in (self.scores, self.spoof, self.distances):
            del values[:-1]

    def _keep(self, scores: list[float], spoof: list[float], distances: list[float]) -> None:
        self.n_scored += len(scores)
        self.scores += scores
        self.spoof += spoof
        self.distances += distances

    @torch.inference_mode()
    def score_clips(self, clips: list[Tensor], starts: list[int]) -> tuple[list[float], list[float], list[float]]:
        """Scores of clips `[T]` as long as the detector's, evidence for spoof, distances; starts are in samples."""
        judged = replayed(self.detector, self.detector.judged, self.detector.domain)
        logits, *distances = judged(torch.stack(clips).to(self.detector.device))
        scores = self.detector.score(logits).double().cpu().tolist()
        for start, score in zip(starts, scores, strict=True):
            if not math.isfinite(score):
                where = f"window from {start / self.detector.sample_rate:.2f} s on"
                raise InputError(f"{self.name}: the detector's score of the {where} is not a finite number")
        of_clips = [value for found in distances for value in found.double().cpu().tolist()]
        return scores, self.detector.spoof(logits).double().cpu().tolist(), of_clips

    def _scored(self, n: int) -> list[Window]:
        clips, self._waiting, done = self._waiting[:n], self._waiting[n:], self.n_scored
        starts = [(done + i) * self.cutter.hop for i in range(n)]
        for i in range(0, n, self.batch_size):
            batch = clips[i : i + self.batch_size]
            if all(torch.equal(clip, self._last) for clip in batch):
                found = [values[-1:] * len(batch) for values in (self.scores, self.spoof, self.distances)]
            else:
                found = self.score_clips([mirrored(c, self.n_filled) for c in batch], starts[i:][: len(batch)])
            self._keep(*found)
            self._last = batch[-1]
        return [Window(*window) for window in zip(starts, clips, self.scores[len(self.scores) - n :], strict=True)]
