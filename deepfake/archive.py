"""A recording inside a tar archive, named by a path: `DIR/train-0.tar/KEY.flac#OFFSET+SIZE`, or by such an address.

The path says all that is needed to read the recording with one seek: no index is held by the processes that load, and
whatever lists, samples or resumes recordings by their paths does so with these.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import NamedTuple

from deepfake.address import is_address, read
from deepfake.errors import InputError

_PATH = re.compile(r"(.+\.tar)/.+#(\d+)\+(\d+)", re.DOTALL)


class Member(NamedTuple):
    """The bytes of a file in an archive.

    Attributes:
        archive: Path of the archive, or its address.
        offset: Of the first of them, in bytes.
        size: Their number.
    """

    archive: Path | str
    offset: int
    size: int

    def read(self) -> bytes:
        """All of them.

        Raises:
            InputError: The archive ends before, or its store does not answer.
            OSError: It is not there, or cannot be read.
        """
        end = self.offset + self.size
        found = _fetched(self.archive, self.offset, end) if isinstance(self.archive, str) else self._pread(self.archive)
        if len(found) < self.size:
            raise InputError(f"{self.archive}: {end:,} bytes or more were expected: get the archive again, whole")
        return found

    def _pread(self, archive: Path) -> bytes:
        found = b""
        with archive.open("rb", buffering=0) as file:
            while len(found) < self.size:
                if not (more := os.pread(file.fileno(), self.size - len(found), self.offset + len(found))):
                    break
                found += more
        return found


@functools.lru_cache(maxsize=1)
def _fetched(archive: str, start: int, end: int) -> bytes:
    """A range of an archive at an address; the last one is kept, since a crop is drawn by the header and then cut."""
    return read(archive, start, end)


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
    if found is None:
        return None
    return Member(found[1] if is_address(found[1]) else Path(found[1]), int(found[2]), int(found[3]))
