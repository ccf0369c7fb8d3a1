"""The one exception that a user is meant to read, and what is said of others."""

from __future__ import annotations

KNOWN = {  # errors of libraries that are not imported for this, and what is added to their words
    "MisconfigurationException": "",
    "OutOfMemoryError": "; a smaller batch_size needs less memory",
}


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence: what was got, what was wanted, which file, and what to do. The commands print it
    without a traceback and exit with 1.
    """


def sentence(error: BaseException | None) -> str | None:
    """What the user is to read of an error, None where it is a fault of the program."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    name = type(error).__name__
    if name == "MissingMandatoryValue":
        return f"{error.full_key} is needed and was not given"  # type: ignore[union-attr]
    if name in KNOWN:
        return " ".join(str(error).split()) + KNOWN[name]
    cause = error.__cause__ if error else None
    if name == "InstantiationException" and isinstance(cause, TypeError | ValueError | ImportError):
        return sentence(cause) or " ".join(str(cause).split())  # a setting that its class refuses
    return sentence(cause) if cause else None
