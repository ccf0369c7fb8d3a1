"""Published files from the net: resumed where a download was cut off, verified, archives unpacked with care."""

from __future__ import annotations

import gzip
import hashlib
import http
import http.client
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

from deepfake.errors import InputError
from deepfake.terminal import progress

BLOCK = 1 << 20  # bytes
MOST_FILES = 1_000_000
TIMEOUT_SECONDS = 30.0


def download(url: str, path: Path, *, sha256: str | None, most_bytes: int, otherwise: str) -> None:
    """Bring a file here; it exists afterwards, verified, or not at all.

    What has come of it before an interruption stays as `NAME.part`, and the next call goes on from there. A file that
    is there already is only verified.

    Args:
        url: Its address.
        path: Where it goes; the folder is made.
        sha256: Of the published file; None where its publisher states none, and the content itself is to be checked.
        most_bytes: More are not taken.
        otherwise: What to do without a connection, for the message.

    Raises:
        InputError: There is no connection, it ended, or the file is not the published one, and is then removed.
    """
    part = path if path.exists() else path.with_name(f"{path.name}.part")
    if part is not path:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _fetch(url, part, most_bytes)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or error
            raise InputError(f"{url} could not be fetched ({reason}): {otherwise}") from error
        except OSError as error:  # the disk is full
            error.filename = error.filename or str(part)
            raise
    with part.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 and got != sha256:
        part.unlink()
        raise InputError(
            f"{url} is not the published file: its SHA-256 is {got}, {sha256} was expected; what came is removed"
        )
    part.replace(path)


def _fetch(url: str, part: Path, most_bytes: int) -> None:
    """Add to a part what is missing of it, or begin anew where the server cannot go on."""
    n_had = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={n_had}-"} if n_had else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # nothing is missing
            return
        raise
    with answer:
        resumed = (answer.headers["Content-Range"] or "").startswith(f"bytes {n_had}-")
        n_expected = int(answer.headers["Content-Length"] or 0) + (n_had if resumed else 0)
        with part.open("ab" if resumed else "wb") as file:
            blocks = iter(lambda: answer.read(BLOCK), b"")
            for block in progress(blocks, f"{part.stem}, MiB", total=-(-n_expected // BLOCK)):
                file.write(block)
                if file.tell() > most_bytes:
                    break
            n_got = file.tell()
            os.fsync(file.fileno())
    if n_got > most_bytes:
        part.unlink()
        raise InputError(f"{url} is not the published file: it is larger than {most_bytes:,} bytes")
    if n_got < n_expected:
        raise urllib.error.URLError(f"the connection ended after {n_got:,} of {n_expected:,} bytes")


def unpack(archive: Path, folder: Path, *, most_bytes: int) -> None:
    """Unpack a compressed tar archive of plain files and folders into an empty folder.

    Args:
        archive: Its contents are not trusted: no names that lead elsewhere, no links, no devices.
        folder: Made; removed again where unpacking fails.
        most_bytes: Of all files together.

    Raises:
        InputError: The archive is broken, or holds something else or more than that.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in _plain(tar, archive, most_bytes):
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"{archive} cannot be unpacked ({error}): delete it and fetch it again") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _plain(tar: tarfile.TarFile, archive: Path, most_bytes: int) -> Iterator[tarfile.TarInfo]:
    """The members of an archive, each checked before it is unpacked."""
    n_bytes = 0
    for i, member in enumerate(tar):
        n_bytes += member.size
        if not (member.isreg() or member.isdir()):
            raise InputError(f"{archive}: {member.name}: plain files and folders were expected; nothing is unpacked")
        if n_bytes > most_bytes or i >= MOST_FILES:
            limit = f"{most_bytes:,} bytes or {MOST_FILES:,} files"
            raise InputError(f"{archive} holds more than {limit}, at most that was expected; nothing is unpacked")
        yield member
