"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence: what was got, what was wanted, which file, and what to do. The commands print it
    without a traceback and exit with 1.
    """
