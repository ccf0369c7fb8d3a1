"""A detector as one file, from waveform to score, which other programs run without this package."""
