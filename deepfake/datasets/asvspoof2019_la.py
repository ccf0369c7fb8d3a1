"""ASVspoof 2019 logical access (Wang et al., Computer Speech and Language 2020)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from deepfake.datasets.corpus import Reader
from deepfake.datasets.layout import base_of, with_paths
from deepfake.datasets.protocol import LAYOUTS, complete, read_protocol
from deepfake.datasets.utterance import PARTITIONS, Utterance
from deepfake.errors import InputError

PROTOCOLS = {
    "train": "ASVspoof2019.LA.cm.train.trn.txt",
    "dev": "ASVspoof2019.LA.cm.dev.trl.txt",
    "eval": "ASVspoof2019.LA.cm.eval.trl.txt",
}
TRIALS = {"train": (2580, 22800), "dev": (2548, 22296), "eval": (7355, 63882)}  # bona fide, spoof


def asv_scores(partition: str, *, root: str, track: str = "LA") -> Path | None:
    """The organisers' ASV score file of a partition, for t-DCF; None where there is none (as for train)."""
    folder = _base(root, track) / f"ASVspoof2019_{track}_asv_scores"
    path = folder / f"ASVspoof2019.{track}.asv.{partition}.gi.trl.scores.txt"
    return path if path.is_file() else None


@partial(Reader, asv_scores=asv_scores)
def utterances(partition: str, *, root: str) -> list[Utterance]:
    """Read one partition, driven by its protocol: the audio folders hold files that are in no protocol.

    Args:
        partition: `train`, `dev` or `eval`.
        root: The folder that `LA.zip` unpacks to (it holds `ASVspoof2019_LA_cm_protocols`), the folder one or two
            above it, or one where each `ASVspoof2019_LA_<partition>` holds its audio in `flac` and its protocol in
            `protocol`.

    Raises:
        InputError: Root or protocol is missing, a line is not `SPEAKER FILE - SYSTEM KEY`, a key is unknown: names
            the file and the line.
    """
    return complete(read("LA", partition, root), TRIALS[partition], "asvspoof2019_la", f"partition {partition}")


def read(track: str, partition: str, root: str) -> list[Utterance]:
    """One partition of a corpus in the layout of a track (`LA` or `PA`), however many trials it has."""
    base = _base(root, track)
    protocol = _protocol(base, track, partition)
    listed = read_protocol(protocol, LAYOUTS[f"asvspoof2019_{track.lower()}"])
    return with_paths(listed, base / f"ASVspoof2019_{track}_{partition}" / "flac", ".flac", partition)


def _base(root: str, track: str) -> Path:
    folders = [f"ASVspoof2019_{track}_{part}" for part in PARTITIONS]
    inside = [track, f"{track}/{track}"]  # the second is Kaggle's
    return base_of(root, folders, inside=inside, unpacks=f"the folder that {track}.zip unpacked to")


def _protocol(base: Path, track: str, partition: str) -> Path:
    name = PROTOCOLS[partition].replace(".LA.", f".{track}.")
    own = base / f"ASVspoof2019_{track}_{partition}" / "protocol"
    places = [base / f"ASVspoof2019_{track}_cm_protocols" / name, own / name]
    others = sorted(own.glob("*.txt"))
    found = [path for path in places if path.is_file()] or (others if len(others) == 1 else [])
    if not found:
        raise InputError(f"the protocol of partition {partition} is missing: {places[0]} and {places[1]} do not exist")
    return found[0]
