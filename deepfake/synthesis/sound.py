"""The files that are made of one recording."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from deepfake.atomic import write_atomically
from deepfake.audio import waveform as audio
from deepfake.errors import InputError
from deepfake.synthesis.frames import SAMPLE_RATE, Floats
from deepfake.synthesis.matching import FRAME, high_passed, levels, matched, recorded
from deepfake.synthesis.plan import NONE, File, Source, generator
from deepfake.synthesis.splice import spliced, stretch
from deepfake.synthesis.systems import SYSTEMS

QUIETEST_DBFS = -70.0  # of a recording that is used


@dataclass(frozen=True, slots=True)
class Recipe:
    """What all recordings of a corpus share.

    Args:
        bonafide: Folder of the recordings.
        output: Folder of the corpus.
        seed: Of everything drawn.
        min_seconds, max_seconds: A shorter recording is left out, of a longer one a part is taken.
        texts: Sentences for TTS.
    """

    bonafide: str
    output: str
    seed: int
    min_seconds: float
    max_seconds: float
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a recording.

    Args:
        source: The recording.
        errors: Why a file could not be made, by id; all of them where the recording cannot be used.
        stretch: Where the spoofed stretch is, in seconds.
    """

    source: Source
    errors: dict[str, str]
    stretch: tuple[float, float] | None = None


def path_of(output: Path, partition: str, file: File) -> Path:
    """Where a file of the corpus stands."""
    if file.id.startswith("PS_"):
        return output / "partial" / partition / f"{file.id}.flac"
    return output / f"ASVspoof2019_LA_{partition}" / "flac" / f"{file.id}.flac"


def make(source: Source, recipe: Recipe) -> Made:
    """Make the files of one recording that are not there yet; what is drawn depends on seed and names alone."""
    files = source.files or ((source.splice,) if source.splice else ())
    missing = [file for file in files if not path_of(Path(recipe.output), source.partition, file).is_file()]
    if not missing and not source.splice:
        return Made(source, {})
    try:
        speech = _speech(source, recipe)
    except InputError as error:
        return Made(source, {file.id: str(error) for file in files})
    errors, where = {}, None
    for file in files:
        rng = generator(recipe.seed, "file", file.id)
        try:
            if source.splice:
                start, end = stretch(speech, generator(recipe.seed, "stretch", file.id))
                where = None if file.system == NONE else (start / SAMPLE_RATE, end / SAMPLE_RATE)
            if file not in missing:
                continue
            made = speech if file.system == NONE else _spoofed(speech, file, recipe)
            if where:
                made = spliced(speech, made, *(round(s * SAMPLE_RATE) for s in where))
            _write(path_of(Path(recipe.output), source.partition, file), recorded(made, speech, rng))
        except InputError as error:
            errors[file.id] = str(error)
    return Made(source, errors, where)


def _spoofed(speech: Floats, file: File, recipe: Recipe) -> Floats:
    rng = generator(recipe.seed, "spoof", file.id)
    spoof = SYSTEMS[file.system].spoof(speech, recipe.texts, rng)
    if not np.isfinite(spoof).all() or not spoof.any():
        raise InputError(f"{SYSTEMS[file.system].what}: nothing that can be heard came out")
    return matched(spoof, speech, rng)


def _speech(source: Source, recipe: Recipe) -> Floats:
    """A recording as the corpus has it: high-passed, of a long one a part that begins and ends where it is quiet."""
    path = Path(recipe.bonafide) / source.path
    speech = audio.load(path, sample_rate=SAMPLE_RATE).numpy().astype(np.float64)
    if len(speech) < recipe.min_seconds * SAMPLE_RATE:
        raise InputError(f"{path}: {len(speech) / SAMPLE_RATE:.2f} s, at least {recipe.min_seconds:g} s are needed")
    if (size := int(recipe.max_seconds * SAMPLE_RATE)) < len(speech):
        start = int(generator(recipe.seed, "part", source.path).integers(0, len(speech) - size + 1))
        start, end = _quiet(speech, start, start + size // 5), _quiet(speech, start + size - size // 5, start + size)
        speech = speech[start:end]
    speech = high_passed(speech)
    if (level := 10 * np.log10(np.mean(speech**2) + 1e-20)) < QUIETEST_DBFS:
        raise InputError(f"{path}: its level is {level:.0f} dBFS: it holds no speech")
    return speech


def _quiet(speech: Floats, first: int, last: int) -> int:
    """The middle of the quietest 10 ms between two samples."""
    return first + int(np.argmin(levels(speech[first:last]))) * FRAME + FRAME // 2


def _write(path: Path, samples: np.ndarray) -> None:
    data = io.BytesIO()
    soundfile.write(data, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    write_atomically(path, data.getvalue())
