"""Augmentations: changes to clips in training, never in scoring, one a file."""
