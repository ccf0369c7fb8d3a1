"""The published detectors: what their authors released and state, one yaml each in `conf/published`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from deepfake import CONF

FOLDER = CONF / "published"


@dataclass(frozen=True)
class Published:
    """A detector whose weights its authors released.

    Attributes:
        name: Of its yaml, as `deepfake fetch` and `import` take it.
        title: What it is called.
        paper: Authors and place.
        licence: Of the weights.
        source: Where its authors give the weights.
        millions: Of parameters.
        trained_on: Its training data.
        waveform: How its authors scale a waveform.
        clip: What of a recording its authors score.
        published: Its EERs in percent as others state them: `corpus`, `eer`, `n_trials` and `by` whom.
        features: Choice of `features`.
        model: Choice of `model`.
        names: Regular expressions and what they become, from names of tensors outside `base` to names in a `Detector`.
        settings: Of `features`, `model`, `score`, `seconds`, over what the choices say.
        base: Beginning of the names of the front end's tensors, which fairseq or transformers named; empty for none.
        accept: Whether the licence is to be accepted first.
        url: Address that a program can fetch, empty where there is none.
        sha256: Of the file there, empty where it is not known.
        measured: EERs in percent that this project measured, as in `published`.
        also: Names of detectors whose weights `import` takes for it, told apart by shapes.
    """

    name: str
    title: str
    paper: str
    licence: str
    source: str
    millions: float
    trained_on: str
    waveform: str
    clip: str
    published: list[dict[str, Any]]
    features: str
    model: str
    names: list[list[str]]
    settings: dict[str, Any]
    base: str = ""
    accept: bool = True
    url: str = ""
    sha256: str = ""
    measured: list[dict[str, Any]] = field(default_factory=list)
    also: list[str] = field(default_factory=list)

    @property
    def card(self) -> dict[str, Any]:
        """What is to be known of it beside its weights."""
        keys = ("title", "paper", "licence", "source", "millions", "trained_on", "waveform", "clip", "published")
        return {key: getattr(self, key) for key in (*keys, "measured")}

    def config(self, told: dict[str, Any]) -> dict[str, Any]:
        """The config of its detector, from the project's own yaml files.

        Args:
            told: Settings of the front end that its tensors tell, for those that no yaml states.
        """
        features, model = choice("features", self.features), choice("model", self.model)
        own = OmegaConf.create(self.settings)
        stated: Any = OmegaConf.to_container(OmegaConf.merge(features, own.get("features", {})))
        lacking = {name: value for name, value in told.items() if stated.get(name) is None}
        parts = {"features": stated | lacking, "model": OmegaConf.merge(model.model, own.get("model", {}))}
        seconds = own.get("seconds", model.get("seconds"))
        both = OmegaConf.create({**parts, "seconds": seconds, "sample_rate": 16000, "score": own.score})
        return OmegaConf.to_container(both, resolve=True)  # type: ignore[return-value]


def names() -> list[str]:
    """Those there are."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def read(name: str) -> Published:
    """The detector of this name."""
    content: Any = OmegaConf.to_container(_merged(FOLDER, name))
    return Published(name=name, **content)


def choice(group: str, name: str) -> DictConfig:
    """A choice of a group of configs, with those that its `defaults` name in the same group."""
    return _merged(CONF / group, name)


def _merged(folder: Path, name: str) -> DictConfig:
    config = OmegaConf.load(folder / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    below = [entry for entry in config.pop("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    merged = OmegaConf.merge(*(_merged(folder, entry) for entry in below), config)
    assert isinstance(merged, DictConfig)
    return merged
