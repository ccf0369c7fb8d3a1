"""Files to waveforms."""

from deepfake.audio.waveform import crop_or_repeat, info, load, load_clip, stream

__all__ = ["crop_or_repeat", "info", "load", "load_clip", "stream"]
