"""Cues: what can be measured of a recording without listening to what is said or how it was made.

A corpus whose spoofed files are shorter, softer, better trimmed or narrower than its bona fide ones can be "solved" by
a detector that uses no artefact at all: in ASVspoof 2019 LA the leading silence alone gives 15.1 % EER (Müller et al.
2021, "Speech is silver, silence is golden: what do ASVspoof-trained models really learn?"). `CONVENTIONS` and
`MEANINGS` are the definitions. The edge of the band as a trace of a coder: D'Alessandro and Shi 2009, "MP3 bit rate
quality detection through frequency spectrum analysis".
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake import audio
from deepfake.audio.ffmpeg import DEMUXERS
from deepfake.audio.libsndfile import FORMATS
from deepfake.audio.spectrum import QUIET_DB, Floats, decibels, spectrum

CONVENTIONS = (
    "All is measured at the file's own rate, on the mean of its channels. Levels are in dB relative to full scale (a "
    "sample of magnitude 1) and end at -150. A frame is 10 ms; it is quiet if its RMS lies 40 dB or more below that of "
    "the loudest. The long-term spectrum is the mean power of half overlapping Hann windows of about 32 ms (a power of "
    "two), after the mean of the file is removed. Of a file longer than 10 minutes, all but the length is that of the "
    "first 10, and there is no trailing silence."
)
MEANINGS: dict[str, str] = {
    "duration_s": "length in seconds, by the samples decoded",
    "rms_dbfs": "level: RMS of all samples (a full-scale sine has -3.01)",
    "peak_dbfs": "largest magnitude of a sample",
    "crest_db": "peak less RMS",
    "dc_offset": "mean of all samples, full scale being 1",
    "clipped_share": "share of the samples within 0.1 % of the file's own largest magnitude, whatever gain came after",
    "zero_share": "share of the samples that are exactly 0 (digital silence)",
    "leading_silence_s": "seconds of quiet frames at the beginning",
    "trailing_silence_s": "seconds of quiet frames at the end",
    "silence_share": "share of the frames that are quiet",
    "noise_floor_dbfs": "5th percentile of the RMS of frames",
    "bandwidth_hz": "frequency below which 99.9 % of the energy of the long-term spectrum lies",
    "top_hz": "highest frequency at which the long-term spectrum is within 60 dB of its peak",
    "above_3800_hz_db": "energy from 3.8 kHz on relative to all (telephone history); none where there is no such band",
    "above_7500_hz_db": "energy from 7.5 kHz on relative to all (edge of a 16 kHz recording); none likewise",
    "brickwall_db": "steepest fall of the long-term spectrum from 1 kHz on: mean of 250 Hz below, less that above",
    "brickwall_hz": "where that fall is: the edge that a resampler or a codec's low-pass filter left",
    "hole_share": "codec history: share of the 500 Hz bands above 2 kHz, in windows that are not quiet, that lie 20 dB "
    "or more below both neighbours (coders zero whole bands)",
    "effective_bits": "bits that the samples need as fixed point; 25 and more is floating point",
    "levels_used_share": "distinct values, of those that the range of the samples and their bits allow (at most one a "
    "sample): low after a gain on fewer bits",
    "sample_rate_hz": "sampling rate",
    "n_channels": "number of channels",
    "bytes_per_s": "size of the file by its duration",
    "container": "container (WAV, FLAC ...)",
    "coding": "coding inside the container (PCM_16, MPEG_LAYER_III ...)",
}
CONTAINERS = tuple(dict.fromkeys([*FORMATS, *map(str.upper, DEMUXERS), "other"]))
CODINGS = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")
CODINGS += ("GSM610", "VORBIS", "OPUS", "MPEG_LAYER_III", "AAC", "ALAC", "MPEG_LAYER_II", "FLAC", "SPEEX", "AC3")
CODINGS += ("EAC3", "AMR_NB", "AMR_WB", "WMAV1", "WMAV2", "WMAPRO", "other")
WORDS = {"container": CONTAINERS, "coding": CODINGS}  # the cues that are names

FRAME_SECONDS = 0.010
LONGEST_SECONDS = 600  # bounds the memory


def cues(path: str | os.PathLike[str]) -> dict[str, float]:
    """Measure one file, decoded once at its own rate; NaN where a cue does not exist.

    Returns:
        What `MEANINGS` lists, in its order, with the unit in the name. Container and coding are their places in
        `CONTAINERS` and `CODINGS`; `word` gives the name.

    Raises:
        InputError: See `deepfake.audio.load`.
    """
    header = audio.info(path)
    rate = header.sample_rate
    waveform = audio.load(path, sample_rate=rate).numpy()
    seconds = len(waveform) / rate
    samples = waveform[: LONGEST_SECONDS * rate].astype(np.float64)
    found = {"duration_s": seconds}
    found |= levels(samples) | silence(samples, rate) | spectrum(samples, rate) | resolution(samples)
    if len(samples) < len(waveform):
        found["trailing_silence_s"] = math.nan
    found |= {"sample_rate_hz": float(rate), "n_channels": float(header.channels)}
    found |= {"bytes_per_s": Path(path).stat().st_size / seconds}
    found |= {"container": _code("container", header.format), "coding": _code("coding", header.subtype)}
    return {name: float(found.get(name, math.nan)) for name in MEANINGS}


def levels(samples: Floats) -> dict[str, float]:
    """Level, peak, crest factor, offset, clipping, digital silence.

    Shape:
        `[T]`
    """
    magnitudes = np.abs(samples)
    peak = magnitudes.max()
    rms_dbfs, peak_dbfs = decibels(float(np.mean(samples**2))), decibels(peak**2)
    return {
        "rms_dbfs": rms_dbfs,
        "peak_dbfs": peak_dbfs,
        "crest_db": peak_dbfs - rms_dbfs if peak > 0 else math.nan,
        "dc_offset": samples.mean(),
        "clipped_share": np.mean(magnitudes >= 0.999 * peak) if peak > 0 else math.nan,
        "zero_share": np.mean(magnitudes == 0),
    }


def silence(samples: Floats, rate: int) -> dict[str, float]:
    """Silence at either end, in all, and the noise floor; a file of nothing but zeros is all silence.

    Shape:
        `[T]`, at `rate` hertz
    """
    size = max(1, round(FRAME_SECONDS * rate))
    n_frames = max(1, len(samples) // size)
    power = np.mean(samples[: n_frames * size].reshape(n_frames, -1) ** 2, axis=1)  # [L]
    loud = np.flatnonzero(is_loud(power))
    first, after = (loud[0], loud[-1] + 1) if len(loud) else (n_frames, 0)
    return {
        "leading_silence_s": first * size / rate,
        "trailing_silence_s": (n_frames - after) * size / rate,
        "silence_share": 1 - len(loud) / n_frames,
        "noise_floor_dbfs": decibels(np.percentile(power, 5)),
    }


def is_loud(power: Floats) -> NDArray[np.bool_]:
    """Which frames are not quiet, by their power `[L]`."""
    return (power > power.max() * 10 ** (-QUIET_DB / 10)) & (power > 0)


def resolution(samples: Floats) -> dict[str, float]:
    """How finely the samples are quantised, and whether all steps are in use.

    Shape:
        `[T]`
    """
    steps = np.rint(samples * 2.0**31).astype(np.int64)
    used = int(np.bitwise_or.reduce(steps))
    if used == 0:
        return {"effective_bits": 0.0, "levels_used_share": math.nan}
    unused_bits = (used & -used).bit_length() - 1
    steps >>= unused_bits
    n_possible = min(int(steps.max() - steps.min()) + 1, len(steps))
    return {"effective_bits": 32.0 - unused_bits, "levels_used_share": len(np.unique(steps)) / n_possible}


def word(cue: str, value: float) -> str:
    """A cue as it is written: a name for the container and the coding, six digits for a number, nothing for NaN."""
    if math.isnan(value):
        return ""
    return WORDS[cue][int(value)] if cue in WORDS else f"{value:.6g}"


def _code(cue: str, name: str) -> int:
    known = WORDS[cue]
    return known.index(name if name in known else "other")
