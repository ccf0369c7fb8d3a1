"""Is it the enrolled speaker? The cosine of two embeddings, against a threshold with measured error rates.

Threshold and calibration were fitted on trials of 15 LibriSpeech speakers (train and dev of a corpus in the layout of
ASVspoof2019 LA), three samples of 2 to 6 s enrolled, one tried. On 9 others no target of 300 trials was refused and
0.2 % of the impostors passed, but half of the spoofs. `experiments/speaker/README.md` has the command and the error
rates, which hold for clean read English.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deepfake.audio.waveform import Source
from deepfake.errors import InputError
from deepfake.metrics.calibration import Calibration
from deepfake.speakers.embedding import Voice, mean_of, voice
from deepfake.speakers.profiles import Profile

FEWEST_SAMPLES = 3
THRESHOLD = 0.7206  # of the EER of targets against impostors
SOURCE = "EER of 15 LibriSpeech speakers"
CALIBRATION = Calibration(weight=60.2085, offset=-42.6807, low=-3.2041, high=6.6893, n_bonafide=25, n_spoof=1160)
UNKNOWN = "unknown speaker or a clone"
CLONE = "A match is no evidence against a clone: half of the spoofs of enrolled speakers match them."


@dataclass(frozen=True)
class Check:
    """A recording compared with enrolled speakers.

    Attributes:
        speaker: The one who was claimed, or else the most similar one.
        score: Cosine of the two embeddings, from 0 to 1 (they have no negative components).
        threshold: A score above it is a match.
        threshold_source: Where it comes from.
        speech_seconds: How much speech the score rests on.
        scores: Of every speaker that was compared.
    """

    speaker: str
    score: float
    threshold: float
    threshold_source: str
    speech_seconds: float
    scores: dict[str, float]

    @property
    def matches(self) -> bool:
        return self.score > self.threshold

    @property
    def words(self) -> str:
        """`matches NAME` or `unknown speaker or a clone`."""
        return f"matches {self.speaker}" if self.matches else UNKNOWN

    @property
    def llr(self) -> float:
        """Natural-log likelihood ratio of this speaker against another one, within what its calibration supports."""
        return float(CALIBRATION.llr(self.score))


def check(source: Source, profiles: Iterable[Profile], *, threshold: float | None = None) -> Check:
    """Compare a recording with one profile (verification) or several (identification).

    Among N profiles someone who is not enrolled matches one by chance about N times as often as a single one.

    Args:
        source: As for `deepfake.audio.load`.
        profiles: Of whom it may be.
        threshold: None for the one that was measured.

    Raises:
        InputError: There are no profiles, the threshold is not between 0 and 1, or the recording cannot be used.
    """
    known = list(profiles)
    if not known:
        raise InputError("nobody is enrolled: `deepfake enroll --speaker NAME FILES...` comes first")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"threshold={threshold}: a cosine between 0 and 1 was expected; {THRESHOLD} was measured")
    found = voice(source)
    scores = {profile.name: float(found.embedding @ profile.embedding) for profile in known}
    best = max(scores, key=scores.__getitem__)
    applied, origin = (THRESHOLD, SOURCE) if threshold is None else (threshold, "given")
    return Check(best, scores[best], applied, origin, found.speech_seconds, scores)


def enrolled(name: str, sources: Sequence[Source]) -> tuple[Profile, list[str]]:
    """A profile made of samples, and a sentence about each sample that is unlike the others.

    Args:
        name: Of the speaker.
        sources: Three to five samples, or more; each of another recording, where possible.

    Raises:
        InputError: There are fewer, one is there twice, or one cannot be used.
    """
    if len(sources) < FEWEST_SAMPLES:
        raise InputError(f"{len(sources)} samples of {name}: {FEWEST_SAMPLES} to 5 were expected, give more recordings")
    voices = [voice(source) for source in sources]
    if (i := _repeated(voices)) is not None:
        raise InputError(f"{sources[i]}: the same recording is given twice: give another sample of {name}")
    unlike = []
    for i, own in enumerate(voices):
        others = mean_of([other.embedding for j, other in enumerate(voices) if j != i])
        if (score := float(own.embedding @ others)) <= THRESHOLD:
            unlike.append(f"{sources[i]} is unlike the other samples (cosine {score:.2f}): is it {name}?")
    seconds = sum(one.speech_seconds for one in voices)
    embedding = mean_of([one.embedding for one in voices])
    return Profile.new(name, embedding, n_samples=len(voices), speech_seconds=round(seconds, 2)), unlike


def _repeated(voices: Sequence[Voice]) -> int | None:
    """Which is equal to an earlier one."""
    seen: set[bytes] = set()
    for i, one in enumerate(voices):
        if (content := np.ascontiguousarray(one.embedding).tobytes()) in seen:
            return i
        seen.add(content)
    return None
