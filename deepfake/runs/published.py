"""Run folders of published weights: detectors as their authors released them."""

from __future__ import annotations

import re
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from deepfake.atomic import write_atomically
from deepfake.detector import Detector
from deepfake.download import download
from deepfake.errors import InputError
from deepfake.features.ssl_weights import of_state
from deepfake.features.weights_file import read_safetensors
from deepfake.runs import catalogue
from deepfake.runs.catalogue import Published
from deepfake.runs.environment import write_environment
from deepfake.runs.folder import RunFolder
from deepfake.runs.provenance import hash_of_file

WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
MOST_NAMED, MOST_WRAPPED = 4, 8
SPARE_BYTES = 16 << 20  # that a file of weights may have beyond 5 for each parameter: names, pre-training's own tensors
BASE = "features.base."


def import_published(name: str, weights: Path, output: Path, *, accepted: bool = False) -> Detector:
    """Make a run folder of the authors' state dict, strictly: tensors missing, unknown or of another shape are named.

    The state dict may be wrapped as `_unwrapped` says. The threshold is 0, since none is published. Beside the detector
    stands its model card.

    Args:
        name: Of a file in `conf/published`. Where it names others that are built alike, shapes tell them apart.
        weights: The file: of torch, or safetensors.
        output: The run folder; it must not hold a detector already.
        accepted: Whether the user accepts the licence.

    Raises:
        InputError: The licence is not accepted, the file is not such a state dict, or the folder is taken.
    """
    entry, folder, differences = _usable(name, accepted), _free(output), {}
    state = _state_of(weights)
    for one in (entry, *map(catalogue.read, entry.also)):
        own, told = _renamed(one, state, weights)
        detector = Detector(one.config(told))
        differences[one.title, one.name] = what = _differences(own, detector.state_dict())
        if not what:
            detector.load_state_dict(own)
            detector.set_threshold(0.0, "none was published; zero")
            imported = {"model": one.name, "file": weights.name, "sha256": hash_of_file(weights), "card": one.card}
            detector.config["imported"] = imported
            detector.save(folder.detector)
            write_atomically(folder.model_card, _card(detector.config).encode())
            OmegaConf.save(OmegaConf.create({"name": f"published_{one.name}", **detector.config}), folder.config)
            write_environment(output, sys.argv, torch.device("cpu"), 0)
            return detector.eval()
    (_, closest), what = min(differences.items(), key=lambda item: len(item[1]))
    titles = [title for title, _ in differences]
    wrong = f"neither {' nor '.join(titles)}" if len(titles) > 1 else f"another detector than {titles[0]}"
    raise InputError(
        f"{weights} holds the weights of {wrong}; from {closest} differ {len(what)} of its "
        f"entries: {', '.join(what[:MOST_NAMED])}{' ...' if len(what) > MOST_NAMED else ''}"
    )


def fetch(name: str, output: Path, *, accepted: bool = False) -> Detector:
    """Download published weights, check them by SHA-256 where it is known, and import them.

    Raises:
        InputError: The licence is not accepted, there is no address or no connection, or the file is another one.
    """
    entry = _usable(name, accepted)
    _free(output)
    by_hand = f"`deepfake import {name} --weights FILE --output {output}{' --accept-licence' * entry.accept}`"
    if not entry.url:
        raise InputError(
            f"{entry.title} has no address that a program can fetch: download it with a browser from {entry.source} "
            f"and use {by_hand}"
        )
    file = entry.url.rpartition("/")[2]
    otherwise = f"without a connection, download it elsewhere and use {by_hand.replace('FILE', file)}"
    near = next(path for path in output.absolute().parents if path.is_dir())
    with tempfile.TemporaryDirectory(dir=near) as folder:
        path, most = Path(folder) / file, round(5e6 * entry.millions) + SPARE_BYTES
        download(entry.url, path, sha256=entry.sha256 or None, most_bytes=most, otherwise=otherwise)
        return import_published(name, path, output, accepted=accepted)


def _usable(name: str, accepted: bool) -> Published:
    """The published detector, once its licence is shown and accepted."""
    entry = catalogue.read(name)
    if entry.accept and not accepted:
        raise InputError(
            f"{entry.title} ({entry.paper}) has the licence: {entry.licence}; repeat the command with --accept-licence "
            "if you accept it"
        )
    return entry


def _free(output: Path) -> RunFolder:
    """A run folder that holds no detector yet."""
    folder = RunFolder(output)
    if folder.detector.exists():
        raise InputError(f"{folder.detector} exists already: give another --output")
    return folder


def _state_of(weights: Path) -> dict[str, Tensor]:
    """The tensors in a file of weights, without executing code in it."""
    try:
        if weights.suffix == ".safetensors":
            content: Any = read_safetensors(weights)
        else:
            content = torch.load(weights, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(weights))
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


def _renamed(entry: Published, state: Mapping[str, Tensor], file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors by their names in a `Detector`, and what those of the front end tell of it."""
    base = {name.removeprefix(entry.base): t for name, t in state.items() if entry.base and name.startswith(entry.base)}
    renamed, told = {}, {}
    for name, tensor in state.items():
        if entry.base and name.startswith(entry.base):
            continue
        for pattern, replacement in entry.names:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    if entry.base:
        try:
            own, told = of_state(base)
        except KeyError as error:
            raise InputError(
                f"{file} holds the weights of another detector than {entry.title}: it has no {error.args[0]} of a "
                f"front end whose names begin with {entry.base}"
            ) from error
        renamed |= {f"{BASE}{name}": tensor for name, tensor in own.items()}
    return renamed, told


def _differences(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What of a state dict is not as a detector has it, in words."""

    def short(name: str) -> str:
        return name.removeprefix("model.")

    lacking = [f"{short(name)} is not there" for name in wanted if name not in state]
    shapes = [
        f"{short(name)} is {tuple(state[name].shape)}, not {tuple(weights.shape)}"
        for name, weights in wanted.items()
        if name in state and state[name].shape != weights.shape
    ]
    return [*shapes, *lacking, *(f"{short(name)} is unknown" for name in state if name not in wanted)]


def _card(config: Mapping[str, Any]) -> str:
    """The model card, as Markdown."""
    imported, seconds = config["imported"], config["seconds"]
    card = imported["card"]
    score = {"bonafide_logit": "the logit of bona fide", "log_odds": "the log-odds of bona fide"}[config["score"]]
    facts = {
        "Paper": card["paper"],
        "Licence of the weights": card["licence"],
        "Weights from": card["source"],
        "File": f"{imported['file']}, SHA-256 {imported['sha256']}",
        "Parameters": f"{card['millions']:g} million",
        "Trained on": card["trained_on"],
        "Score": f"{score}; larger for bona fide speech, not calibrated",
        "Threshold": "none was published: 0 until `evaluate.py calibrate=true` sets one",
        "Waveform, by its authors": card["waveform"],
        "What is scored, by its authors": card["clip"],
        "What is scored here": f"the mean over windows of {seconds:g} s, or with `--clips first` the first alone",
    }
    lines = [f"# {card['title']}", "", *(f"- **{name}**: {value}" for name, value in facts.items())]
    for heading, key in (("Published, by others", "published"), ("Measured by this project", "measured")):
        lines += ["", f"## {heading}", "", *_rates(card[key])]
    return "\n".join([*lines, ""])


def _rates(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["Not measured."]
    cells = [f"| {r['corpus']} | {r['eer']:.2f} | {_trials(r['n_trials'])} | {r['by']} |" for r in rows]
    return ["| corpus | EER % | trials | by |", "|---|---|---|---|", *cells]


def _trials(n: int | None) -> str:
    return "not stated" if n is None else f"{n:,}"
