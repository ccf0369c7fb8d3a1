"""A corpus: its utterances, and where it has them, spoofed stretches and ASV scores."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from deepfake.address import is_address, public
from deepfake.commandline import SUBSET_KEYS, names_a_path
from deepfake.datasets.utterance import PARTITIONS, Utterance, present, subset, unique
from deepfake.errors import InputError

Segments = Mapping[str, Sequence[tuple[float, float, str]]]
"""Spoofed stretches by utterance id: start and end in seconds, `math.inf` for that of the recording, and the system."""

Answer = TypeVar("Answer")
NOT_THE_READERS = ("_target_", "_partial_", "name", *SUBSET_KEYS)


def _unknown(partition: str, **settings: Any) -> None:
    """The answer where nothing is known."""


@dataclass(frozen=True)
class Reader:
    """The functions that read a corpus.

    A corpus of utterances alone needs no more than a plain function. Otherwise `@partial(Reader, segments=segments)`
    stands above `utterances`. All of them take the partition and, by keyword, the settings of the corpus's yaml.

    Args:
        utterances: The utterances of a partition.
        segments: Their spoofed stretches, None where they are not known.
        asv_scores: The ASV score file of the partition, None where it has none.
    """

    utterances: Callable[..., list[Utterance]]
    segments: Callable[..., Segments | None] = _unknown
    asv_scores: Callable[..., Path | None] = _unknown

    def __call__(self, partition: str, **settings: Any) -> list[Utterance]:
        return self.utterances(partition, **settings)


@dataclass(frozen=True)
class Corpus:
    """A corpus.

    Args:
        name: Its name, by default that of its yaml.
        reader: The functions that read it.
        settings: The reader's keywords; the parts of a mix are corpora themselves.
        config: All of its yaml, as plain data with absolute paths.
        per_class: Size of each class of a balanced subset, by partition; None for the whole partition.
        on_bad_audio: What to do with a file that cannot be decoded, `raise` or `skip`.
        cache: Whether training keeps decoded samples in a file.

    Raises:
        InputError: `on_bad_audio` is neither.
    """

    name: str
    reader: Reader
    settings: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    per_class: Mapping[str, int | None] = field(default_factory=dict)
    on_bad_audio: str = "raise"
    cache: bool = False

    def __post_init__(self) -> None:
        if self.on_bad_audio not in ("raise", "skip"):
            raise InputError(f"dataset.on_bad_audio={self.on_bad_audio}: raise or skip was expected")

    @classmethod
    def of(cls, config: Mapping[str, Any], key: str = "dataset") -> Corpus:
        """The corpus that a config describes.

        Args:
            config: As plain data: `_target_` names a function that reads utterances or a `Reader`, `name`, `per_class`,
                `on_bad_audio` and `cache` are fields of a corpus, everything else is a setting of the reader.
            key: Key of this config, for messages.

        Raises:
            InputError: A value is missing, the reader cannot be imported, or it does not take these settings.
        """
        config = {"per_class": {}, "on_bad_audio": "raise", "cache": False, **_absolute(config, key)}
        target = str(config["_target_"])
        reader = _reader(target, key)
        settings = {k: _built(v, f"{key}.{k}") for k, v in config.items() if k not in NOT_THE_READERS}
        try:
            inspect.signature(reader.utterances).bind("train", **settings)
        except TypeError as error:
            raise InputError(f"{key}: {target}: {error}") from error
        name = str(config.get("name") or key.rpartition(".")[2])
        fields = {
            "per_class": config["per_class"] or {},
            "on_bad_audio": config["on_bad_audio"],
            "cache": config["cache"],
        }
        return cls(name, reader, settings, config, **fields)

    def read(self, partition: str) -> list[Utterance]:
        """All utterances of a partition, whether their audio is there or not."""
        return list(self._answer(self.reader.utterances, partition))

    def segments(self, partition: str) -> Segments | None:
        """The spoofed stretches of each utterance of a partition; None where they are not known."""
        return self._answer(self.reader.segments, partition)

    def asv_scores(self, partition: str) -> Path | None:
        """The ASV score file of a partition, for the t-DCF; None where there is none."""
        return self._answer(self.reader.asv_scores, partition)

    def _answer(self, question: Callable[..., Answer], partition: str) -> Answer:
        if partition not in PARTITIONS:
            raise InputError(f"partition={partition}: one of {', '.join(PARTITIONS)} was expected")
        return question(partition, **self.settings)

    def select(self, partition: str, seed: int) -> list[Utterance]:
        """The utterances of a partition, or its balanced subset where `per_class` is set.

        Args:
            partition: `train`, `dev` or `eval`.
            seed: Seed of the subset.

        Raises:
            InputError: There are none, an id is listed twice, a class is too small, or audio is missing.
        """
        source = f"{self.name}, partition {partition}"
        utterances = unique(self.read(partition), source)
        if (per_class := self.per_class.get(partition)) is not None:
            utterances = subset(utterances, per_class, seed)
        return present(utterances, source)

    def __str__(self) -> str:
        settings = (f"{k}={v}" for k, v in self.config.items() if k not in (*NOT_THE_READERS, "parts") and v)
        return ", ".join([self.name, *settings])


def _absolute(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The same config with every path absolute, so that a run is resumed and evaluated from anywhere."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if value == "???":
            raise InputError(f"{key}.{name} is needed and was not given")
        if isinstance(value, Mapping):
            value = _absolute(value, f"{key}.{name}")
        elif names_a_path(name) and is_address(value):
            value = public(value.rstrip("/"), f"{key}.{name}")
        elif value and names_a_path(name):
            try:
                value = str(Path(value).expanduser().absolute())
            except RuntimeError:
                raise InputError(f"{key}.{name}={value}: there is no such home folder: write the path out") from None
        found[name] = value
    return found


def _built(value: Any, key: str) -> Any:
    """A setting, with the configs in it that describe corpora built."""
    if not isinstance(value, Mapping):
        return value
    return Corpus.of(value, key) if "_target_" in value else {k: _built(v, f"{key}.{k}") for k, v in value.items()}


def _reader(target: str, key: str) -> Reader:
    module, _, name = target.rpartition(".")
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{key}._target_={target}: a function of a module was expected, got: {error}") from error
    return found if isinstance(found, Reader) else Reader(found)
