"""Files to waveforms."""

from deepfake.audio.blocks import recording, stream
from deepfake.audio.waveform import crop_or_repeat, info, load, load_clip

__all__ = ["crop_or_repeat", "info", "load", "load_clip", "recording", "stream"]
