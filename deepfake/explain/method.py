"""The contract of explanation methods: from a clip to a map of the evidence for spoof."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar

from deepfake.detector import Detector
from deepfake.explain.clip import Clip
from deepfake.explain.map import Map

log = logging.getLogger(__name__)


class Method:
    """Base of the explanations.

    Attributes:
        rank: Regions are taken from the method of the highest rank.
        saves_array: Whether its values are saved as `mel_NAME.npy`.
    """

    rank: ClassVar[int] = 0
    saves_array: ClassVar[bool] = False

    def attribute(self, clip: Clip) -> Map:
        """The clip's map.

        Raises:
            InputError: A value is not finite, or the detector lacks what the method explains.
        """
        raise NotImplementedError

    def lacks(self, detector: Detector) -> str | None:
        """What the method needs and the detector lacks; None if nothing."""
        return None


def supported(methods: Mapping[str, Method], detector: Detector) -> dict[str, Method]:
    """The methods that can explain this detector; all of them if none can, so that they raise their own errors."""
    lacking = {name: lack for name, method in methods.items() if (lack := method.lacks(detector))}
    if len(lacking) == len(methods):
        return dict(methods)
    for name, lack in lacking.items():
        log.warning("%s is left out: %s has no %s", name, type(detector.model).__name__, lack)
    return {name: method for name, method in methods.items() if name not in lacking}


def strongest(methods: Mapping[str, Method]) -> str | None:
    """The name of the method of the highest rank, whose map has the regions; None if there is none."""
    return max(methods, key=lambda name: methods[name].rank, default=None)
