"""Lists of a generated corpus: protocols, speakers, spoofed stretches, failed files, a README."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake.atomic import write_atomically, write_csv
from deepfake.datasets.asvspoof2019_la import PROTOCOLS
from deepfake.datasets.spliced import HEADER, LABELS
from deepfake.datasets.utterance import PARTITIONS
from deepfake.errors import InputError
from deepfake.synthesis.plan import NONE, File
from deepfake.synthesis.sound import Outcome


def write_lists(
    output: Path, made: Sequence[Outcome], settings: dict[str, Any]
) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Write the lists of a corpus, the protocols last: without them it is not read as a corpus.

    Returns:
        Number of files by partition and system, and the files that could not be made, with the reason.

    Raises:
        InputError: A class of a partition has no file.
    """
    left_out = {name: why for one in made for name, why in one.errors.items()}
    counts = {}
    protocols: dict[str, str] = {}
    for partition in PARTITIONS:
        own = [one for one in made if one.source.partition == partition and not one.source.partial]
        rows = [(f.id, one.source.speaker, f.system) for one in own for f in _files(one)]
        counts[partition] = dict(sorted(Counter(system for *_, system in rows).items()))
        if not {NONE} < counts[partition].keys():
            reason = next((why for one in own for why in one.errors.values()), "there are too few recordings")
            raise InputError(f"partition {partition} of the corpus lacks a class, for example because {reason}")
        protocols[partition] = "".join(
            f"{speaker} {name} - {system} {'bonafide' if system == NONE else 'spoof'}\n"
            for name, speaker, system in sorted(rows)
        )
    sources = sorted((f.id, f.system, m.source.speaker, m.source.path) for m in made for f in _files(m))
    speakers = sorted({(m.source.speaker, m.source.partition, m.source.folder) for m in made})
    write_csv(output / "sources.csv", [("file", "system", "speaker", "recording"), *sources], "\n")
    write_csv(output / "speakers.csv", [("speaker", "partition", "folder"), *speakers], "\n")
    write_csv(output / "left_out.csv", [("file", "error"), *sorted(left_out.items())], "\n")
    stretches = sorted(
        (f"{m.source.partition}/{file.id}.flac", *_times(m), file.system)
        for m in made
        if m.source.partial
        for file in _files(m)
    )
    if stretches:
        write_csv(output / "partial" / LABELS, [HEADER, *stretches], "\n")
    write_atomically(output / "README.md", _readme(settings, counts, Counter(system for *_, system in stretches)))
    for partition, text in protocols.items():
        write_atomically(output / "ASVspoof2019_LA_cm_protocols" / PROTOCOLS[partition], text)
    return counts, left_out


def _files(made: Outcome) -> list[File]:
    return [file for file in made.source.files if file.id not in made.errors]


def _times(made: Outcome) -> tuple[str, ...]:
    return tuple(f"{seconds:.6f}" for seconds in made.stretch or ()) or ("", "")


def _readme(settings: dict[str, Any], counts: dict[str, dict[str, int]], partial: Counter[str]) -> str:
    def system(name: str) -> str:
        what, program = settings["systems"][name].values()
        return f"{what} ({program})" if program else what

    rows = "".join(
        f"| {name} | {'bona fide' if name == NONE else system(name)} | "
        + " | ".join(str(counts[part].get(name, 0)) for part in PARTITIONS)
        + f" | {partial.get(name, 0)} |\n"
        for name in (NONE, *settings["systems"])
    )
    classical = "The vocoders are classical: artefacts of neural vocoders are different."
    if {"vocoders", "piper"} & settings.keys():
        classical = "The vocoders are classical but for V01, P01 and so on: `corpus.json` has their SHA-256."
    return f"""# A generated corpus of bona fide and spoofed speech

Outcome by `deepfake make-corpus` with seed {settings["seed"]}, in the layout of ASVspoof2019 LA. It is **not** ASVspoof
data. To redistribute it you need the right to redistribute adaptations of the recordings that it was made from.

| system | what | {" | ".join(PARTITIONS)} | partial |
|---|---|---|---|---|---|
{rows}
* Each spoof is matched to one recording of its partition in level, length, pauses, smoothed long-term spectrum and
  background; both classes then pass the same output chain. `sources.csv` lists the recordings.
* No speaker is in two partitions (`speakers.csv`). Protocols: `SPEAKER FILE - SYSTEM KEY`.
* `partial/`: recordings in which one stretch was replaced by copy-synthesis (crossfades of 10 ms), and unmodified ones
  (`-`); `partial/labels.csv` lists the stretches. They are not in the protocols.
* There are no ASV scores, so there is no t-DCF.
* {classical}
"""
