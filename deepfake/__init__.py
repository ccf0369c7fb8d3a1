"""Train, evaluate and explain detectors of spoofed speech."""

__version__ = "0.1.0"
