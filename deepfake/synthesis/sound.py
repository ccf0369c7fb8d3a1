"""Audio of the files that are made of one recording."""

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
from deepfake.synthesis.matching import FRAME, high_passed, levels, matched, output_chain
from deepfake.synthesis.plan import NONE, File, Recipe, Source, generator
from deepfake.synthesis.splice import random_stretch, spliced
from deepfake.synthesis.systems import System, Texts, systems

QUIETEST_DBFS = -70.0  # level below which a recording is skipped


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a recording.

    Args:
        source: The recording.
        errors: Why files could not be made, by id; all files if the recording cannot be used.
        stretch: Start and end of the spoofed stretch in seconds.
    """

    source: Source
    errors: dict[str, str]
    stretch: tuple[float, float] | None = None


def path_of(output: Path, partition: str, file: File) -> Path:
    """Path of a file of the corpus."""
    if file.id.startswith("PS_"):
        return output / "partial" / partition / f"{file.id}.flac"
    return output / f"ASVspoof2019_LA_{partition}" / "flac" / f"{file.id}.flac"


def make(source: Source, recipe: Recipe, texts: Texts) -> Outcome:
    """Make the missing files of one recording; random choices depend on seed and names alone."""
    paths = {file: path_of(recipe.output, source.partition, file) for file in source.files}
    missing = [file for file in source.files if not paths[file].is_file()]
    if not missing and not source.partial:
        return Outcome(source, {})
    try:
        speech = _speech(source, recipe)
    except InputError as error:
        return Outcome(source, {file.id: str(error) for file in source.files})
    errors, where = {}, None
    known = systems(recipe.vocoders, recipe.piper)
    for file in source.files:
        rng = generator(recipe.seed, "file", file.id)
        try:
            if source.partial and file.system != NONE:
                start, end = random_stretch(speech, generator(recipe.seed, "stretch", file.id))
                where = start / SAMPLE_RATE, end / SAMPLE_RATE
            if file not in missing:
                continue
            made = speech if file.system == NONE else _spoofed(speech, file, known[file.system], recipe.seed, texts)
            if where:
                made = spliced(speech, made, *(round(s * SAMPLE_RATE) for s in where))
            _write(paths[file], output_chain(made, speech, rng))
        except InputError as error:
            errors[file.id] = str(error)
    return Outcome(source, errors, where)


def _spoofed(speech: Floats, file: File, system: System, seed: int, texts: Texts) -> Floats:
    rng = generator(seed, "spoof", file.id)
    spoof = system.spoof(speech, texts, rng)
    if not np.isfinite(spoof).all() or not spoof.any():
        raise InputError(f"{system.what}: the output is silent or not finite")
    return matched(spoof, speech, rng)


def _speech(source: Source, recipe: Recipe) -> Floats:
    """A recording, high-passed; of a long one, a part that begins and ends in quiet places."""
    path = recipe.bonafide / source.path
    speech = audio.load(path, sample_rate=SAMPLE_RATE).numpy().astype(np.float64)
    if len(speech) < recipe.min_seconds * SAMPLE_RATE:
        raise InputError(f"{path}: {len(speech) / SAMPLE_RATE:.2f} s: at least {recipe.min_seconds:g} s are needed")
    if (size := int(recipe.max_seconds * SAMPLE_RATE)) < len(speech):
        start = int(generator(recipe.seed, "part", source.path).integers(0, len(speech) - size + 1))
        start, end = _quiet(speech, start, start + size // 5), _quiet(speech, start + size - size // 5, start + size)
        speech = speech[start:end]
    speech = high_passed(speech)
    if (level := 10 * np.log10(np.mean(speech**2) + 1e-20)) < QUIETEST_DBFS:
        raise InputError(f"{path}: a level of {level:.0f} dBFS: speech, from {QUIETEST_DBFS:g} dBFS, was expected")
    return speech


def _quiet(speech: Floats, first: int, last: int) -> int:
    """The middle of the quietest 10 ms between two samples."""
    return first + int(np.argmin(levels(speech[first:last]))) * FRAME + FRAME // 2


def _write(path: Path, samples: np.ndarray) -> None:
    data = io.BytesIO()
    soundfile.write(data, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    write_atomically(path, data.getvalue())
