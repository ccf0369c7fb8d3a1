"""What is done to the arguments before Hydra's grammar reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PATH = re.compile(
    r"(\+{0,2}(?:[\w@]+\.)*(?:run|input|output|scores|fuse|fit|protocol|asv_scores|resume|init_from|root|real_root|keys|weights)"
    r"|hydra\.(?:run|sweep)\.dir)=(.+)",
    re.DOTALL,
)


def quoted(arguments: Iterable[str]) -> list[str]:
    """Quote path-valued overrides, whose spaces, commas, digits or `=` Hydra would read as its own.

    A value in quotes or in list brackets is left as it is, so that quoting twice changes nothing: Lightning's processes
    run the same command line again.
    """
    return [_quoted(a) if (m := _PATH.fullmatch(a)) and not _left(m[2]) else a for a in arguments]


def _left(value: str) -> bool:
    listed = value[0] == "[" and value[-1] == "]"
    return listed or value == "null" or (len(value) > 1 and value[0] == value[-1] and value[0] in "'\"")


def _quoted(argument: str) -> str:
    key, _, value = argument.partition("=")
    value = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value.replace("${", "\\${"))
    return f"{key}='{value}'"


def own_dataset(arguments: list[str]) -> list[str]:
    """Let `dataset.root=DIR` alone stand for a change to the dataset that the run was trained on.

    Beside a `dataset=` of its own, the keys that every dataset has are still added rather than changed.
    """
    chosen = any(a.startswith("dataset=") for a in arguments)
    added = ("dataset.per_class.", "dataset.on_bad_audio=") if chosen else "dataset."
    return [f"++{a}" if a.startswith(added) else a for a in arguments]
