"""Spoofing systems of generated corpora, by their names in the protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from numpy.random import Generator

from deepfake.synthesis.frames import Floats
from deepfake.synthesis.griffin_lim import griffin_lim
from deepfake.synthesis.harmonic import harmonic_plus_noise
from deepfake.synthesis.lpc import lpc_vocoder
from deepfake.synthesis.neural import copied, parts
from deepfake.synthesis.phase_vocoder import shift_voice
from deepfake.synthesis.tts import tts, version
from deepfake.synthesis.world import pyworld, world, world_conversion

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class System:
    """A spoofing system.

    Args:
        what: Description for people.
        spoof: Makes a spoof [T] of bona fide speech [T], sentences and a random generator.
        needs: Package or program that it needs, or an empty string.
        copies: Whether it keeps the words and their timing, so that a stretch of it fits into the original.
    """

    what: str
    spoof: Callable[[Floats, Texts, Generator], Floats]
    needs: str = ""
    copies: bool = False


def _by(vocoder: Callable[[Floats, Generator], Floats], waveform: Floats, _: Texts, rng: Generator) -> Floats:
    return vocoder(waveform, rng)


SYSTEMS = {
    "A01": System("copy-synthesis, WORLD", partial(_by, world), "pyworld", copies=True),
    "A02": System("copy-synthesis, 80 mel bands and Griffin-Lim", partial(_by, griffin_lim), copies=True),
    "A03": System("conversion of pitch and formants, WORLD", partial(_by, world_conversion), "pyworld"),
    "A04": System("copy-synthesis, linear prediction with pulses or noise", partial(_by, lpc_vocoder), copies=True),
    "A05": System("TTS, espeak-ng", partial(tts, "espeak-ng"), "espeak-ng"),
    "A06": System("copy-synthesis, harmonics plus noise", partial(_by, harmonic_plus_noise), copies=True),
    "A07": System("conversion of pitch and formants, phase vocoder and linear prediction", partial(_by, shift_voice)),
    "A08": System("TTS, flite", partial(tts, "flite"), "flite"),
}
EVAL_ONLY = ("A06", "A07", "A08")


def systems(vocoders: Sequence[str], piper: Sequence[str]) -> dict[str, System]:
    """The systems, then vocoders as V01, V02 ... and Piper voices as P01, P02 ..."""
    neural = {
        name: System(f"copy-synthesis, vocoder {parts(given)[0].name}", partial(copied, given), copies=True)
        for name, given in numbered("V", vocoders).items()
    }
    voices = {
        name: System(f"TTS, Piper voice {Path(given).stem}", partial(tts, given))
        for name, given in numbered("P", piper).items()
    }
    return SYSTEMS | neural | voices


def numbered(letter: str, files: Sequence[str]) -> dict[str, str]:
    """Files by the names of their systems: a letter with 01, 02 ..."""
    return {f"{letter}{i:02d}": given for i, given in enumerate(files, start=1)}


def available() -> dict[str, str]:
    """The systems that are available here, with the version of what they need."""
    found = {}
    for name, system in SYSTEMS.items():
        if system.needs == "pyworld":
            said = getattr(pyworld(), "__version__", "unknown") if pyworld() else None
        else:
            said = version(system.needs) if system.needs else ""
        if said is not None:
            found[name] = f"{system.needs} {said}".strip()
    return found
