"""The detector: what a run leaves behind and every command starts from.

The sign convention, stated once: label 1 = bona fide, 0 = spoof, and the score is larger for bona fide speech. It is
the log-odds of bona fide (for two logits their difference) unless a published system's own score is asked for.
"""

from __future__ import annotations

import importlib
import io
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepfake.atomic import write_atomically
from deepfake.audio import crop_or_repeat, load
from deepfake.errors import InputError
from deepfake.metrics.calibration import Calibration
from deepfake.models.blocks.head import Head

FORMAT = 1
SCORES = ("log_odds", "bonafide_logit")


class Detector(nn.Module):
    """A front end and a network, from waveform to score.

    Built from a plain dictionary, so that a file with that dictionary and the weights is all there is to load:
    `features` and `model` (each `_target_` and keywords), `sample_rate` in hertz, `seconds` (length of the clip it
    hears), `score` (`log_odds`, or `bonafide_logit` as AASIST's authors score), `threshold` (`value`, `source`),
    `frame_threshold` (the same, where the network judges frames), `calibration` (`source` and the fields of
    `Calibration`) once it has one.

    Args:
        config: That dictionary. `model.in_channels` is filled in from the front end.

    Shape:
        waveform `[B, T]` -> score `[B]`

    Raises:
        InputError: A target is not a network of this package, or does not take its keywords.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        if config.get("score") not in SCORES:
            raise InputError(f"score={config.get('score')}: one of {', '.join(SCORES)} was expected")
        self.features = _build(config["features"])
        model = {**config["model"], "in_channels": self.features.n_channels}
        self.model = _build(model)
        default = {"value": 0.0, "source": "default"}
        thresholds = {"threshold": default, **({"frame_threshold": default} if self.locates else {})}
        self.config = {**thresholds, **config, "model": model}

    @property
    def sample_rate(self) -> int:
        return self.config["sample_rate"]

    @property
    def n_samples(self) -> int:
        """Length in samples of the clip that it hears."""
        return round(self.config["seconds"] * self.sample_rate)

    @property
    def threshold(self) -> float:
        """A score above it means bona fide."""
        return self.config["threshold"]["value"]

    def set_threshold(self, value: float, source: str) -> None:
        """Carry a decision threshold and where it came from."""
        self.config["threshold"] = {"value": float(value), "source": source}

    @property
    def frame_threshold(self) -> float:
        """A frame whose log-odds are above it is bona fide."""
        return self.config["frame_threshold"]["value"]

    def set_frame_threshold(self, value: float, source: str) -> None:
        """Carry a decision threshold for frames and where it came from."""
        self.config["frame_threshold"] = {"value": float(value), "source": source}

    def logits(self, waveform: Tensor) -> Tensor:
        """What the network says, `[B, T]` -> `[B, 2]` (spoof, bona fide) or `[B, 1]`."""
        return self.model(self.features(waveform))

    def log_odds(self, logits: Tensor) -> Tensor:
        """Log-odds of bona fide, `[B, 1 or 2]` -> `[B]`: what is trained, whatever the score is."""
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]

    @property
    def locates(self) -> bool:
        """Whether the network judges frames, not clips alone."""
        return hasattr(self.model, "frames")

    def frames(self, waveform: Tensor) -> Tensor:
        """Log-odds of bona fide by frame, `[B, T]` -> `[B, L]`; frame l is the l-th of L equal parts of the clip."""
        return self.model.frames(self.features(waveform))  # type: ignore[operator]

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

    @torch.inference_mode()
    def score_file(self, path: str | Path) -> float:
        """Score one audio file: its first `seconds`, repeat-padded where it is shorter. It is decoded to its end.

        Raises:
            InputError: The file cannot be used, or its score is not finite.
        """
        clip = crop_or_repeat(load(path, sample_rate=self.sample_rate), self.n_samples)
        device = next(self.parameters()).device
        score = self.eval()(clip.unsqueeze(0).to(device)).item()
        if not math.isfinite(score):
            raise InputError(f"{path}: the detector's score is {score}, so nothing can be said of this file")
        return score

    @property
    def calibration(self) -> Calibration | None:
        """How scores become likelihood ratios, None for a detector that is not calibrated."""
        found = self.config.get("calibration")
        return Calibration(**{k: found[k] for k in Calibration._fields}) if found else None

    def set_calibration(self, calibration: Calibration, source: str) -> None:
        """Carry a calibration and what it was fitted on."""
        self.config["calibration"] = {**calibration._asdict(), "source": source}

    def p_fake(self, score: float) -> float:
        """Probability of spoof at even prior odds, `sigmoid(-llr)`, where the detector is calibrated.

        Else `sigmoid(threshold - score)`: an uncalibrated figure between 0 and 1, one half at the threshold.
        """
        log_odds = score - self.threshold if self.calibration is None else float(self.calibration.llr(score))
        return 1 / (1 + math.exp(min(log_odds, 700.0)))

    def verdict(self, score: float) -> str:
        """`bonafide` above the threshold, else `spoof`."""
        return "bonafide" if score > self.threshold else "spoof"

    def save(self, path: Path) -> None:
        """Write the plain config and the weights, whole or not at all."""
        file = io.BytesIO()
        torch.save({"format": FORMAT, "config": self.config, "state_dict": self.state_dict()}, file)
        write_atomically(path, file.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Detector:
        """Load from a run folder or a `detector.pt`, on the CPU, in eval mode.

        From then on convolutions on a GPU keep single precision in this process; see `keep_single_precision`.

        Raises:
            InputError: There is none, it is not one, or its weights are those of another model.
        """
        keep_single_precision()
        file = detector_file(path)
        content = read_detector_file(file)
        if content["config"].get("kind") == "critic":
            raise InputError(f"{file} is a critic, no detector: train.py with init_from={path} makes one of it")
        try:
            detector = cls(content["config"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{file} is not a detector: its config lacks or garbles {error}") from error
        try:
            detector.load_state_dict(content["state_dict"])
        except RuntimeError as error:
            target = content["config"]["model"]["_target_"]
            raise InputError(f"{file}: the weights do not fit {target}: {_one_line(error)}") from error
        return detector.eval()


def keep_single_precision() -> None:
    """Have cuDNN convolve in single precision on a GPU, not in its default, TF32, which moves scores by up to 5e-3.

    A report made on one device is then verified on another.
    """
    torch.backends.cudnn.allow_tf32 = False


def detector_file(run: str | os.PathLike[str]) -> Path:
    """The detector of a run folder, or the file itself."""
    path = Path(run)
    return path / "detector.pt" if path.is_dir() else path


def read_detector_file(file: Path) -> dict[str, Any]:
    """`format`, `config` and `state_dict` of a `detector.pt`; nothing in it is executed."""
    if not file.is_file():
        raise InputError(f"{file} does not exist: give a run folder that holds a detector.pt, or such a file")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{file} is not a detector: {_one_line(error)}") from error
    if not isinstance(content, dict) or not {"format", "config", "state_dict"} <= content.keys():
        raise InputError(f"{file} is not a detector: format, config and state_dict were expected in it")
    if content["format"] != FORMAT:
        raise InputError(f"{file} has format {content['format']}, this version reads {FORMAT}")
    return content


def init_from(detector: Detector, source: str | os.PathLike[str]) -> list[str]:
    """Take over the weights that another detector has under the same names, and say what was left.

    Only the head may differ in shape: it is then left as initialised, and so it is where the other is a critic, whose
    head says something else.

    Args:
        detector: Takes them, in place.
        source: Run folder (its `detector.pt`, or the `critic.pt` of one that has none) or detector file.

    Returns:
        Sentences about weights that were not taken or not given; empty where all fitted.

    Raises:
        InputError: Another name that both have stands for another shape, or they share no name: another model.
    """
    file = detector_file(source)
    critic = file.with_name("critic.pt")
    content = read_detector_file(critic if Path(source).is_dir() and not file.is_file() and critic.is_file() else file)
    given, own = content["state_dict"], detector.state_dict()
    heads = (f"model.{name}." for name, module in detector.model.named_modules() if isinstance(module, Head))
    head = next(heads, "model.head.")
    clash = {name for name in given.keys() & own.keys() if given[name].shape != own[name].shape}
    shared = (given.keys() & own.keys()) - {name for name in clash if name.startswith(head)}
    if content["config"].get("kind") == "critic":
        shared = {name for name in shared if not name.startswith(head)}
    clash = sorted(clash & shared)
    if clash or not any(name.startswith("model.") for name in shared):
        why = f"{clash[0]} is {list(given[clash[0]].shape)} there, {list(own[clash[0]].shape)} here" if clash else (
            "no weight has the same name"
        )  # fmt: skip
        raise InputError(f"init_from={source}: these are the weights of another model ({why})")
    detector.load_state_dict({name: given[name] for name in shared}, strict=False)
    left = [("not taken over", given.keys() - shared), ("left as initialised", own.keys() - shared)]
    return [f"{len(names)} weights {what}: {', '.join(sorted(names)[:5])}" for what, names in left if names]


def _build(config: dict[str, Any]) -> nn.Module:
    """Build a network of this package; a name that only passes through it (`deepfake.x.os`) is refused."""
    config = dict(config)
    target = str(config.pop("_target_"))
    module_name, _, name = target.rpartition(".")
    try:
        network = getattr(importlib.import_module(module_name), name) if module_name.startswith("deepfake.") else None
    except (ImportError, AttributeError):
        network = None
    network = network if isinstance(network, type) and issubclass(network, nn.Module) else None
    if network is None or not network.__module__.startswith("deepfake."):
        raise InputError(f"{target} is not a network of this package")
    try:
        return network(**config)
    except TypeError as error:
        raise InputError(f"{target} does not take these settings: {error}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
