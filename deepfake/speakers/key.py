"""The key that speaker profiles are encrypted with: from the environment, or a file that only its owner can read."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from deepfake.errors import InputError

VARIABLE = "DEEPFAKE_SPEAKER_KEY"
N_BYTES = 32
FORM = f"{2 * N_BYTES} hexadecimal digits ({N_BYTES} bytes) were expected; `openssl rand -hex {N_BYTES}` makes them"


def key_file() -> Path:
    """Where the key is if the environment does not hold it: among the configuration of the user, not among the data."""
    return _folder("XDG_CONFIG_HOME", ".config") / "deepfake" / "speaker.key"


def profile_folder() -> Path:
    """Where the profiles of the user are."""
    return _folder("XDG_DATA_HOME", ".local/share") / "deepfake" / "speakers"


def read_key() -> bytes | None:
    """The key, `[32]` bytes; None where there is none yet.

    Raises:
        InputError: It has another form, or others can read its file.
    """
    if (given := os.environ.get(VARIABLE)) is not None:
        return _bytes(given, VARIABLE)
    file = key_file()
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    if os.name == "posix" and mode & 0o077:
        raise InputError(
            f"{file}: mode 0600 was expected, others can read this key ({mode & 0o777:04o}): `chmod 600 {file}`, or, "
            "if it may have been copied, delete it with its profiles and enrol again"
        )
    return _bytes(text, str(file))


def make_key(beside: Path) -> bytes:
    """Make the key file, or read the one that another process has just made.

    Args:
        beside: The folder of the profiles, in which and above which the key must not be.

    Raises:
        InputError: The key would be in such a place.
    """
    file = key_file()
    if beside.absolute().is_relative_to(file.parent.absolute()):
        raise InputError(
            f"{file}: another place than that of the profiles ({beside}) was expected: set XDG_CONFIG_HOME and "
            f"XDG_DATA_HOME to different folders, or give the key in {VARIABLE}"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as new:
            new.write(secrets.token_hex(N_BYTES) + "\n")
            new.flush()
            os.fsync(new.fileno())
        os.link(part, file)  # unlike a renaming, does not replace the key of another process
    except FileExistsError:
        pass
    finally:
        part.unlink(missing_ok=True)
    key = read_key()
    assert key is not None
    return key


def _folder(variable: str, default: str) -> Path:
    given = os.environ.get(variable, "")
    return Path(given) if Path(given).is_absolute() else Path.home() / default  # the standard ignores relative ones


def _bytes(text: str, source: str) -> bytes:
    """The key that a text states, which no message repeats."""
    if not re.fullmatch(rf"[0-9a-fA-F]{{{2 * N_BYTES}}}", text.strip()):
        raise InputError(f"{source}: {FORM}")
    return bytes.fromhex(text.strip())
