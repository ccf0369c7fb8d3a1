"""What was done to the samples of a recording is a caution of its assessment."""

from __future__ import annotations

import numpy as np
from sounds import noise

from deepfake.detector import Detector
from deepfake.forensics.assess import assess


def test_what_was_done_to_the_samples_is_a_caution(run_folder):
    detector, left = Detector.load(run_folder), noise(32_000)[:, 0]
    inverted = assess(detector, (np.stack([left, -left]), 16_000))
    assert "channels_cancel" in {reason.name for reason in inverted.reasons}
    assert inverted.score == assess(detector, (left, 16_000)).score
    assert "integer_range" in {reason.name for reason in assess(detector, (1e4 * left, 16_000)).reasons}
    mixed = {reason.name for reason in assess(detector, (np.stack([left, left]), 16_000)).reasons}
    assert not mixed & {"channels_cancel", "integer_range", "damaged"}
