"""Profiles of enrolled speakers on disk: encrypted with AES-256-GCM, one file a speaker, whose name tells nothing.

A file is 12 random bytes (the nonce, new at every writing) and the encrypted profile with its tag: the length of a JSON
header as 4 bytes, the header, and the embedding as raw float32, little end first. Its name is a keyed hash of the
speaker's; name and version of this form are authenticated with it, so that files can be neither changed nor swapped.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from deepfake.atomic import sync_folder, write_atomically
from deepfake.errors import InputError
from deepfake.speakers.embedding import Vector
from deepfake.speakers.key import VARIABLE, key_file, make_key, profile_folder, read_key

log = logging.getLogger(__name__)

VERSION = 1
SUFFIX = ".profile"
N_NONCE = 12
LONGEST_DAYS = 36_500


@dataclass(frozen=True)
class Profile:
    """An enrolled speaker.

    Attributes:
        name: As it was given, in Unicode's normal form C.
        embedding: Mean of the samples' embeddings, of unit length `[D]`.
        n_samples: How many samples were given.
        speech_seconds: How much speech they held.
        created: When, in UTC, ISO 8601.
        purpose: What it is kept for, in the words of whoever enrolled the speaker; empty where nothing was said.
        expires: When it ends, in UTC, ISO 8601; from then on it matches nobody and is deleted. None for never.
    """

    name: str
    embedding: Vector
    n_samples: int
    speech_seconds: float
    created: str
    purpose: str = ""
    expires: str | None = None

    @classmethod
    def new(cls, name: str, embedding: Vector, *, n_samples: int, speech_seconds: float) -> Profile:
        """A profile made now, without an end."""
        created = _now().isoformat(timespec="seconds")
        return cls(plain_name(name), embedding, n_samples, speech_seconds, created)

    def kept(self, *, days: float | None = None, purpose: str = "") -> Profile:
        """The same for a purpose, and for so many days from now on; None for without an end.

        Raises:
            InputError: It would end at once, or in centuries.
        """
        if days is None:
            return replace(self, purpose=purpose)
        if not 0 < days <= LONGEST_DAYS:
            raise InputError(f"expires={days:g}: days, more than 0 and at most {LONGEST_DAYS}, were expected")
        expires = (_now() + timedelta(days=days)).isoformat(timespec="seconds")
        return replace(self, purpose=purpose, expires=expires)

    @property
    def ended(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= _now()


class Profiles:
    """The profiles of a folder, of which those whose time is over are deleted by whoever comes upon them.

    Args:
        folder: Where they are; None for the user's own.

    Raises:
        InputError: The key cannot be used, or profiles are there and no key is.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = profile_folder() if folder is None else folder
        self._key = read_key()
        if self._key is None and (n := len(self._files())):
            raise InputError(
                f"{key_file()}: the key of the {n} profiles in {self.folder} was expected, or {VARIABLE}: bring it "
                "back, or delete these files and enrol again"
            )

    def __iter__(self) -> Iterator[Profile]:
        """All profiles, by name.

        Raises:
            InputError: One cannot be decrypted: it was changed, or made with another key.
        """
        found = [self._read_in_time(file) for file in self._files()]
        return iter(sorted(filter(None, found), key=lambda profile: profile.name))

    def get(self, name: str) -> Profile:
        """The profile of a speaker.

        Raises:
            InputError: There is none, its time is over, or one cannot be decrypted.
        """
        if (found := self._read_in_time(self._existing(name))) is None:
            raise InputError(f"{plain_name(name)} is not enrolled any more: the profile has expired, enrol again")
        return found

    def add(self, profile: Profile) -> None:
        """Store a new profile.

        Raises:
            InputError: The speaker is enrolled already, or the profiles that are there have another key.
        """
        if self._key is None:
            self._key = make_key(self.folder)
        if profile.name in (known.name for known in self):
            raise InputError(
                f"{profile.name} is enrolled already: `deepfake speakers delete` that profile first, to enrol anew"
            )
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._path(profile.name), self._encrypted(profile))

    def delete(self, name: str) -> None:
        """Remove a speaker's profile, and what an interrupted writing may have left of it.

        Raises:
            InputError: There is none, or one cannot be decrypted.
        """
        self._erase(self._existing(name))

    def _read_in_time(self, file: Path) -> Profile | None:
        """A profile; None where its time is over, and then its file is deleted."""
        if not (profile := self._read(file)).ended:
            return profile
        try:
            self._erase(file)
        except OSError as error:  # of a folder that may not be written, say
            log.warning("%s: a profile that has expired cannot be deleted: %s", file, error.strerror)
        return None

    def _erase(self, path: Path) -> None:
        for file in (path, *self.folder.glob(f".{path.name}.*.part")):
            file.unlink(missing_ok=True)
        sync_folder(self.folder)

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))

    def _existing(self, name: str) -> Path:
        name = plain_name(name)
        if self._key is not None and (path := self._path(name)).is_file():
            return path
        n = len(list(self))  # with another key no file would be found: that is told apart here
        raise InputError(
            f"{name} is not enrolled: one of the {n} speakers that `deepfake speakers list` shows was expected"
            if n
            else f"{name} is not enrolled, nobody is: `deepfake enroll --speaker NAME FILES...` comes first"
        )

    def _path(self, name: str) -> Path:
        digest = hmac.digest(self._derived("names"), name.encode(), "sha256")
        return self.folder / f"{digest[:16].hex()}{SUFFIX}"

    def _derived(self, purpose: str) -> bytes:
        """A key of its own for each purpose."""
        assert self._key is not None
        return hmac.digest(self._key, f"deepfake speaker profiles {VERSION}: {purpose}".encode(), "sha256")

    def _encrypted(self, profile: Profile) -> bytes:
        header = {key: value for key, value in vars(profile).items() if key != "embedding"}
        text = json.dumps(header, ensure_ascii=False).encode()
        plain = struct.pack("<I", len(text)) + text + profile.embedding.astype("<f4").tobytes()
        nonce = os.urandom(N_NONCE)
        return nonce + self._cipher().encrypt(nonce, plain, _associated(self._path(profile.name)))

    def _read(self, file: Path) -> Profile:
        from cryptography.exceptions import InvalidTag

        content = file.read_bytes()
        try:
            plain = self._cipher().decrypt(content[:N_NONCE], content[N_NONCE:], _associated(file))
        except (InvalidTag, ValueError):
            raise InputError(
                f"{file}: a profile made with this key was expected: the key is another one, or the file was changed; "
                "use the key that it was made with, or delete the file and enrol again"
            ) from None
        (n,) = struct.unpack_from("<I", plain)
        header = json.loads(plain[4 : 4 + n])
        return Profile(embedding=np.frombuffer(plain, "<f4", offset=4 + n).astype(np.float32), **header)

    def _cipher(self) -> Any:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise InputError(f'speaker profiles need cryptography ({error}): pip install -e ".[speaker]"') from error
        return AESGCM(self._derived("contents"))


def _now() -> datetime:
    return datetime.now(UTC)


def plain_name(name: str) -> str:
    """A name in Unicode's normal form C, without blanks around it.

    Raises:
        InputError: Nothing is left, or it holds control characters or what is not Unicode.

    >>> plain_name(" Ame\\u0301lie ") == "Am\\u00e9lie"
    True
    """
    plain = unicodedata.normalize("NFC", name).strip()
    if not plain or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in plain):
        raise InputError(f"speaker={name!r}: a name in one line of Unicode was expected")
    return plain


def _associated(file: Path) -> bytes:
    """What is authenticated with a profile: its id, which is the stem of its file, and the version of this form."""
    return f"{file.stem} {VERSION}".encode()
