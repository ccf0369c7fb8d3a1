"""A recording inside a tar archive, named by a path: `DIR/train-0.tar/KEY.flac#OFFSET+SIZE`.

The path says all that is needed to read the recording with one seek: no index is held by the processes that load, and
whatever lists, samples or resumes recordings by their paths does so with these.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from deepfake.errors import InputError

_PATH = re.compile(r"(.+\.tar)/.+#(\d+)\+(\d+)", re.DOTALL)


class Member(NamedTuple):
    """The bytes of a file in an archive.

    Attributes:
        archive: Path of the archive.
        offset: Of the first of them, in bytes.
        size: Their number.
    """

    archive: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """All of them.

        Raises:
            InputError: The archive ends before.
            OSError: It is not there, or cannot be read.
        """
        found = b""
        with self.archive.open("rb", buffering=0) as file:
            while len(found) < self.size:
                if not (more := os.pread(file.fileno(), self.size - len(found), self.offset + len(found))):
                    break
                found += more
        if len(found) < self.size:
            end = self.offset + self.size
            raise InputError(f"{self.archive}: {end:,} bytes or more were expected: get the archive again, whole")
        return found


def member_path(archive: str | os.PathLike[str], name: str, offset: int, size: int) -> str:
    """The path of a file in an archive.

    >>> member_path("corpus/train-0.tar", "17.flac", 1536, 83208)
    'corpus/train-0.tar/17.flac#1536+83208'
    """
    return f"{os.fspath(archive)}/{name}#{offset}+{size}"


def member_of(path: str | os.PathLike[str]) -> Member | None:
    """What such a path names; None for every other path.

    >>> member_of("corpus/train-0.tar/17.flac#1536+83208")
    Member(archive=PosixPath('corpus/train-0.tar'), offset=1536, size=83208)
    >>> member_of("corpus/17.flac") is None
    True
    """
    found = _PATH.fullmatch(text) if ".tar/" in (text := os.fspath(path)) else None
    return Member(Path(found[1]), int(found[2]), int(found[3])) if found else None
