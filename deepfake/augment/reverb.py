"""Reverberation by room impulse responses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from deepfake.audio import load
from deepfake.augment.augmentation import Augmentation, Samples, require_range
from deepfake.augment.folder import audio_files
from deepfake.errors import InputError

SMALLEST, LARGEST = np.array([3.0, 3.0, 2.4]), np.array([10.0, 8.0, 4.0])  # rooms, metres
FROM_WALL = 0.5  # metres, of speaker and microphone
SPEED_OF_SOUND = 343.0  # metres per second
MAX_ORDER = 20  # reflections followed; the tail of small, very live rooms ends there


class Reverb(Augmentation):
    """The clip as it sounds in a room: convolved with a recorded or a simulated impulse response.

    Simulated rooms are empty boxes by the image-source method (Allen and Berkley, 1979, in pyroomacoustics: Scheibler
    et al., ICASSP 2018) of random size, speaker and microphone at random places, walls of one absorption, which
    Eyring's formula gives for the reverberation time that was drawn.

    The strongest arrival, as a rule the direct sound, stays where it was in time; what reverberates beyond the end is
    cut off. Impulse responses have unit energy, so that rooms keep the level of a clip on average.

    Args:
        root: Folder of recorded impulse responses (of several channels the mean is used); None simulates rooms.
        rt60_min: Shortest reverberation time of simulated rooms in seconds.
        rt60_max: Longest.
        sample_rate: In hertz.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range, no audio in `root`, pyroomacoustics is not installed; when a file cannot be
            used.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        rt60_min: float = 0.1,
        rt60_max: float = 0.6,
        sample_rate: int = 16_000,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.rt60 = require_range(self, "rt60", rt60_min, rt60_max, least=0.01, most=5.0)
        self.sample_rate = sample_rate
        self.files = None if root is None else audio_files(root, "augment.reverb.root")
        if self.files is None:
            _pyroomacoustics()

    def applied(self, x: Samples, rng: np.random.Generator) -> Samples:
        if self.files is None:
            response = simulated(rng, rt60=rng.uniform(*self.rt60), sample_rate=self.sample_rate)
        else:
            path = self.files[rng.integers(len(self.files))]
            response = load(path, sample_rate=self.sample_rate).numpy().astype(np.float64)
            if not response.any():
                raise InputError(f"{path}: an impulse response was expected, not silence; take it out of the folder")
        direct = int(np.abs(response).argmax())
        return oaconvolve(x, response / np.linalg.norm(response))[direct : direct + len(x)]


def simulated(rng: np.random.Generator, *, rt60: float, sample_rate: int) -> NDArray[np.float64]:
    """The impulse response of a random room.

    Args:
        rng: Draws the room and the places in it.
        rt60: Reverberation time in seconds, by Eyring's formula.
        sample_rate: In hertz.
    """
    pra = _pyroomacoustics()
    size = rng.uniform(SMALLEST, LARGEST)
    speaker, microphone = rng.uniform(FROM_WALL, size - FROM_WALL, (2, 3))
    walls = 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    absorbed = 1 - math.exp(-24 * math.log(10) * size.prod() / (SPEED_OF_SOUND * walls * rt60))
    room = pra.ShoeBox(size, fs=sample_rate, materials=pra.Material(absorbed), max_order=MAX_ORDER)
    room.add_source(speaker)
    room.add_microphone(microphone)
    room.compute_rir()
    return np.asarray(room.rir[0][0], dtype=np.float64)


def _pyroomacoustics() -> Any:
    try:
        import pyroomacoustics
    except ImportError as error:
        raise InputError(
            'augment=reverb without a root simulates rooms with pyroomacoustics; pip install "deepfake[augment]", or '
            "give a folder of impulse responses as augment.reverb.root"
        ) from error
    pyroomacoustics.constants.set("num_threads", 1)  # a loader process is one of many, and sums keep their order
    return pyroomacoustics
