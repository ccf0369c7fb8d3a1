"""Bona fide recordings in which stretches are spoofed, and where those are.

Two layouts are read: a list `labels.csv`, and PartialSpoof (Zhang et al., IEEE/ACM TASLP 2023).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from deepfake.datasets.corpus import Reader
from deepfake.datasets.layout import NoPartition, base_of, with_paths
from deepfake.datasets.protocol import LAYOUTS, NO_VALUE, cells_of, complete, read_protocol, read_text
from deepfake.datasets.utterance import BONAFIDE, PARTITION_WORDS, SPOOF, Utterance, number_of
from deepfake.errors import InputError

Stretches = list[tuple[float, float, str]]

LABELS = "labels.csv"
HEADER = ["file", "start_s", "end_s", "system"]
PROTOCOLS = "protocols/PartialSpoof_LA_cm_protocols"
RTTMS = ("rttm_2cls_0sil_spoof", "rttm_2cls_0sil")
TRIALS = {"train": (2580, 22800), "dev": (2548, 22296), "eval": (7355, 63882)}  # of PartialSpoof: bona fide, spoof


def segments(partition: str, *, root: str) -> dict[str, Stretches]:
    """Where the spoofed stretches of each utterance are, as `(start, end, system)` in seconds, in order of time.

    PartialSpoof's are read from the RTTM files `<partition>/con_data/rttm_2cls_0sil`; its `segment_labels/*.npy` are
    pickles, which can run any code, and are never opened.

    Args:
        partition: `train`, `dev` or `eval`.
        root: As for `utterances`.

    Returns:
        A list per utterance id; an empty one where nothing is spoofed.

    Raises:
        NoPartition: The list has no files of this partition.
        InputError: As for `utterances`; or there is no RTTM file.
    """
    base = _base(root)
    if (base / LABELS).is_file():
        return {u.id: stretches for u, stretches in _listed(base, partition)}
    folder = base / partition / "con_data"
    rttm = next((path for name in RTTMS if (path := folder / name).is_file()), None)
    if rttm is None:
        raise InputError(
            f"there is no {RTTMS[1]} in {folder}, and segment_labels/*.npy are pickles, which are not opened: put the "
            "RTTM file there"
        )
    system = {u.id: u.attack for u in utterances(partition, root=root)}
    found: dict[str, Stretches] = {name: [] for name in system}
    for number, cells in cells_of(read_text(rttm), None, rttm):
        where = f"{rttm}, line {number}"
        if len(cells) < 8 or cells[1] not in found:
            raise InputError(f"{where}: 10 columns with an utterance of the protocol in the second were expected")
        if cells[7] == "spoof":
            start, seconds = number_of(cells[3], "time", where), number_of(cells[4], "time", where)
            found[cells[1]].append((start, start + seconds, system[cells[1]]))
    return {name: sorted(stretches) for name, stretches in found.items()}


@partial(Reader, segments=segments)
def utterances(partition: str, *, root: str) -> list[Utterance]:
    """Read one partition; a file with a spoofed stretch is spoof as a whole.

    Args:
        partition: `train`, `dev` or `eval`.
        root: A folder that holds `labels.csv`, with the columns `file,start_s,end_s,system`: a line per spoofed
            stretch, in seconds, or one with no times and system `-` where there is none; `file` is relative to the
            folder and begins with `train`, `dev` or `eval`. Or PartialSpoof's `database`, or the folder above it.

    Raises:
        NoPartition: The list has no files of this partition.
        InputError: Root, list or protocol is missing, or a line of it cannot be used: names the file and the line.
    """
    base = _base(root)
    if (base / LABELS).is_file():
        return [u for u, _ in _listed(base, partition)]
    protocol = base / PROTOCOLS / f"PartialSpoof.LA.cm.{partition}.trl.txt"
    listed = read_protocol(protocol, LAYOUTS["partialspoof"])
    complete(listed, TRIALS[partition], "spliced (PartialSpoof)", f"partition {partition}")
    return with_paths(listed, base / partition / "con_wav", ".wav", partition)


def _base(root: str) -> Path:
    marks, given = [LABELS, PROTOCOLS], "a folder with labels.csv, or PartialSpoof's folder database"
    return base_of(root, marks, inside=["database"], unpacks=given)


def _listed(base: Path, partition: str) -> list[tuple[Utterance, Stretches]]:
    """The files of a partition in the order of `labels.csv`, with their stretches."""
    path = base / LABELS
    rows = cells_of(read_text(path), ",", path)
    if (header := next(rows, (1, []))[1]) != HEADER:
        raise InputError(f"{path}: the header is {header}: {','.join(HEADER)} was expected")
    found: dict[str, tuple[Utterance, Stretches]] = {}
    partitions = set()
    for number, cells in rows:
        where = f"{path}, line {number}"
        if len(cells) != len(HEADER):
            raise InputError(f"{where}: {len(cells)} columns, {len(HEADER)} were expected")
        file, start, end, system = cells
        own = PARTITION_WORDS.get(file.split("/")[0].lower())
        if own is None:
            raise InputError(f"{where}: {file!r} does not begin with train, dev or eval")
        partitions.add(own)
        if own != partition:
            continue
        audio = base / file
        u, stretches = found.get(file) or (Utterance(audio.stem, str(audio), BONAFIDE, "", "", own, where), [])
        if (system in NO_VALUE) != (start == end == "") or (file in found and not (stretches and start)):
            raise InputError(f"{where}: start, end and system of a spoofed stretch, or `,,-` alone, were expected")
        if start:
            stretches.append((begin := number_of(start, "time", where), number_of(end, "time", where), system))
            if not begin < stretches[-1][1]:
                raise InputError(f"{where}: the stretch ends at {end} s, before or where it starts, {start} s")
            u = replace(u, label=SPOOF, attack="+".join(sorted({s for *_, s in stretches})))
        found[file] = u, sorted(stretches)
    if not found:
        there = ", ".join(sorted(partitions)) or "nothing"
        raise NoPartition(f"{path} lists no {partition} files: {there} is all it has")
    return list(found.values())
