"""Errors for users: the one exception that they can act on, and messages for those of libraries."""

from __future__ import annotations

KNOWN = {  # errors of libraries, by name since importing them is slow, and what is added to their messages
    "MisconfigurationException": "",
    "OutOfMemoryError": "; a smaller batch_size needs less memory",
}


class InputError(ValueError):
    """An input of the user cannot be used.

    The message is one sentence, `X=...: Y was expected`, with the file concerned and what to do. The commands print it
    without a traceback and exit with 1.
    """


def sentence(error: BaseException | None) -> str | None:
    """The message of an error for the user, None for a bug of the program."""
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
        return sentence(cause) or " ".join(str(cause).split())  # a setting that its class rejects
    return sentence(cause) if cause else None
