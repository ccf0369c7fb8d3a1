"""Reverberation by room impulse responses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from deepfake.audio import load
from deepfake.augment.augmentation import Augmentation, Samples, audio_files, require_range
from deepfake.errors import InputError

SMALLEST, LARGEST = np.array([3.0, 3.0, 2.4]), np.array([10.0, 8.0, 4.0])  # rooms, metres
FROM_WALL = 0.5  # metres, least distance of speaker and microphone
SPEED_OF_SOUND = 343.0  # metres per second
MAX_ORDER = 20  # of the reflections; it cuts the tail of small, very live rooms short


@dataclass(kw_only=True, eq=False)
class Reverb(Augmentation):
    """The clip as it sounds in a room: convolved with a recorded or a simulated impulse response.

    Simulated rooms are empty shoeboxes by the image-source method (Allen and Berkley, 1979; pyroomacoustics: Scheibler
    et al., ICASSP 2018), with random size and random positions of speaker and microphone. All walls have the same
    absorption, by Eyring's formula for the reverberation time drawn.

    The output is aligned to the strongest arrival, as a rule the direct sound, and cut to the clip's length. Impulse
    responses have unit energy, which keeps the level of a clip on average.

    Args:
        root: Folder of recorded impulse responses (channels are averaged); None simulates rooms.
        rt60_min: Shortest reverberation time of simulated rooms in seconds.
        rt60_max: Longest reverberation time in seconds.
        sample_rate: Sample rate of the clips in hertz.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range, no audio in `root`, an unreadable file, or pyroomacoustics is not installed.
    """

    root: str | None = None
    rt60_min: float = 0.1
    rt60_max: float = 0.6
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rt60 = require_range(self, "rt60", self.rt60_min, self.rt60_max, least=0.01, most=5.0)
        self.files = audio_files(self, self.root) if self.root is not None else []
        if not self.files:
            _pyroomacoustics()

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        if not self.files:
            response = room_response(rng, rt60=rng.uniform(*self.rt60), sample_rate=self.sample_rate)
        else:
            path = self.files[rng.integers(len(self.files))]
            response = load(path, sample_rate=self.sample_rate).numpy().astype(np.float64)
            if not response.any():
                raise InputError(f"{path}: an impulse response was expected, not silence: remove it from the folder")
        direct = int(np.abs(response).argmax())
        return oaconvolve(x, response / np.linalg.norm(response))[direct : direct + len(x)]


def room_response(rng: np.random.Generator, *, rt60: float, sample_rate: int) -> NDArray[np.float64]:
    """The impulse response of a random room.

    Args:
        rng: Draws the size of the room and the positions in it.
        rt60: Reverberation time in seconds, by Eyring's formula.
        sample_rate: Sample rate of the response in hertz.
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
            'augment=reverb without a root simulates rooms with pyroomacoustics: pip install "deepfake[augment]", or '
            "set augment.reverb.root to a folder of impulse responses"
        ) from error
    pyroomacoustics.constants.set("num_threads", 1)  # a loader process is one of many, and sums keep their order
    return pyroomacoustics
