"""A file in an object store or on a web server, named by its address: `s3://bucket/corpus/train-0.tar`, `gs://`, `https://`.

fsspec reads it, with the packages of the stores (s3fs, gcsfs ...), which take credentials from the environment or the
store's own files.
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, TypeGuard, TypeVar

from deepfake.errors import InputError

PAUSES = (0.5, 1.0)  # seconds between tries
TIMEOUT_SECONDS = 60.0  # of a range
VERSIONS = ("ETag", "etag", "Content-MD5", "Last-Modified", "LastModified", "last_modified", "mtime", "updated")
BEHIND = re.compile("range (is )?not satisfiable", re.IGNORECASE)  # in errors: the range begins behind the file's end
_PLACE = re.compile(r"([a-z][a-z0-9+.:-]*)://[^/]*", re.IGNORECASE)
_SECRETS = re.compile(r"[^/]*::|[^?]*\?|[^/]*//[^/]*:[^/]*@|https?://[^/]*@", re.IGNORECASE)

Answer = TypeVar("Answer")


def is_address(path: object) -> TypeGuard[str]:
    """Whether a path is an address."""
    return isinstance(path, str) and _PLACE.match(path) is not None


def public(address: str, key: str) -> str:
    """The same address, which will be written into configs, logs and reports.

    Raises:
        InputError: It holds a password or a signature, which the message does not repeat.
    """
    if _SECRETS.match(address):
        raise InputError(
            f"{key}={address.partition(':')[0]}://...: an address without user, password, query string and :: was "
            "expected, since it is written into the run: give credentials by the environment or the store's own files"
        )
    return address


def read(address: str, start: int | None = None, end: int | None = None) -> bytes:
    """All bytes of a file, or those of a range as far as it has them, by one request.

    Raises:
        InputError: It could not be read, in several tries where another may help.
        FileNotFoundError: The store has no such file.
    """

    def ask(store: Any) -> bytes:
        limit = {"timeout": TIMEOUT_SECONDS} if store.async_impl and end is not None else {}
        try:
            return store.cat_file(address, start=start, end=end, **limit)
        except Exception as error:
            if getattr(error, "status", 0) == 416 or BEHIND.search(str(error)):
                return b""
            raise

    found = _asked(address, ask)
    if end is not None and len(found) > end - (start or 0):
        raise InputError(f"{address}: a server that sends ranges was expected, this one sends whole files: use another")
    return found


def incomplete(sizes: Mapping[str, int]) -> set[str]:
    """Those of these files that are missing, or have fewer bytes than is said here, by a request of one byte each.

    Raises:
        InputError: One could not be read.
    """

    def lacks(address: str, data: Any = None) -> bool:
        try:
            answered = isinstance(data, bytes) and len(data) < 2
            return not (data if answered else read(address, sizes[address] - 1, sizes[address]))
        except FileNotFoundError:
            return True

    missing: set[str] = set()
    for place, some in groupby(sorted(sizes), key=_place):
        first, *others = some
        missing |= {first} if lacks(first) else set()  # alone, before many are asked for at once
        ends = [sizes[address] for address in others]
        found = _store(place, os.getpid()).cat_ranges(others, [end - 1 for end in ends], ends) if others else ()
        missing |= {address for address, data in zip(others, found, strict=True) if lacks(address, data)}
    return missing


def state(address: str) -> list[Any]:
    """Size in bytes and the version of a file, as its store states them.

    Raises:
        InputError: It states none, or could not be asked.
    """
    try:
        facts = _asked(address, lambda store: store.info(address))
    except FileNotFoundError as error:
        raise InputError(f"{address}: not found ({_reason(error.__cause__ or error)}): run the command again") from None
    version = next((str(facts[name]) for name in VERSIONS if facts.get(name)), None)
    if version is None or facts.get("size") is None:
        raise InputError(
            f"dataset.cache=true: {address}: a size and an ETag or a time of change were expected, by which a changed "
            "file is noticed, and this store states none: leave dataset.cache out"
        )
    return [facts["size"], version]


def _asked(address: str, ask: Callable[[Any], Answer], n_failed: int = 0) -> Answer:
    """What a store answers, in several tries where another may help."""
    try:
        return ask(_store(_place(address), os.getpid()))
    except (InputError, FileNotFoundError):
        raise
    except Exception as error:  # each store has its own
        lasting = isinstance(error, PermissionError) or getattr(error, "status", 0) in (400, 401, 403)
        if lasting or n_failed == len(PAUSES):
            tried = "" if lasting else f" in {len(PAUSES) + 1} tries"
            raise InputError(
                f"{address}: could not be read{tried} ({_reason(error)}): check the network, the address and the "
                "credentials of its store, then run the command again; a training goes on by resume=RUN"
            ) from error
    time.sleep(PAUSES[n_failed])
    return _asked(address, ask, n_failed + 1)


def _reason(error: BaseException) -> str:
    """The message of an error, without signatures of addresses that a server redirects to."""
    return re.sub(r"\?[^\s'\")]+", "?...", " ".join(str(error).split())) or type(error).__name__


def _place(address: str) -> str:
    """Store and bucket, or server, of an address."""
    found = _PLACE.match(address)
    assert found is not None
    return found[0]


@functools.cache
def _store(place: str, process: int) -> Any:
    """The file system of a place, by fsspec.

    One for each process: its event loop does not survive a fork. A child keeps that of its parent, unused, since it
    would be closed where it is freed, with the connections that they share.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(place)[0]
    except ImportError as error:
        package = getattr(error.__cause__, "name", None) or error.name
        raise InputError(f"{place} needs the package {package}: pip install {package}") from error
    except ValueError as error:
        raise InputError(f"{place}: an address of a store that fsspec knows was expected ({error})") from error
