"""What is done to clips in training and never in scoring, one augmentation a file."""
