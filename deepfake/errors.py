"""Errors for users: the one exception that they can act on, and messages for those of libraries and the system."""

from __future__ import annotations

import errno
import re
import unicodedata

MEMORY = ": more memory is needed than `ulimit -v` or the machine allows"
FILES = ": raise the limit by `ulimit -n 4096`, or set num_workers=0"
KNOWN = {  # errors of libraries, by name since importing them is slow, and what is added to their messages
    "MisconfigurationException": "",
    "OutOfMemoryError": "; a smaller batch_size needs less memory",
}
LIMITS = {  # errors of the system that name no file, and what is added to their messages
    errno.ENOSPC: "",
    errno.EDQUOT: "",
    errno.EROFS: "",
    errno.EMFILE: FILES,
    errno.ENFILE: FILES,
    errno.ENOMEM: MEMORY,
}
MESSAGES = {  # of other errors of libraries: what their messages have in common, and the sentence
    r"annot allocate memory|can't allocate memory|failed to map segment|bad allocation": "Cannot allocate memory"
    + MEMORY,
    r"can't start new thread": "no thread can be started: raise the limit by `ulimit -u`, or set OMP_NUM_THREADS=1",
    r"Too many open files": "Too many open files" + FILES,
    r"shared memory|</torch_": "/dev/shm is too small for the loader processes; num_workers=0 does without them",
    r"CppCompileError|InvalidCxxCompiler|No working C\+\+ compiler|Cannot find a working triton": "task.compile=true: "
    "torch.compile fails here, for want of a compiler or of one that it can use: leave it out",
    r"[Ii]nvalid device (id|ordinal)": "more processes than GPUs were started here: start one for each "
    "(`nvidia-smi -L` lists them), or set trainer.accelerator=cpu",
    r"Early stopping conditioned on metric": "the epoch ended without dev scores, by which early stopping decides: "
    "leave trainer.max_steps out, or add callbacks.early_stopping=null",
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
        return f"{error.filename}: {error.strerror}{LIMITS.get(error.errno or 0, '')}"
    if isinstance(error, OSError) and error.errno in LIMITS:
        return f"{error.strerror}{LIMITS[error.errno]}"
    if isinstance(error, MemoryError):
        return "Cannot allocate memory" + MEMORY
    name = type(error).__name__
    if name == "MissingMandatoryValue":
        return f"{error.full_key} is needed and was not given"  # type: ignore[union-attr]
    if name in KNOWN:
        return " ".join(str(error).split()) + KNOWN[name]
    if isinstance(error, RuntimeError | ImportError | OSError | AssertionError):
        for part, message in MESSAGES.items():
            if re.search(part, str(error)):
                return message
    cause = error.__cause__ if error else None
    if name == "InstantiationException" and isinstance(cause, TypeError | ValueError | ImportError):
        return _message(cause) or " ".join(str(cause).split())  # a setting that its class rejects
    return _message(cause) if cause else None
