"""The temporary folders of the server, and those that servers left which were killed."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

NAME = "deepfake-serve-{host}-{process}-"  # of a machine or a container: each counts its processes for itself


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that nobody else can read, deleted afterwards; its name tells the process that made it."""
    with tempfile.TemporaryDirectory(prefix=NAME.format(host=_host(), process=os.getpid())) as folder:
        yield Path(folder)


def sweep() -> None:
    """Delete the folders of servers of this machine and user that have ended; called before any is made.

    One with the id of this very process is another's too, as in a container that was started again.
    """
    ours = re.compile(NAME.format(host=re.escape(_host()), process=r"(\d+)") + r"\w+")
    for folder in Path(tempfile.gettempdir()).iterdir():
        if (found := ours.fullmatch(folder.name)) is None or _lives(int(found[1])):
            continue
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            shutil.rmtree(folder)
            log.info("%s was left by a server that was killed, and is deleted", folder)
        except OSError as error:  # another server deletes it, say
            log.warning("%s, left by a server that was killed, cannot be deleted: %s", folder, error.strerror)


def _lives(process: int) -> bool:
    """Whether there is another process of this id."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    return re.sub(r"\W", "_", socket.gethostname())
