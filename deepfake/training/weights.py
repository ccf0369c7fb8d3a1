"""The weights that a training starts from."""

from __future__ import annotations

import os
from pathlib import Path

from deepfake.commandline import detector_file
from deepfake.detector import Detector
from deepfake.detector_format import read_detector_file
from deepfake.errors import InputError
from deepfake.models.blocks.head import Head
from deepfake.runs.folder import RunFolder


def init_from(detector: Detector, source: str | os.PathLike[str]) -> list[str]:
    """Load the weights that another detector has under the same names.

    Only the head may differ in shape: it is then left as initialised, as it is with a critic, whose output is no
    score.

    Args:
        detector: Detector that gets the weights, in place.
        source: Run folder (its `detector.pt`, or the `critic.pt` of one that has none) or detector file.

    Returns:
        Sentences about weights that were not loaded or not there; empty where all fitted.

    Raises:
        InputError: Weights outside the head differ in shape, or no name is the same: another model.
    """
    file, critic = detector_file(source), RunFolder.of(source).critic
    content = read_detector_file(critic if Path(source).is_dir() and not file.is_file() and critic.is_file() else file)
    given, own = {k: v for k, v in content["state_dict"].items() if not k.startswith("domain.")}, detector.state_dict()
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
