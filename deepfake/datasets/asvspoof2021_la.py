"""ASVspoof 2021 logical access: the attacks of 2019 sent over telephone lines (Liu et al., IEEE/ACM TASLP 2023)."""

from __future__ import annotations

import logging
from pathlib import Path

from deepfake.datasets.layout import NoPartition, base_of, with_paths
from deepfake.datasets.protocol import LAYOUTS, complete, read_protocol
from deepfake.datasets.utterance import BONAFIDE, Utterance
from deepfake.errors import InputError

log = logging.getLogger(__name__)

KEYS = "trial_metadata.txt"
SUBSETS = ("eval", "progress", "hidden", "all")
TRIALS = {"eval": (14816, 133360), "progress": (1676, 14788), "hidden": 16926, "all": 181566}


def utterances(partition: str, *, root: str, keys: str | None = None, subset: str = "eval") -> list[Utterance]:
    """Read the evaluation set, which is all there is: training is on ASVspoof 2019.

    Conditions are `codec`, `transmission`, `trim` and `subset`.

    Args:
        partition: `eval`.
        root: The folder that the archive unpacks to, or the one above it; with the keys in it, beside it or in `keys`.
        keys: `trial_metadata.txt` of the archive `LA-keys-full`, or a folder that holds it.
        subset: `eval`, that of the published results; `progress`, that of the challenge's progress phase; `hidden`,
            with the non-speech at both ends cut off; or `all`.

    Raises:
        NoPartition: Train or dev.
        InputError: Root or keys are missing, the subset is unknown, a line of the keys is not theirs.
    """
    return read("LA", partition, root, keys, subset, TRIALS)


def read(
    track: str, partition: str, root: str, keys: str | None, subset: str, trials: dict[str, tuple[int, int] | int]
) -> list[Utterance]:
    """A subset of the evaluation set of a track (`LA` or `DF`), with what was published of its size."""
    name, folder = f"asvspoof2021_{track.lower()}", f"ASVspoof2021_{track}_eval"
    if partition != "eval":
        raise NoPartition(f"{name} has no {partition} partition: it is an evaluation set, trained for on ASVspoof 2019")
    if subset not in SUBSETS:
        raise InputError(f"dataset.subset={subset}: one of {', '.join(SUBSETS)} was expected")
    base = base_of(root, ["flac"], inside=[folder], unpacks=f"the folder that {folder}.tar.gz unpacked to")
    listed = read_protocol(_keys(Path(root).expanduser(), track, keys), LAYOUTS[name])
    found = [u for u in listed if subset in ("all", u.conditions.get("subset"))]
    n_bonafide = sum(u.label == BONAFIDE for u in found)
    log.info("%s, subset %s: %d bona fide, %d spoof", name, subset, n_bonafide, len(found) - n_bonafide)
    complete(found, trials[subset], name, f"subset {subset}")
    return with_paths(found, base / "flac", ".flac", partition)


def _keys(root: Path, track: str, keys: str | None) -> Path:
    """The key file: given, below the root, or beside it."""
    given = Path(keys).expanduser() if keys else None
    if given and given.is_file():
        return given
    inside = (f"keys/{track}/CM", f"{track}/CM", "CM", "keys/CM", f"{track}-keys-full/keys/{track}/CM", "")
    for place in [given] if given else [root, root.parent]:
        for path in (place / folder / KEYS for folder in inside):
            if path.is_file():
                return path
    archive = f"https://www.asvspoof.org/asvspoof2021/{track}-keys-full.tar.gz"
    where = f"dataset.keys={keys}" if keys else f"{root / inside[0]} (or beside {root})"
    raise InputError(f"there is no {KEYS} in {where}: unpack {archive} there, or give it as dataset.keys=FILE")
