"""API keys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path

from deepfake.errors import InputError

SHORTEST = 16  # characters of a plain key
HASHED = re.compile(r"sha256:([0-9a-fA-F]{64})")


class Keys:
    """The keys that are accepted, of which only SHA-256 digests are kept.

    Several are alive at once, so that one can be replaced while clients change over.

    Args:
        digests: SHA-256 of each.
    """

    def __init__(self, digests: list[bytes]) -> None:
        self._digests = digests

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read a key file: one key a line, plain or as `sha256:` and 64 hexadecimal digits; `#` begins a comment.

        Raises:
            InputError: It is missing, holds no key, or a plain one of fewer than 16 characters.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise InputError(f"key_file={path}: a file with a key a line was expected ({reason})") from error
        digests = []
        for number, line in enumerate(lines, 1):
            if not (key := line.strip()) or key.startswith("#"):
                continue
            if found := HASHED.fullmatch(key):
                digests.append(bytes.fromhex(found[1]))
            elif len(key) < SHORTEST:
                raise InputError(f"{path}:{number}: a key of at least {SHORTEST} characters was expected")
            else:
                digests.append(hashlib.sha256(key.encode()).digest())
        if not digests:
            raise InputError(f"key_file={path}: there is no key in it; write one a line")
        return cls(digests)

    def accept(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether the headers of a request hold one of the keys, as `X-API-Key` or `Authorization: Bearer`."""
        given = b""
        for name, value in headers:
            if name == b"x-api-key":
                given = value
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:]
        digest = hashlib.sha256(given.strip()).digest()
        matches = [hmac.compare_digest(digest, key) for key in self._digests]  # all of them, whichever it is
        return any(matches)
