"""What every explanation is: a method from a clip to a map of the evidence for spoof."""

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
        rank: Of the methods that are run, the one with the highest says where the regions are.
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
        """What the detector does not have and the method needs; None where nothing is missing."""
        return None


def supported(methods: Mapping[str, Method], detector: Detector) -> dict[str, Method]:
    """The methods that can explain this detector; all of them where none can, so that they say so themselves."""
    lacking = {name: lack for name, method in methods.items() if (lack := method.lacks(detector))}
    if len(lacking) == len(methods):
        return dict(methods)
    for name, lack in lacking.items():
        log.warning("%s is left out: %s has no %s", name, type(detector.model).__name__, lack)
    return {name: method for name, method in methods.items() if name not in lacking}


def strongest(methods: Mapping[str, Method]) -> str | None:
    """The name of the method whose map the regions are taken from: of the highest rank; None where there is none."""
    return max(methods, key=lambda name: methods[name].rank, default=None)
