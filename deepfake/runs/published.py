"""Run folders of published weights: AASIST and AASIST-L as their authors released them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

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


def import_aasist(weights: Path, output: Path) -> Detector:
    """Make a run folder from the authors' state dict (clovaai/aasist, Jung et al., ICASSP 2022).

    AASIST and AASIST-L are distinguished by their shapes. The score is logit 1, as published; the threshold is 0, since
    none was published.

    Args:
        weights: `AASIST.pth` or `AASIST-L.pth`.
        output: The run folder; it must not hold a detector already.

    Raises:
        InputError: The file is not such a state dict, or the folder is taken.
    """
    folder = _free(output)
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{weights} does not exist") from None
    except Exception as error:
        raise InputError(f"{weights} is not a state dict: {' '.join(str(error).split())[:200]}") from error
    for name in PUBLISHED:
        detector = Detector(_config(name))
        if isinstance(state, dict) and _shapes(state) == _shapes(detector.model.state_dict()):
            detector.model.load_state_dict(state)
            detector.set_threshold(0.0, "none was published; zero")
            detector.config["imported"] = {"model": name, "file": weights.name, "sha256": hash_of_file(weights)}
            detector.save(folder.detector)
            OmegaConf.save(OmegaConf.create({"name": f"published_{name}", **detector.config}), folder.config)
            write_environment(output, sys.argv, torch.device("cpu"), 0)
            return detector.eval()
    raise InputError(f"{weights} holds the weights of neither AASIST nor AASIST-L: names or shapes differ")


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


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(weights, "shape", None) for name, weights in state.items()}


def _config(name: str) -> dict[str, Any]:
    """The detector's config from the project's own yaml files, as `train.py model=NAME` composes it."""
    model = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    features = OmegaConf.load(CONF / "features" / "raw.yaml")
    parts = {"features": features, "model": model.model, "seconds": model.seconds}
    both = OmegaConf.create({**parts, "sample_rate": 16000, "score": "bonafide_logit"})
    return OmegaConf.to_container(both, resolve=True)  # type: ignore[return-value]
