"""Errors for users: the one exception that they can act on, and messages for those of libraries."""

from __future__ import annotations

import unicodedata

KNOWN = {  # errors of libraries, by name since importing them is slow, and what is added to their messages
    "MisconfigurationException": "",
    "OutOfMemoryError": "; a smaller batch_size needs less memory",
}


class InputError(ValueError):
    """An input of the user cannot be used.

    The message is one sentence, `X=...: Y was expected`, with the file concerned and what to do. The commands print it
    without a traceback and exit with 1.
    """


def printable(text: str, *, lines: bool = False) -> str:
    """A text of unknown origin, as a file's name, without what a terminal would act on or an encoding cannot hold.

    Control and format characters and halves of surrogate pairs are written as in Python; spaces of all kinds stay.

    Args:
        text: The text.
        lines: Whether ends of lines stay.

    >>> printable("\x1b[31mred\n.wav")
    '\\x1b[31mred\\n.wav'
    """
    if text.isprintable():
        return text
    kept = "\n" if lines else ""
    return "".join(
        c if c.isprintable() or c in kept or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode()
        for c in text
    )


def sentence(error: BaseException | None) -> str | None:
    """The message of an error for the user, on one line; None for a bug of the program."""
    message = _message(error)
    return None if message is None else printable(message)


def _message(error: BaseException | None) -> str | None:
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
        return _message(cause) or " ".join(str(cause).split())  # a setting that its class rejects
    return _message(cause) if cause else None
