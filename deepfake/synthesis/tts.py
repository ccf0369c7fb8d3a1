"""Text to speech by a program on the PATH: espeak-ng, flite, or Piper with a voice in a file."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import Generator

from deepfake.audio import waveform as audio
from deepfake.errors import InputError
from deepfake.synthesis.frames import SAMPLE_RATE, Floats
from deepfake.synthesis.matching import levels
from deepfake.synthesis.pitch import f0

# Openings of books in the public domain: Austen, Dickens, Melville, Carroll, Wells, Stoker, Doyle, Stevenson, Twain.
SENTENCES = Path(__file__).with_name("sentences.txt")
PROGRAMS = ("espeak-ng", "flite")
PER_SECOND = 15.0  # characters, a first guess
LONGER = 1.04  # than its place: the rest is cut, so that no silence remains
SECONDS = 60  # timeout of a program


def version(program: str) -> str | None:
    """Version of a program; None if it is not on the PATH."""
    if (path := shutil.which(program)) is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    found = re.search(r"\b\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return found.group() if found else "of unknown version"


def read_texts(path: Path) -> tuple[str, ...]:
    """Read a file of sentences, one per line.

    Raises:
        InputError: The file is missing, not UTF-8, or has no sentence.
    """
    try:
        lines = path.read_text(encoding="utf-8").replace("\0", "").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--texts {path}: a text file in UTF-8 was expected ({error})") from None
    kept = tuple(line.strip() for line in lines if any(c.isalnum() for c in line))
    if not kept:
        raise InputError(f"--texts {path}: holds no sentence: one per line was expected")
    return kept


def tts(program: str, partner: Floats, texts: tuple[str, ...], rng: Generator) -> Floats:
    """Synthetic speech with about the partner's pitch, start and duration.

    Args:
        program: One of `PROGRAMS`, or the path of a Piper voice, which draws noise of its own.
        partner: Bona fide speech at 16 kHz.
        texts: Sentences to draw from.
        rng: Draws text, voice and pitch.

    Returns:
        Waveform [T], silent before the partner's first and after its last sound.

    Raises:
        InputError: The program failed.
    """
    first, after = _extent(partner)
    wanted = after - first
    text = _text(texts, wanted / SAMPLE_RATE * PER_SECOND, rng)
    speak = _speaker(program, text, partner, rng)
    speech = speak(rate=1.0)
    rate = float(np.clip(len(speech) / (LONGER * wanted), 0.6, 1.8))
    speech = speak(rate=rate)[:wanted]
    fade = min(160, len(speech))
    speech[len(speech) - fade :] *= np.linspace(1, 0, fade)
    out = np.zeros(len(partner))
    out[first : first + len(speech)] = speech
    return out


def piper_voice(path: Path) -> str:
    """Check a Piper voice, and give its SHA-256.

    Raises:
        InputError: Piper is not installed, or the voice or its settings are not there.
    """
    if shutil.which("piper") is None:
        raise InputError("--piper needs the program piper, with its phonemes: pip install piper-tts")
    for file in (path, settings := Path(f"{path}.json")):
        if not file.is_file():
            raise InputError(f"--piper {path}: there is no {file}: VOICE.onnx with VOICE.onnx.json was expected")
    try:
        if json.loads(settings.read_text(encoding="utf-8"))["num_speakers"] < 1:
            raise ValueError("no speaker")
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"--piper {path}: {settings} is not a Piper voice's settings ({error!r})") from None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _speaker(program: str, text: str, partner: Floats, rng: Generator) -> Callable[..., Floats]:
    """What says a text at a rate."""
    if program not in PROGRAMS:
        n_speakers = json.loads(Path(f"{program}.json").read_text(encoding="utf-8"))["num_speakers"]
        return partial(_piper, voice=program, speaker=int(rng.integers(n_speakers)), text=text)
    track = f0(partner)
    high = bool((track > 0).any() and np.median(track[track > 0]) > 165)
    return partial(_espeak if program == "espeak-ng" else _flite, text=text, **_voice(program, high, rng))


def _extent(waveform: Floats) -> tuple[int, int]:
    """First sample of the first loud 10 ms, and the sample after the last."""
    level = levels(waveform)
    loud = np.flatnonzero(level > level.max() - 40)
    return int(loud[0]) * 160, (int(loud[-1]) + 1) * 160


def _text(texts: tuple[str, ...], n_characters: float, rng: Generator) -> str:
    """Words of random sentences, beginning somewhere in the first, as many as fit."""
    words: list[str] = []
    while len(" ".join(words)) < n_characters:
        sentence = texts[rng.integers(len(texts))].split()
        skip = 0 if words else int(rng.integers(0, max(1, len(sentence) // 2)))
        words += sentence[skip:]
    while len(words) > 1 and len(" ".join(words[:-1])) >= n_characters:
        words.pop()
    return " ".join(words)


def _voice(program: str, high: bool, rng: Generator) -> dict[str, object]:
    if program == "flite":
        return {"voice": str(rng.choice(["slt"] if high else ["awb", "rms", "kal16"])), "spread": rng.uniform(12, 20)}
    accent = rng.choice(["en-us", "en-gb", "en-gb-scotland"])
    variant = f"f{rng.integers(1, 5)}" if high else f"m{rng.integers(1, 8)}"
    return {"voice": f"{accent}+{variant}", "pitch": int(rng.integers(30, 70))}


def _espeak(text: str, voice: str, pitch: int, rate: float) -> Floats:
    options = ["-v", voice, "-p", str(pitch), "-s", str(round(165 * rate)), "--stdin", "-w"]
    return _synthesised(["espeak-ng", *options], text)


def _flite(text: str, voice: str, spread: float, rate: float) -> Floats:
    features = {"duration_stretch": 1 / rate, "int_f0_target_stddev": spread}
    options = [part for name, value in features.items() for part in ("--setf", f"{name}={value:.4f}")]
    return _synthesised(["flite", "-voice", voice, *options, "-t", text, "-o"])


def _piper(text: str, voice: str, speaker: int, rate: float) -> Floats:
    return _synthesised(["piper", "-m", voice, "-s", str(speaker), "--length-scale", f"{1 / rate:.4f}", "-f"], text)


def _synthesised(command: list[str], text: str = "") -> Floats:
    """Speech that a command writes to the file given as its last argument, without silence at its ends."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        try:
            done = subprocess.run(
                [*command, str(path)], input=text.encode(), capture_output=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{command[0]} could not be run: {error}") from None
        if done.returncode or not path.is_file():
            said = done.stderr.decode(errors="replace").split("\n")  # the last line of a traceback says what it was
            why = next((line.strip() for line in reversed(said) if line.strip()), done.returncode)
            raise InputError(f"{command[0]} failed: {why}")
        speech = audio.load(path, sample_rate=SAMPLE_RATE).numpy().astype(np.float64)
    if not speech.any():
        raise InputError(f"{command[0]} produced silence for {text or command!r}")
    first, after = _extent(speech)
    return speech[first:after].copy()
