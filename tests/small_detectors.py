"""The pairs of model and front end, each real detector in a small size, and a detector whose evidence is known.

A new model needs a line in `SMALL`, or it is tested in its own size.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
from typing import Any

import numpy as np
import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from tiny import REPOSITORY, compose
from torch import Tensor, nn

from deepfake.detector import Detector
from deepfake.domain import STATES, Described, Domain, band_levels
from deepfake.explain.clip import Clip
from deepfake.features.frontend import FrontEnd
from deepfake.features.pretrained import Pretrained
from deepfake.models.network import Network

SMALL = {
    "aasist": ("model.channels=[3,3,4,4,4,4]", "model.graph_dims=[4,4]", "model.n_filters=12"),
    "aasist_l": ("model.channels=[3,3,2,2,2,2]", "model.graph_dims=[4,6]", "model.n_filters=13"),
    "aasist_ssl": ("model.channels=[3,3,4,4,4,4]", "model.graph_dims=[4,4]", "model.n_rows=12"),
    "cnn": ("model.channels=[3,4,4,4]",),
    "cnn_bilstm": ("model.channels=[3,4,4]", "model.lstm_units=[4,3]", "model.dense_units=4"),
    "conformer": ("model.width=8", "model.n_blocks=2", "model.n_heads=2", "model.n_positions=400"),
    "frame_cnn": ("model.channels=[3,4,4,4]", "model.width=4"),
    "mhfa": ("model.n_heads=3", "model.compression=4", "model.embedding=5"),
    "nes2net_x": ("model.n_groups=2", "model.n_slices=3"),
    "sls": ("model.n_stretches=5", "model.hidden=6"),
    "lcnn": ("model.channels=[3,4,4,4,4]",),
    "rawnet2": ("model.n_filters=4", "model.channels=[4,4,4,4,4,4]", "model.gru_units=4", "model.dense_units=4"),
    "bimodal": ("model.channels=[3,4,4,4]", "model.lstm_units=3"),
    "wgan_gp_critic": ("model.channels=[4,8,8]", "model.attention_rows=32"),
    "lfcc_gmm": ("model.n_components=3",),
}
SMALL_PRETRAINED = {"conv_channels": 4, "dim": 16, "n_layers": 2, "n_heads": 2, "ffn": 8, "n_mels": 20}
SMALL_PRETRAINED |= {"wavlm": "false", "norm": "group", "conv_bias": "true"}
CONF = REPOSITORY / "conf"
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
FRONT_ENDS = sorted(path.stem for path in (CONF / "features").glob("*.yaml"))
DISTINCT = [name for name in FRONT_ENDS if not name.startswith("whisper_")]  # those differ in sizes alone


@functools.cache
def _written(group: str, name: str) -> DictConfig:
    """What stands in `conf/GROUP/NAME.yaml` itself."""
    return OmegaConf.load(CONF / group / f"{name}.yaml")


@functools.cache
def network_class(model: str) -> type[Network]:
    """Of `conf/model/MODEL.yaml`."""
    return get_class(_written("model", model).model["_target_"])


def default_front_end(model: str) -> str:
    """The front end that the model's yaml chooses."""
    defaults = _written("model", model).defaults
    return next(line["override /features"] for line in defaults if "override /features" in line)


@functools.cache
def front_end_class(features: str) -> type[FrontEnd]:
    """Of `conf/features/FEATURES.yaml`, which names it or begins with the file that does."""
    written = _written("features", features)
    return get_class(written["_target_"]) if "_target_" in written else front_end_class(written.defaults[0])


def sizes(features: str) -> tuple[str, ...]:
    """Overrides that make the front end small, where it has weights of its own."""
    if not issubclass(own := front_end_class(features), Pretrained):
        return ()
    stated = () if features == own.any_size else ("wavlm", "norm", "conv_bias")  # what makes the choices differ
    small = [f"features.{name}={SMALL_PRETRAINED[name]}" for name in own.sizes if name not in stated]
    return (*small, "features.weights=random")


def front_end(features: str, **keywords: Any) -> FrontEnd:
    """The front end of `conf/features/FEATURES.yaml` at 16 kHz, small, and torch's random state after it was made."""
    key = f"{features} {keywords}"
    if key not in _front_ends:
        config = compose("run_dir=.", f"features={features}", *sizes(features)).features
        torch.manual_seed(0)
        _front_ends[key] = instantiate(config, _convert_="all", **keywords), torch.get_rng_state()
    made, state = _front_ends[key]
    torch.set_rng_state(state)
    return copy.deepcopy(made)


_front_ends: dict[str, tuple[FrontEnd, Tensor]] = {}


def _takes(model: str, features: str) -> bool:
    """Whether the front end is of a kind that the network takes, and has what the model's yaml reads of it."""
    front_end = front_end_class(features)
    return front_end.kind in network_class(model).takes and _read_of_it(model) <= _settings(front_end)


@functools.cache
def _read_of_it(model: str) -> frozenset[str]:
    """The settings of its front end that the model's yaml reads."""
    return frozenset(re.findall(r"oc.select:features\.(\w+)", (CONF / "model" / f"{model}.yaml").read_text()))


@functools.cache
def _settings(front_end: type[FrontEnd]) -> frozenset[str]:
    return frozenset(inspect.signature(front_end).parameters)


def _variant(features: str) -> bool:
    """Whether the front end is another one that hands over its layers in another way."""
    return re.search("_(last|gate|attention|layers)$", features) is not None


def _of_one_class() -> list[tuple[str, str]]:
    """The accepted ones; of models that share a class, the further ones with their own front end alone.

    Of front ends that share a class, one: what they differ in is no matter to a network. Of front ends for the networks
    on self-supervised frames, their own and `mel`: their layers are alike whatever the channels are.
    """
    first = {network_class(m): m for m in reversed(MODELS)}
    one = {front_end_class(f): f for f in reversed(FRONT_ENDS)}
    pairs = [(m, f) for m, f in ACCEPTED if f == one[front_end_class(f)]]
    own = {m: default_front_end(m) for m in MODELS}
    on_ssl = {m for m in MODELS if front_end_class(own[m]).kind == "embedding"}
    pairs = [(m, f) for m, f in pairs if m not in on_ssl or f == "mel"] + [(m, own[m]) for m in sorted(on_ssl)]
    return [(m, f) for m, f in pairs if first[network_class(m)] == m or f == own[m]]


ACCEPTED = [(m, f) for m in MODELS for f in FRONT_ENDS if _takes(m, f)]
REFUSED = [(m, f) for m in MODELS for f in FRONT_ENDS if not _takes(m, f) and not _variant(f)]
BUILT = [(m, f) for m, f in ACCEPTED if f == default_front_end(m) or not _variant(f)]
PAIRS = _of_one_class()
MAPPED = [(m, f) for m, f in PAIRS if network_class(m).last_map is not Network.last_map]  # by Grad-CAM


def small(model: str, features: str, *overrides: str) -> Detector:
    """A model with a front end, from the real configs: few channels, half a second, fitted batch norm."""
    return copy.deepcopy(_small(model, features, *overrides))


@functools.cache
def _small(model: str, features: str, *overrides: str) -> Detector:
    composed = compose(
        "run_dir=.",
        f"model={model}",
        f"features={features}",
        "seconds=0.5",
        *SMALL.get(model, ()),
        *sizes(features),
        *overrides,
    )
    cfg = OmegaConf.to_container(composed, resolve=True)
    torch.manual_seed(0)
    detector = Detector({key: cfg[key] for key in ("features", "model", "sample_rate", "seconds", "score")})
    with torch.no_grad():
        detector.train()(0.1 * torch.randn(4, detector.n_samples))
    return detector.eval()


def noise(seconds: float, seed: int = 1) -> Tensor:
    """A clip `[T]` at 16 kHz."""
    return 0.1 * torch.randn(round(seconds * 16_000), generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """A detector whose evidence for spoof is the inner product of clip and pattern: every part of it adds up."""

    sample_rate = 16_000

    def __init__(self, pattern: Tensor) -> None:
        super().__init__()
        self.pattern = nn.Parameter(pattern)
        self.n_samples = len(pattern)
        self.seconds = len(pattern) / self.sample_rate
        self.model = Network(1)

    def logits(self, waveform: Tensor) -> Tensor:
        return -(waveform @ self.pattern)[:, None]

    def spoof(self, logits: Tensor) -> Tensor:
        return -logits[:, 0]


def tone(n_samples: int, hz: float, start: float, end: float) -> Tensor:
    """A sine from `start` to `end` in seconds, silence around it, `[T]`."""
    t = torch.arange(n_samples) / 16_000
    return torch.sin(2 * torch.pi * hz * t) * ((t >= start) & (t < end))


def of_single_cells(clip: Clip) -> Tensor:
    """Evidence that each cell alone adds to a clip of nothing but filling, cell by cell, `[F, L]`."""
    n_bands, n_frames = clip.gain.shape[1:]
    none = torch.zeros(1, n_bands, n_frames)
    with torch.no_grad():
        base = clip.spoof(none)
        rows = []
        for f in range(n_bands):
            gain = torch.zeros(n_frames, n_bands, n_frames)
            gain[torch.arange(n_frames), f, torch.arange(n_frames)] = 1
            rows.append(clip.spoof(gain) - base)
    return torch.stack(rows)


def with_domain(detector: Detector) -> Detector:
    """The detector, made to know noises of many levels as its domain."""
    waveform = torch.stack([0.1 * (1 + i) * noise(detector.seconds, i) for i in range(12)])
    with torch.no_grad():
        embedding = detector.logits_and_embedding(waveform)[1]
    spectrum = band_levels(waveform, detector.sample_rate)
    clips = Described(embedding.double().numpy(), spectrum.double().numpy(), np.arange(12) % 2, np.zeros(12))
    detector.set_domain(
        Domain.fit(clips, clips, detector.sample_rate)[0],
        "noises",
        n_train=12,
        n_dev=12,
        misjudged={state: [0, 4] for state in STATES},
    )
    return detector
