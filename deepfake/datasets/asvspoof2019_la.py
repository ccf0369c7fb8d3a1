"""ASVspoof 2019 logical access (Wang et al., Computer Speech and Language 2020)."""

from __future__ import annotations

from pathlib import Path

from deepfake.datasets.utterance import PARTITIONS, Utterance, label_of
from deepfake.errors import InputError

PROTOCOLS = {
    "train": "ASVspoof2019.LA.cm.train.trn.txt",
    "dev": "ASVspoof2019.LA.cm.dev.trl.txt",
    "eval": "ASVspoof2019.LA.cm.eval.trl.txt",
}


def utterances(partition: str, *, root: str) -> list[Utterance]:
    """Read one partition, driven by its protocol: the audio folders hold files that are in no protocol.

    Args:
        partition: `train`, `dev` or `eval`.
        root: The folder that `LA.zip` unpacks to (it holds `ASVspoof2019_LA_cm_protocols`), the folder above it, or one
            where each `ASVspoof2019_LA_<partition>` holds its audio in `flac` and its protocol in `protocol`.

    Raises:
        InputError: Root or protocol is missing, a line is not `SPEAKER FILE - SYSTEM KEY`, a key is unknown: names
            the file and the line.
    """
    if partition not in PARTITIONS:
        raise InputError(f"partition {partition!r} is not one of {', '.join(PARTITIONS)}")
    base = _base(Path(root))
    protocol = _protocol(base, partition)
    audio = base / f"ASVspoof2019_LA_{partition}" / "flac"
    found = []
    for number, line in enumerate(protocol.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{protocol}, line {number}"
        columns = line.split()
        if len(columns) != 5:
            raise InputError(f"{where}: 5 columns (SPEAKER FILE - SYSTEM KEY) were expected, got {len(columns)}")
        speaker, name, _, system, key = columns
        path, attack = str(audio / f"{name}.flac"), "" if system == "-" else system
        found.append(Utterance(name, path, label_of(key, where), attack, speaker, partition, where))
    return found


def asv_scores(partition: str, *, root: str) -> Path | None:
    """The organisers' ASV score file of a partition, for t-DCF; None where there is none (as for train)."""
    folder = _base(Path(root)) / "ASVspoof2019_LA_asv_scores"
    path = folder / f"ASVspoof2019.LA.asv.{partition}.gi.trl.scores.txt"
    return path if path.is_file() else None


def _base(root: Path) -> Path:
    if not root.is_dir():
        raise InputError(f"dataset.root={root} is not a folder: give the one that LA.zip unpacked to")
    for base in (root, root / "LA"):
        if any((base / f"ASVspoof2019_LA_{part}").is_dir() for part in PARTITIONS):
            return base
    raise InputError(
        f"dataset.root={root} holds no ASVspoof2019_LA_train, _dev or _eval folder: give what LA.zip unpacked to"
    )


def _protocol(base: Path, partition: str) -> Path:
    places = (
        base / "ASVspoof2019_LA_cm_protocols" / PROTOCOLS[partition],
        base / f"ASVspoof2019_LA_{partition}" / "protocol" / PROTOCOLS[partition],
    )
    for path in places:
        if path.is_file():
            return path
    beside = sorted((base / f"ASVspoof2019_LA_{partition}" / "protocol").glob("*.txt"))
    if len(beside) == 1:
        return beside[0]
    raise InputError(f"the protocol of partition {partition} is missing: {places[0]} and {places[1]} do not exist")
