"""A lock that falls with its process, however that ends."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepfake.errors import InputError

log = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, remedy: str) -> Iterator[None]:
    """Hold a lock file, for as long as the block lasts or the process lives.

    A record lock of POSIX: other hosts that share the file system see it too, and loader processes do not inherit it.

    Args:
        path: Path of the file; its folder is created if needed. It stays there; only who holds it counts.
        remedy: What the user is told to do where another process holds it.

    Raises:
        InputError: Another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                raise InputError(f"{path.parent} is in use by {file.read() or 'another process'}: {remedy}") from None
            log.warning("%s cannot be locked (%s): start no second training in this folder", path, error.strerror)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
