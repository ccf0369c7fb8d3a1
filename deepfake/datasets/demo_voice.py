"""Speech-like voices and the signal processing of their attacks: the sound of the demo corpus, in numpy.

A bona fide utterance is a source-filter voice (G. Fant, "Acoustic Theory of Speech Production", 1960): pulses with
jitter and shimmer, aspiration that follows the glottal cycle, and frication, each through a filter that changes every
8 ms. An attack is a copy of such a voice through a classical vocoder. Nothing here is intelligible or represents
today's synthetic speech: it exists so that the whole program can run without a download.

Shape letters: ``T`` samples, ``L`` frames, ``F`` frequency bins, ``K`` syllables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator

SAMPLE_RATE = 16000
HOP = 128  # samples between control frames: 8 ms
WINDOW = 512
N_FFT = 1024  # twice the window, so that a filter's ringing does not wrap round

# Formants 1 to 3 of ten vowels in Hz, men's means (G. Peterson and H. Barney, 1952), then schwa and two nasals.
FORMANTS = np.array(
    [
        *((270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440)),
        *((570, 840, 2410), (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690)),
        *((500, 1500, 2500), (250, 1100, 2200), (250, 1700, 2500)),
    ],
    dtype=np.float64,
)
N_VOWELS = 11
UPPER_FORMANTS = np.array([3500.0, 4500.0, 5500.0, 6500.0])  # a neutral tube of 17.5 cm


@dataclass(frozen=True, slots=True)
class Voice:
    """A speaker.

    Args:
        f0: Mean fundamental frequency in Hz.
        tract: Factor on the formants: above 1 for a vocal tract shorter than 17.5 cm.
        bandwidth: Factor on the formants' bandwidths.
        tilt: Corner of the glottal flow's low-pass in Hz: lower is softer.
        breath: Amplitude of aspiration relative to voicing.
        jitter: Standard deviation of a pulse's place, in cycles.
        shimmer: Standard deviation of a pulse's amplitude, relative.
        rate: Syllables per second.
        liveliness: Standard deviation of the pitch accents, in octaves.
    """

    f0: float
    tract: float
    bandwidth: float
    tilt: float
    breath: float
    jitter: float
    shimmer: float
    rate: float
    liveliness: float

    @classmethod
    def draw(cls, rng: Generator) -> Voice:
        """A speaker drawn at random; tract length goes with pitch, loosely, as in people."""
        octaves = rng.uniform(-0.35, 1.15)  # re 110 Hz
        return cls(
            f0=110 * 2**octaves,
            tract=1 + 0.13 * octaves + rng.uniform(-0.06, 0.06),
            bandwidth=rng.uniform(0.8, 1.5),
            tilt=rng.uniform(250, 900),
            breath=10 ** rng.uniform(-1.7, -0.8),
            jitter=rng.uniform(0.003, 0.015),
            shimmer=rng.uniform(0.02, 0.12),
            rate=rng.uniform(3.3, 5.5),
            liveliness=rng.uniform(0.04, 0.16),
        )


def frames(waveform: np.ndarray, hop: int = HOP) -> np.ndarray:
    """Hann-windowed single-precision frames [L, WINDOW] of a waveform [T], frame l centred on sample ``l * hop``."""
    padded = np.pad(waveform.astype(np.float32), WINDOW // 2 + hop)[hop:]
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    return sliding_window_view(padded, WINDOW)[::hop] * window


def overlap_add(pieces: np.ndarray, hop: int, n_samples: int) -> np.ndarray:
    """Frames [L, W] laid ``hop`` apart (which divides W) and summed: [n_samples], undoing the centring of `frames`."""
    n, width = pieces.shape
    out = np.zeros((n + width // hop - 1, hop), dtype=pieces.dtype)
    for i in range(width // hop):
        out[i : i + n] += pieces[:, i * hop : (i + 1) * hop]
    return out.ravel()[WINDOW // 2 : WINDOW // 2 + n_samples]


def mel_bands(n_bands: int, n_fft: int) -> np.ndarray:
    """Triangular mel filters [n_bands, F] up to 8 kHz with peak 1, each flank at least one bin wide."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), n_bands + 2)
    edge = 700 * (10 ** (mel[:, None] / 2595) - 1)  # Hz
    hz = np.linspace(0, SAMPLE_RATE / 2, n_fft // 2 + 1)
    width = np.maximum(np.diff(edge, axis=0), hz[1])
    away = hz - edge[1:-1]
    return np.maximum(1 - np.where(away < 0, -away / width[:-1], away / width[1:]), 0)


def all_pole(*sections: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Response of resonances in cascade, each with gain 1 at 0 Hz.

    Args:
        sections: Frequency and bandwidth in Hz of each resonance, each [L].

    Shape:
        output: [L, F] complex.
    """
    polynomial = np.ones((len(sections[0][0]), 1))
    for hz, bandwidth in sections:
        radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
        middle, last = -2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE), radius**2
        longer = np.pad(polynomial, ((0, 0), (0, 2)))
        longer[:, 1:-1] += middle[:, None] * polynomial
        longer[:, 2:] += last[:, None] * polynomial
        polynomial = longer
    gain = polynomial.sum(1, keepdims=True)
    return (gain / np.fft.rfft(polynomial, N_FFT)).astype(np.complex64)


def pulses(f0: np.ndarray, jitter: np.ndarray | float, shimmer: float, rng: Generator) -> np.ndarray:
    """A pulse train of unit power that follows a pitch contour.

    Args:
        f0: Hz at every sample, [T].
        jitter, shimmer: As in `Voice`; jitter may be given for every sample, [T].
    """
    cycles = np.cumsum(f0) / SAMPLE_RATE
    count = np.arange(1, int(cycles[-1]))
    at = np.interp(count, cycles, np.arange(len(f0)))
    spread = np.broadcast_to(jitter, f0.shape)[at.astype(int)]
    at = np.clip(
        np.interp(count + spread * rng.standard_normal(len(count)), cycles, np.arange(len(f0))), 0, len(f0) - 2
    )
    whole = at.astype(int)
    size = (1 + shimmer * rng.standard_normal(len(count))) * np.sqrt(SAMPLE_RATE / f0[whole])
    train = np.zeros(len(f0))
    np.add.at(train, whole, size * (1 - at + whole))
    np.add.at(train, whole + 1, size * (at - whole))
    return train


def smooth(track: np.ndarray, width: int) -> np.ndarray:
    """A track [L] averaged over a Hann window of ``width`` frames, its ends held."""
    kernel = np.hanning(width + 2)[1:-1]
    return np.convolve(np.pad(track, width // 2, mode="edge"), kernel / kernel.sum(), mode="valid")[: len(track)]


def _articulation(voice: Voice, n_frames: int, rng: Generator) -> dict[str, np.ndarray]:
    """Control tracks [L] of an utterance: syllables of consonant and vowel, in phrases parted by pauses."""
    track = {name: np.zeros(n_frames) for name in ("voiced", "aspirated", "frication", "accent", "phrase", "creak")}
    track |= {"noise_hz": np.full(n_frames, 4000.0), "vowel": np.full(n_frames, N_VOWELS - 1, dtype=int)}
    per_second = SAMPLE_RATE / HOP
    at, left = 0, int(rng.integers(3, 9))
    start = 0
    while at < n_frames:
        syllable = per_second / voice.rate * rng.uniform(0.65, 1.5) * (1.4 if left == 1 else 1.0)  # longer at the end
        onset = int(syllable * rng.uniform(0.2, 0.45))
        end = at + max(int(syllable), onset + 6)
        loud, accent = 10 ** rng.uniform(-0.35, 0.1), rng.normal(0, voice.liveliness)
        consonant, middle = slice(at, at + onset), slice(at + onset, end)
        kind = rng.choice(["fricative", "voiced fricative", "stop", "nasal", "vowel"], p=[0.25, 0.1, 0.25, 0.2, 0.2])
        hz = rng.choice([2800.0, 4000.0, 5200.0, 6400.0]) * rng.uniform(0.9, 1.1)
        track["noise_hz"][at:end] = hz
        if "fricative" in kind:
            track["frication"][consonant] = rng.uniform(0.15, 0.6)
            track["voiced"][consonant] = rng.uniform(0.15, 0.3) if kind == "voiced fricative" else 0
        elif kind == "stop":
            burst = at + max(onset - int(rng.integers(2, 5)), 1)
            track["frication"][burst : at + onset] = rng.uniform(0.2, 0.9)
            track["aspirated"][burst : at + onset + int(rng.integers(0, 5))] = rng.uniform(0.05, 0.3)
        elif kind == "nasal":
            track["voiced"][consonant] = 0.45 * loud
            track["vowel"][consonant] = rng.integers(N_VOWELS, len(FORMANTS))
        else:
            track["voiced"][consonant] = 0.8 * loud
            track["vowel"][consonant] = rng.integers(N_VOWELS)
        track["voiced"][middle] = loud
        track["vowel"][middle] = rng.integers(N_VOWELS)
        track["accent"][at:end] = accent
        at, left = end, left - 1
        if left == 0:
            track["phrase"][start:at] = np.linspace(0.12, -0.18, at - start)[: max(n_frames - start, 0)]  # declination
            track["creak"][max(at - 12, 0) : at] = rng.random() < 0.4
            at += int(per_second * rng.uniform(0.08, 0.4))
            start, left = at, int(rng.integers(3, 9))
    return track


def speak(voice: Voice, seconds: float, rng: Generator) -> np.ndarray:
    """One utterance: waveform [T] of about unit power while it speaks, without room or noise.

    Args:
        voice: The speaker.
        seconds: Duration from first to last sound.
        rng: Draws the syllables and their prosody.
    """
    n_samples = int(seconds * SAMPLE_RATE)
    n_frames = n_samples // HOP + 1
    track = _articulation(voice, n_frames, rng)

    def at_samples(values: np.ndarray) -> np.ndarray:
        return np.interp(np.arange(n_samples), np.arange(n_frames) * HOP, values)

    # source
    flutter = smooth(rng.standard_normal(n_frames), 15) * 0.05
    octaves = smooth(track["accent"], 17) + smooth(track["phrase"], 9) + flutter - 0.35 * smooth(track["creak"], 9)
    f0 = at_samples(np.clip(voice.f0 * 2**octaves, 60, 420))
    voiced = at_samples(smooth(track["voiced"], 5)) * (1 + 0.15 * at_samples(smooth(rng.standard_normal(n_frames), 9)))
    pulse = pulses(f0, voice.jitter + 0.03 * at_samples(track["creak"]), voice.shimmer, rng) * voiced
    opening = 0.55 - 0.45 * np.cos(2 * np.pi * np.cumsum(f0) / SAMPLE_RATE)  # aspiration comes with the open glottis
    aspiration = rng.standard_normal(n_samples) * (
        voice.breath * voiced * opening + at_samples(smooth(track["aspirated"], 3))
    )
    frication = rng.standard_normal(n_samples) * at_samples(smooth(track["frication"], 3))

    # filter: targets are overshot, undershot and drifted through
    width = int(rng.integers(7, 14))
    target = FORMANTS[track["vowel"]].T * rng.normal(1, 0.03, (3, 1)) * voice.tract  # [3, L]
    upper = np.repeat(UPPER_FORMANTS[:, None], n_frames, 1) * voice.tract  # [4, L]
    formants = np.stack(
        [smooth(f * (1 + 0.04 * smooth(rng.standard_normal(n_frames), 9)), width) for f in (*target, *upper)]
    ).clip(150, 7700)  # [7, L]
    bandwidths = voice.bandwidth * (50 + 0.035 * formants)  # [7, L]
    zeros, corner = np.zeros(n_frames), np.full(n_frames, voice.tilt)
    tract = all_pole(*zip(formants, bandwidths, strict=True))  # [L, F]
    glottis = all_pole((zeros, corner)) ** 0.5 * all_pole((zeros, corner * 8)) ** 0.5
    noise_hz = smooth(track["noise_hz"], 5)
    teeth = all_pole((noise_hz, 0.25 * noise_hz + 300))
    teeth /= np.abs(teeth).max(1, keepdims=True)

    def spectrum(excitation: np.ndarray) -> np.ndarray:
        return np.fft.rfft(frames(excitation)[:n_frames], N_FFT)

    mixed = spectrum(pulse) * tract * glottis + spectrum(aspiration) * tract * 0.15 + spectrum(frication) * teeth
    spoken = overlap_add(np.fft.irfft(mixed, N_FFT), HOP, n_samples) / 2  # four Hann windows sum to 2; [T]
    return spoken / np.sqrt(np.mean(spoken**2))
