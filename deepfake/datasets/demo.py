"""A generated corpus, so that everything runs from a fresh clone without a download.

Half of each partition is bona fide (voices of `demo_voice`), half is other sentences of the same speakers, copied
through a classical vocoder. An utterance of each class shares speaker, duration, edge silence, room, microphone and
level with one of the other, and both pass the same `_record`, so that none of these is a cue to the class. It is laid
out as ASVspoof2019 LA is, and read by that corpus's reader.

It is not speech and its attacks are decades old: an error rate on it shows that the program works, not that a detector
does. The ASV scores are synthetic, drawn from three normal distributions, so that the t-DCF can be computed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import time
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator, default_rng

from deepfake.datasets import asvspoof2019_la
from deepfake.datasets.corpus import Reader
from deepfake.datasets.demo_voice import (
    HOP,
    N_FFT,
    SAMPLE_RATE,
    WINDOW,
    Voice,
    frames,
    mel_bands,
    overlap_add,
    pulses,
    smooth,
    speak,
)
from deepfake.datasets.utterance import PARTITIONS, Utterance
from deepfake.errors import InputError

log = logging.getLogger(__name__)

VERSION = 1  # raise it when the sound changes
MARK = "demo.json"  # what a corpus of ours holds in its root
SECONDS = (2.0, 4.0)
SHARE = {"train": 0.48, "dev": 0.24, "eval": 0.28}
UTTERANCES_PER_SPEAKER = 8


def _from_spectrum(spectrum: np.ndarray, n_samples: int) -> np.ndarray:
    """The waveform whose frames come nearest to a spectrum [L, F] (D. Griffin and J. Lim, 1984, eq. 6)."""
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    return overlap_add(np.fft.irfft(spectrum, WINDOW) * window, HOP, n_samples) / 1.5  # squared Hann windows sum to 1.5


def griffin_lim(waveform: np.ndarray, rng: Generator) -> np.ndarray:
    """A01: 100 to 180 mel bands, the spectrum interpolated between them, its phase found by iteration.

    Fast Griffin-Lim (N. Perraudin, P. Balazs and P. Sondergaard, 2013).
    """
    bands = mel_bands(int(rng.integers(100, 181)), WINDOW).astype(np.float32)
    mel = np.abs(np.fft.rfft(frames(waveform))) @ (bands / bands.sum(1, keepdims=True)).T  # [L, bands]
    magnitude = mel @ (bands / (bands.sum(0) + 1e-3))  # [L, F]
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape)).astype(np.complex64)
    before = np.zeros_like(phase)
    for _ in range(int(rng.integers(8, 16))):
        consistent = np.fft.rfft(frames(_from_spectrum(magnitude * phase, len(waveform))))
        ahead = consistent + 0.9 * (consistent - before)
        phase, before = ahead / np.maximum(np.abs(ahead), 1e-9), consistent
    return _from_spectrum(magnitude * phase, len(waveform))


def lpc_vocoder(waveform: np.ndarray, rng: Generator) -> np.ndarray:
    """A02: pulses or noise through linear prediction filters (B. Atal and S. Hanauer, 1971), of order 18 to 24."""
    order = int(rng.integers(18, 25))
    power = np.abs(np.fft.rfft(frames(waveform), N_FFT)) ** 2  # [L, F]
    correlation = np.fft.irfft(power.astype(np.float64))  # [L, lags]
    correlation = correlation / (correlation[:, :1] + 1e-6)
    lag = np.abs(np.arange(order)[:, None] - np.arange(order))
    matrix = correlation[:, lag] + 1e-5 * np.eye(order)  # [L, order, order]
    weights = np.linalg.solve(matrix, correlation[:, 1 : order + 1, None])[:, :, 0]  # [L, order]
    inverse = np.fft.rfft(np.pad(-weights, ((0, 0), (1, 0))) + np.eye(1, order + 1), N_FFT)  # [L, F]

    low, high = SAMPLE_RATE // 420, SAMPLE_RATE // 60  # lags of the pitch
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(WINDOW + 1)[:-1], N_FFT)) ** 2)
    peak = correlation[:, low:high] / (window[low:high] / window[0])  # [L, lags]
    at = np.arange(len(power)) * HOP
    voiced = np.interp(np.arange(len(waveform)), at, smooth((peak.max(1) > 0.5).astype(float), 3))
    f0 = np.interp(np.arange(len(waveform)), at, smooth(SAMPLE_RATE / (low + peak.argmax(1)), 3))
    hiss = rng.uniform(0.1, 0.5)  # noise among the pulses
    noise = rng.standard_normal(len(waveform)) * (1 - voiced * (1 - hiss))
    excitation = pulses(f0, rng.uniform(0, 0.01), rng.uniform(0, 0.1), rng) * voiced + noise
    spectrum = np.fft.rfft(frames(excitation), N_FFT) / inverse
    spectrum *= np.sqrt(power.sum(1) / ((np.abs(spectrum) ** 2).sum(1) + 1e-6))[:, None]  # each frame as loud as it was
    return overlap_add(np.fft.irfft(spectrum), HOP, len(waveform)) / 2


def phase_quantised(waveform: np.ndarray, rng: Generator) -> np.ndarray:
    """A03: resynthesis from magnitudes and phases rounded to 2 or 3 steps of the circle."""
    steps = int(rng.integers(2, 4))
    spectrum = np.fft.rfft(frames(waveform))
    phase = np.round(np.angle(spectrum) * steps / (2 * np.pi)) * (2 * np.pi / steps)
    return _from_spectrum(np.abs(spectrum) * np.exp(1j * phase), len(waveform))


ATTACKS = {"A01": griffin_lim, "A02": lpc_vocoder, "A03": phase_quantised}
ATTACKS_OF = {"train": ("A01", "A02"), "dev": ("A01", "A02"), "eval": ("A01", "A02", "A03")}


def _record(speech: np.ndarray, lead: int, n_samples: int, conditions: Generator, rng: Generator) -> np.ndarray:
    """The recording of an utterance, bona fide or not: room, microphone, background, level, 16 bits.

    Args:
        speech: [T].
        lead: Samples of silence before it.
        n_samples: Length of the recording.
        conditions: Draws what an utterance shares with its counterpart of the other class.
        rng: Draws the noise.

    Returns:
        [n_samples] int16.
    """
    placed = np.zeros(n_samples)
    placed[lead : lead + len(speech)] = speech
    n_fft = 2 ** int(np.ceil(np.log2(n_samples + SAMPLE_RATE // 2)))
    hz = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    t = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    room = conditions.standard_normal(len(t)) * np.exp(-6.9 * t / conditions.uniform(0.1, 0.45)) * (t > 0.002)
    room *= 10 ** (-conditions.uniform(6, 22) / 20) / np.sqrt(np.sum(room**2))
    room[0] = 1.0
    knots = np.linspace(0, 13, 12)  # log2 Hz
    microphone = 10 ** (np.interp(np.log2(hz + 1), knots, conditions.normal(0, 2.5, 12)) / 20)
    microphone *= 1 - np.exp(-((hz / 60) ** 4))  # high-pass
    microphone /= np.sqrt(1 + (hz / conditions.uniform(5500, 9000)) ** 12)
    recorded = np.fft.irfft(np.fft.rfft(placed, n_fft) * np.fft.rfft(room, n_fft) * microphone)[:n_samples]

    colour = (hz + 50) ** -conditions.uniform(0, 0.7) * (1 - np.exp(-((hz / 60) ** 4)))
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(n_samples), n_fft) * colour)[:n_samples]
    snr = conditions.uniform(5, 35)  # dB
    recorded += noise * np.sqrt(np.mean(recorded**2) / np.mean(noise**2)) * 10 ** (-snr / 20)
    recorded -= recorded.mean()
    recorded *= 10 ** (conditions.uniform(-33, -24) / 20) / np.sqrt(np.mean(recorded**2))
    recorded *= min(1.0, 0.97 / np.abs(recorded).max()) * rng.choice([-1, 1])
    dither = rng.random(n_samples) - rng.random(n_samples)  # triangular, one step
    return np.round(recorded * 32767 + dither).clip(-32768, 32767).astype(np.int16)


def utterance(seed: int, partition: str, pair: int, speaker: int, attack: str) -> np.ndarray:
    """One file's samples, int16; ``attack`` is ``-`` for bona fide. Depends on no other utterance."""
    part = PARTITIONS.index(partition)
    voice = Voice.draw(default_rng([seed, part, speaker, 0]))
    conditions = default_rng([seed, part, pair, 1])  # shared by the two classes
    rng = default_rng([seed, part, pair, 2 if attack == "-" else 3])
    n_samples = int(conditions.uniform(*SECONDS) * SAMPLE_RATE)
    lead, trail = (int(s * SAMPLE_RATE) for s in conditions.uniform(0.02, 0.3, 2))
    speech = speak(voice, (n_samples - lead - trail) / SAMPLE_RATE, rng)
    if attack != "-":
        speech = ATTACKS[attack](speech, rng)
    return _record(speech, lead, n_samples, conditions, rng)


def _counts(n_utterances: int) -> dict[str, int]:
    """Utterances per partition: even, for half are bona fide; train takes what the rounding leaves."""
    dev, held_out = (max(6, 2 * round(n_utterances * SHARE[part] / 2)) for part in ("dev", "eval"))
    return {"train": n_utterances - dev - held_out, "dev": dev, "eval": held_out}


def _write_partition(root: Path, partition: str, seed: int, n: int) -> None:
    """Audio and protocol of one partition, ``n`` utterances in an order independent of their class."""
    part = PARTITIONS.index(partition)
    attacks, n_speakers = ATTACKS_OF[partition], min(999, max(2, n // UTTERANCES_PER_SPEAKER))
    folder = root / f"ASVspoof2019_LA_{partition}" / "flac"
    protocols = root / "ASVspoof2019_LA_cm_protocols"
    folder.mkdir(parents=True)
    protocols.mkdir(exist_ok=True)
    lines = []
    for number, place in enumerate(default_rng([seed, part]).permutation(n)):
        pair, is_spoof = divmod(int(place), 2)
        speaker = pair * n_speakers // (n // 2)
        attack = attacks[pair % len(attacks)] if is_spoof else "-"
        name = f"LA_{partition[0].upper()}_{1000001 + number}"
        samples = utterance(seed, partition, pair, speaker, attack)
        soundfile.write(folder / f"{name}.flac", samples, SAMPLE_RATE, subtype="PCM_16")
        key = "spoof" if is_spoof else "bonafide"
        lines.append(f"LA_{1000 * part + speaker + 1:04d} {name} - {attack} {key}\n")
    (protocols / asvspoof2019_la.PROTOCOLS[partition]).write_text("".join(lines), encoding="utf-8")
    log.info("demo corpus: %s written, %d utterances of %d speakers", partition, n, n_speakers)


def _write_asv_scores(root: Path, partition: str, seed: int) -> None:
    """Synthetic ASV scores, lines ``SOURCE KEY SCORE``: a fair verifier that most spoofs get past."""
    rng = default_rng([seed, PARTITIONS.index(partition), 4])
    folder = root / "ASVspoof2019_LA_asv_scores"
    folder.mkdir(exist_ok=True)
    trials = [("bonafide", "target", 4.0, 2.0, 400), ("bonafide", "nontarget", -6.0, 3.0, 1600)]
    trials += [(attack, "spoof", 2.0, 3.0, 400) for attack in ATTACKS_OF[partition]]
    lines = [
        f"{source} {key} {score:.6f}\n"
        for source, key, mean, deviation, n in trials
        for score in rng.normal(mean, deviation, n)
    ]
    (folder / f"ASVspoof2019.LA.asv.{partition}.gi.trl.scores.txt").write_text("".join(lines), encoding="utf-8")


def _made_by_us(root: Path, parameters: dict[str, int]) -> bool:
    """Whether ``root`` already holds the corpus of these parameters; False for an absent or empty folder.

    Raises:
        InputError: It holds something else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    other = "choose another dataset.root"
    try:
        found = json.loads((root / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{root} holds something other than a demo corpus, which is left alone: {other}") from None
    if found != parameters:
        raise InputError(f"{root} holds a demo corpus of {found}, asked for was {parameters}: delete it or {other}")
    return True


def _generate(root: Path, parameters: dict[str, int]) -> None:
    """Write the corpus beside ``root`` and move it there whole; who comes second discards its copy."""
    started = time.monotonic()
    log.info("demo corpus: making %d utterances in %s", parameters["n_utterances"], root)
    draft = root.parent / f".{root.name}.{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        for partition, n in _counts(parameters["n_utterances"]).items():
            _write_partition(draft, partition, parameters["seed"], n)
            if partition != "train":
                _write_asv_scores(draft, partition, parameters["seed"])
        (draft / MARK).write_text(json.dumps(parameters) + "\n", encoding="utf-8")
        with contextlib.suppress(OSError):
            root.rmdir()  # an empty one is in the way on some systems; any other stays
        draft.rename(root)
    except OSError as error:
        if not _made_by_us(root, parameters):
            raise InputError(
                f"the demo corpus cannot be written to {root} ({error}): choose another dataset.root"
            ) from error
        log.info("demo corpus: another process was first, its copy is used")
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    log.info("demo corpus: done in %.0f s", time.monotonic() - started)


def asv_scores(partition: str, *, root: str = "data/demo", seed: int = 0, n_utterances: int = 300) -> Path | None:
    """The synthetic ASV score file of a partition, for t-DCF; None for train."""
    _make(partition, root, seed, n_utterances)
    return asvspoof2019_la.asv_scores(partition, root=root)


@partial(Reader, asv_scores=asv_scores)
def utterances(partition: str, *, root: str = "data/demo", seed: int = 0, n_utterances: int = 300) -> list[Utterance]:
    """Read one partition of the demo corpus, making the corpus first if it is not there.

    Args:
        partition: `train`, `dev` or `eval`; attack A03 is in `eval` alone.
        root: Its folder; a relative one is relative to the working directory.
        seed: Seed from 0; the same seed gives the same files.
        n_utterances: Size of the three partitions together, an even number from 24.

    Raises:
        InputError: An argument is out of range, or ``root`` holds something else or a demo corpus of another seed or
            size, or it cannot be written.
    """
    _make(partition, root, seed, n_utterances)
    return asvspoof2019_la.read("LA", partition, root)


def _make(partition: str, root: str, seed: int, n_utterances: int) -> None:
    """Make the corpus if it is not there."""
    if seed < 0 or n_utterances < 24 or n_utterances % 2:
        raise InputError(
            f"dataset.seed={seed} dataset.n_utterances={n_utterances}: a seed from 0, an even number from 24 are wanted"
        )
    parameters = {"version": VERSION, "seed": seed, "n_utterances": n_utterances}
    place = Path(root).resolve()
    if not _made_by_us(place, parameters):
        _generate(place, parameters)
