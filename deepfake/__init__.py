"""Train, judge and use detectors of spoofed speech."""

__version__ = "0.1.0"
