"""The file of a detector: plain settings, weights and their SHA-256, read as the untrusted input that it may be."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deepfake.atomic import save_atomically
from deepfake.detector_parts import part_of
from deepfake.domain import is_domain
from deepfake.errors import InputError
from deepfake.features.pretrained import CACHE, Pretrained
from deepfake.metrics.calibration import Calibration

FORMAT = 1
SCORES = ("log_odds", "bonafide_logit")
ENTRIES = {"format", "config", "state_dict"}
BASE = "features.base."  # names of weights that may be those of a file of pre-trained ones
RATES_HZ = (1_000, 384_000)
LONGEST_SECONDS = 600.0  # of a clip
LARGEST = 1e6  # number in the settings of a front end or a network
SPARE = 1 << 24  # values that a network may have beyond those of its file: filters that follow from the settings


def content_hash(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """SHA-256 of settings (as JSON with sorted keys) and of name, type, shape and bytes of each tensor, by name.

    >>> content_hash({"a": 1}, {})[:8]
    'f9d86028'
    """
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, ensure_ascii=False).encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_detector_file(path: Path, config: dict[str, Any], network: nn.Module) -> None:
    """Write a plain config, the weights of a network and the SHA-256 of both in the format of a `detector.pt`.

    Weights that are still those of `features.weights` are not written but that file's name and SHA-256.
    """
    state = network.state_dict()
    content: dict[str, Any] = {"format": FORMAT, "config": config, "sha256": content_hash(config, state)}
    base = Path(str(config.get("features", {}).get("weights")))
    if base.is_file():
        given = _pretrained(config, base)
        state = {k: v for k, v in state.items() if k not in given or not torch.equal(v.cpu(), given[k])}
        content["base"] = {"file": str(base.resolve()), "sha256": _file_hash(base)}
    save_atomically(path, {**content, "state_dict": state})


def read_detector_file(file: Path) -> dict[str, Any]:
    """Read `format`, `config` and `state_dict` of a `detector.pt`, without executing code in it.

    Files of earlier versions carry no SHA-256: in them nothing can be checked.

    Raises:
        InputError: There is no such file, it is none of a detector, or it is not as it was written.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist: give a run folder that holds a detector.pt, or such a file")
    try:
        _refuse_compressed(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{file} is not a detector: {one_line(error)}") from error
    if not isinstance(content, dict) or content.keys() - {"sha256", "base"} != ENTRIES:
        raise InputError(f"{file} is not a detector, or damaged: format, config and state_dict were expected in it")
    if content["format"] != FORMAT:
        raise InputError(f"{file} has format {content['format']}, this version reads {FORMAT}")
    config, state = content["config"], content["state_dict"]
    if not isinstance(config, dict) or not isinstance(state, dict) or not all(map(_is_whole, state.values())):
        raise InputError(f"{file} is not a detector: settings, and weights that are there to the last value, expected")
    if "base" in content:
        content["state_dict"] = state = _with_base(file, config, content["base"], state)
    try:
        damaged = "sha256" in content and content["sha256"] != content_hash(config, state)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is not a detector: its settings are not plain: {one_line(error)}") from error
    if damaged:
        raise InputError(
            f"{file} is damaged or was altered: its settings and weights do not have the SHA-256 that was written with "
            "them; bring it back from a copy, or delete it and finish the run again with resume="
        )
    return content


def _with_base(file: Path, config: Mapping[str, Any], base: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with those of a file of pre-trained ones, where it was, beside the detector, or downloaded."""
    if not isinstance(base, dict) or not all(isinstance(base.get(name), str) for name in ("file", "sha256")):
        raise InputError(f"{file} is not a detector: file and SHA-256 of its pre-trained weights were expected")
    named = Path(base["file"])
    cache = Path(str(config["features"].get("cache") or CACHE))
    places = (named, file.with_name(named.name), cache.expanduser() / named.name)
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        published = f", published at {address}" if (address := config["features"].get("address")) else ""
        raise InputError(
            f"{file} needs the pre-trained weights {named}, which are not there: copy that file back, or beside it "
            f"(SHA-256 {base['sha256']}{published})"
        )
    if _file_hash(found) != base["sha256"]:
        raise InputError(f"{found}: the SHA-256 {base['sha256']} was expected, of the pre-trained weights of {file}")
    return {**_pretrained(config, found), **state}


def _pretrained(config: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    front_end = part_of(Pretrained, str(config["features"].get("_target_")))
    return {f"{BASE}{name}": tensor for name, tensor in front_end.read(file)[0].items()}


def _file_hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_compressed(file: Path) -> None:
    """Refuse an archive that is larger than its file: torch does not compress, and megabytes could fill the memory."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > file.stat().st_size:
                raise ValueError("it is compressed, which no detector is")


def _is_whole(tensor: Any) -> bool:
    """Whether a tensor has a value in the file for each of its own, so that a copy takes no more memory."""
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def check_settings(config: Mapping[str, Any]) -> None:
    """Check the settings of a detector, before anything is built of them; those of its parts for their size alone.

    Raises:
        InputError: One is missing, of another kind, or impossible: names it.
    """
    if (score := config.get("score")) not in SCORES:
        raise InputError(f"score={score}: one of {', '.join(SCORES)} was expected")
    rate: Any = config.get("sample_rate")
    seconds: Any = config.get("seconds")
    low, high = RATES_HZ
    if type(rate) is not int or not low <= rate <= high:
        raise InputError(f"sample_rate={rate!r:.40}: a whole number of hertz from {low} to {high} was expected")
    if not _is_number(seconds) or not 1 / rate <= seconds <= LONGEST_SECONDS:
        raise InputError(f"seconds={seconds!r:.40}: a length of clips of at most {LONGEST_SECONDS:g} s was expected")
    for name in ("threshold", "frame_threshold"):
        found = config.get(name, {"value": 0.0, "source": ""})
        if (
            not isinstance(found, dict)
            or not _is_number(found.get("value"))
            or not isinstance(found.get("source"), str)
        ):
            raise InputError(f"{name}={found!r:.80}: a finite value and its source were expected")
    if (found := config.get("calibration")) is not None and not _is_calibration(found):
        raise InputError(
            f"calibration={found!r:.80}: a weight above 0, an offset, bounds, counts and their source were expected"
        )
    if (found := config.get("domain")) is not None and not is_domain(found):
        raise InputError(f"domain={found!r:.80}: a source, counts and sizes were expected")
    for part in ("features", "model"):
        if not isinstance(config.get(part), dict):
            raise InputError(f"{part}={config.get(part)!r:.40}: the settings of a part were expected")
        for number in _numbers(config[part]):
            if not abs(number) <= LARGEST:
                raise InputError(f"{part} has the setting {number}: numbers up to {LARGEST:g} were expected")


class SmallValues(TorchFunctionMode):
    """Makes small tensors of given values on the CPU below `torch.device("meta")`, where only weights need not be held.

    On `meta`, torch computes windows, ranges and normal draws by functions in Python that load its compiler: one to two
    seconds at each start. The draws are left out, since nothing there has a value.
    """

    MADE = frozenset(
        (torch.arange, torch.eye, torch.hamming_window, torch.hann_window, torch.linspace, torch.ones, torch.zeros)
    )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, on the CPU where it makes few values."""
        kwargs = kwargs or {}
        if func is Tensor.normal_ and args[0].is_meta:
            return args[0]
        if func is torch.randn and "device" not in kwargs:
            return torch.empty(*args, **kwargs)
        if func in self.MADE and "device" not in kwargs:
            most = math.prod(max(abs(n), 1 / abs(n)) for n in _numbers([args, kwargs]) if n)
            kwargs["device"] = "cpu" if most ** (1 + (func is torch.eye)) <= SPARE else "meta"
        return func(*args, **kwargs)


def check_size(config: Mapping[str, Any], described: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Check that a network has not many more values than there are weights for it.

    Args:
        config: Settings that the network was made of.
        described: The network on the device `meta`, where nothing is allocated.
        state: Its weights.

    Raises:
        InputError: It has.
    """
    n_described = sum(tensor.numel() for tensor in (*described.parameters(), *described.buffers()))
    if n_described > (n := sum(tensor.numel() for tensor in state.values())) + SPARE:
        target = config["model"].get("_target_")
        raise InputError(
            f"the weights do not fit {target}: its settings ask for {n_described:,} values, there are {n:,}"
        )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_calibration(found: Any) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("source"), str):
        return False
    values: dict[str, Any] = {name: found.get(name) for name in Calibration._fields}
    if not all(map(_is_number, values.values())):
        return False
    c = Calibration(**values)
    counts = all(type(n) is int and n >= 0 for n in (c.n_bonafide, c.n_spoof))
    return counts and c.weight > 0 and c.low <= 0 <= c.high


def _numbers(value: Any) -> Iterator[float]:
    """Every number in nested settings."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)


def one_line(error: Exception) -> str:
    """The beginning of an error's message."""
    return " ".join(str(error).split())[:300]
