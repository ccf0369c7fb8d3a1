"""Run folders of published weights: AASIST and AASIST-L as their authors released them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from deepfake import CONF
from deepfake.detector import Detector
from deepfake.download import download
from deepfake.errors import InputError
from deepfake.runs.environment import write_environment
from deepfake.runs.folder import RunFolder
from deepfake.runs.provenance import hash_of_file

SOURCE = "https://github.com/clovaai/aasist/raw/a04c986/models/weights/"
PUBLISHED = {  # name: file, SHA-256
    "aasist": ("AASIST.pth", "51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0"),
    "aasist_l": ("AASIST-L.pth", "814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a"),
}
MAX_BYTES = 50 << 20
WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
MOST_NAMED, MOST_WRAPPED = 4, 8


def import_aasist(weights: Path, output: Path) -> Detector:
    """Make a run folder from the authors' state dict (clovaai/aasist, Jung et al., ICASSP 2022).

    The state dict may be wrapped as `_unwrapped` says. AASIST and AASIST-L are distinguished by their shapes. The score
    is logit 1, as published; the threshold is 0, since none was published.

    Args:
        weights: `AASIST.pth` or `AASIST-L.pth`.
        output: The run folder; it must not hold a detector already.

    Raises:
        InputError: The file is not such a state dict, or the folder is taken.
    """
    folder = _free(output)
    state, differences = _state_of(weights), {}
    for name in PUBLISHED:
        detector = Detector(_config(name))
        differences[name] = _differences(state, detector.model.state_dict())
        if not differences[name]:
            detector.model.load_state_dict(state)
            detector.set_threshold(0.0, "none was published; zero")
            detector.config["imported"] = {"model": name, "file": weights.name, "sha256": hash_of_file(weights)}
            detector.save(folder.detector)
            OmegaConf.save(OmegaConf.create({"name": f"published_{name}", **detector.config}), folder.config)
            write_environment(output, sys.argv, torch.device("cpu"), 0)
            return detector.eval()
    closest = min(differences, key=lambda name: len(differences[name]))
    what = differences[closest]
    raise InputError(
        f"{weights} holds the weights of neither AASIST nor AASIST-L; from {closest} differ {len(what)} of its "
        f"entries: {', '.join(what[:MOST_NAMED])}{' ...' if len(what) > MOST_NAMED else ''}"
    )


def fetch(name: str, output: Path) -> Detector:
    """Download published weights, check them by SHA-256, and import them.

    Raises:
        InputError: No such name, no connection, or the file is not the published one.
    """
    file, digest = PUBLISHED[name]
    _free(output)
    otherwise = f"without a connection, download it elsewhere and use `deepfake import aasist --weights {file}`"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        download(SOURCE + file, path, sha256=digest, most_bytes=MAX_BYTES, otherwise=otherwise)
        return import_aasist(path, output)


def _free(output: Path) -> RunFolder:
    """A run folder that holds no detector yet."""
    folder = RunFolder(output)
    if folder.detector.exists():
        raise InputError(f"{folder.detector} exists already: give another --output")
    return folder


def _state_of(weights: Path) -> dict[str, Tensor]:
    """The tensors in a file of weights, without executing code in it."""
    if weights.suffix == ".safetensors":
        raise InputError(
            f"{weights}: safetensors are not read: load it elsewhere, torch.save the dictionary, import it"
        )
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{weights} does not exist") from None
    except Exception as error:
        raise InputError(f"{weights} is not a state dict: {' '.join(str(error).split())[:200]}") from error
    return _unwrapped(content)


def _unwrapped(content: Any) -> dict[str, Tensor]:
    """The tensors by the names that the network gives them.

    They may lie within dictionaries under one of `WRAPPINGS`, as in checkpoints of Lightning and of others, and all
    their names may begin with one of `PREFIXES`, as those of DataParallel, of `torch.compile` or of a module around it.
    """
    for _ in range(MOST_WRAPPED):  # a dictionary may lie within itself
        inner = [content[key] for key in WRAPPINGS if isinstance(content, dict) and isinstance(content.get(key), dict)]
        content = inner[0] if inner else content
    state = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    while state and (prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None)):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _differences(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What of a state dict is not as a network has it, in words."""
    lacking = [f"{name} is not there" for name in wanted if name not in state]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(weights.shape)}"
        for name, weights in wanted.items()
        if name in state and state[name].shape != weights.shape
    ]
    return [*shapes, *lacking, *(f"{name} is unknown" for name in state if name not in wanted)]


def _config(name: str) -> dict[str, Any]:
    """The detector's config from the project's own yaml files, as `train.py model=NAME` composes it."""
    model = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    features = OmegaConf.load(CONF / "features" / "raw.yaml")
    parts = {"features": features, "model": model.model, "seconds": model.seconds}
    both = OmegaConf.create({**parts, "sample_rate": 16000, "score": "bonafide_logit"})
    return OmegaConf.to_container(both, resolve=True)  # type: ignore[return-value]
