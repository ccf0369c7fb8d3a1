"""A partition scored by one process or several: each writes its share as it comes, the first puts them together.

All that the processes have in common is a folder: what is done is what stands in it, so that a command that was killed
goes on where it was, with another number of processes too, and no utterance is scored twice. A lock that each process
holds on a file of its own tells the others that it lives; it falls with the process, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deepfake.errors import InputError
from deepfake.processes import Process
from deepfake.scores.compute import Batch

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks at the other processes
START_SECONDS = 300.0  # that the first one waits for another to begin, after its own share


class PeerEnded(InputError):
    """Another process ended before its share was scored."""


@dataclass
class Shares:
    """The scores of a list of utterances, in a folder with a file for each process.

    Args:
        folder: Folder of these scores alone: of this detector and this list.
        n_items: Number of utterances.
        process: This process, whose share is every n-th utterance from its rank on.
    """

    folder: Path
    n_items: int
    process: Process = field(default_factory=Process)

    def run(self, scored: Callable[[Sequence[int]], Iterable[Batch]]) -> list[Batch] | None:
        """Score what is left of this process's share, and wait for the others.

        Args:
            scored: Scores the utterances of these indices.

        Returns:
            What all processes scored, each utterance once; None on others than the first.

        Raises:
            InputError: It was interrupted, another process ended too early or holds this share.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        peers = _Peers(self)
        with self._held():
            try:
                self._score(scored, peers)
                if not self.process.first:
                    return None
                peers.wait()
            except (KeyboardInterrupt, PeerEnded) as error:
                if not self.process.first and peers.held(0):  # which says it
                    raise SystemExit(1) from None
                raise InputError(f"{peers.cause(error)}: {self._so_far()}") from None
        return self.batches()

    def _score(self, scored: Callable[[Sequence[int]], Iterable[Batch]], peers: _Peers) -> None:
        done, mine = self.done(), self.share(self.process.rank)
        left = [i for i in mine if i not in done]
        if len(left) < len(mine):
            log.info("%d of %d utterances are scored already", len(mine) - len(left), len(mine))
        if not left:
            return
        path = self._file(self.process.rank)
        path.touch()
        with path.open("rb+") as file:
            file.seek(file.truncate(file.read().rfind(b"\n") + 1))  # a line that was cut off
            for batch in scored(left):
                file.write(_line(batch))
                file.flush()
                peers.look()

    def share(self, rank: int) -> range:
        """The indices of a process's utterances."""
        return range(rank, self.n_items, self.process.n)

    def batches(self) -> list[Batch]:
        """Everything that was scored, each utterance once.

        Raises:
            InputError: One is missing, or stands there twice: other programs wrote into the folder.
        """
        batches = [batch for path in self._files() for batch in _read(path)]
        rows = sorted(i for batch in batches for i in (*batch.index, *batch.errors))
        if rows != [*range(self.n_items)]:
            got = f"{len(rows)} scores of {self.n_items} utterances"
            raise InputError(f"{self.folder}: {got}: one of each was expected; delete this folder, and begin anew")
        return batches

    def done(self) -> set[int]:
        """The indices of the utterances that have a score, or a reason for none."""
        return {i for path in self._files() for batch in _read(path) for i in (*batch.index, *batch.errors)}

    def _so_far(self) -> str:
        return f"{len(self.done()):,} of {self.n_items:,} utterances are scored; the same command scores the others"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))

    def _file(self, rank: int) -> Path:
        return self.folder / f"{rank}.jsonl"

    def lock(self, rank: int) -> Path:
        """The file that a process locks for as long as it scores."""
        return self.folder / f"{rank}.lock"

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self.lock(self.process.rank).open("a") as file:
            for attempt in range(20):
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EAGAIN):
                        log.warning("%s cannot be locked (%s): start this command only once", file.name, error.strerror)
                        break
                    if attempt == 19:
                        where = self.folder.parent
                        raise InputError(f"{where} is being scored by another command: wait for it") from None
                    time.sleep(0.1)  # another process looks whether this one lives
            yield


class _Peers:
    """The other processes: which of them were seen at work, and which have scored their shares.

    Args:
        shares: The shares of all of them.
    """

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.left = {*range(shares.process.n)} - {shares.process.rank}  # not known to have scored theirs
        self.seen: set[int] = set()
        self._next = 0.0

    def held(self, rank: int) -> bool:
        """Whether a process is at work; where there are no locks, it is thought to be."""
        try:
            with self.shares.lock(rank).open() as file:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def look(self, *, at_once: bool = False) -> None:
        """Look at those that were seen at work, but not all the time.

        Raises:
            PeerEnded: One is no more, with its share not scored.
        """
        if self.left and (at_once or time.monotonic() > self._next):
            working = self._working()
            self._check((self.left & self.seen) - working)
            self._next = time.monotonic() + LOOK_SECONDS

    def cause(self, error: BaseException) -> str:
        """Why this process ends: torchrun interrupts all where one has ended."""
        try:
            self.look(at_once=True)
        except PeerEnded as ended:
            error = ended
        return str(error) or "interrupted"

    def wait(self) -> None:
        """Wait until all shares are scored.

        Raises:
            PeerEnded: One ended before, or did not begin within `START_SECONDS`.
        """
        end = time.monotonic() + START_SECONDS
        while self.left:
            working = self._working()
            self._check(self.left - working, late=time.monotonic() > end)
            if self.left:
                time.sleep(LOOK_SECONDS / 4)

    def _working(self) -> set[int]:
        working = {rank for rank in self.left if self.held(rank)}
        self.seen |= working
        return working

    def _check(self, ranks: set[int], *, late: bool = False) -> None:
        """Whether processes that are not at work have scored their shares."""
        done = self.shares.done() if ranks else set()
        for rank in sorted(ranks):
            if done.issuperset(self.shares.share(rank)):
                self.left.discard(rank)
            elif late or rank in self.seen:
                how = "ended before its share was scored" if rank in self.seen else "did not begin"
                raise PeerEnded(f"the process of rank {rank} (of {self.shares.process.n}) {how}")


def _line(batch: Batch) -> bytes:
    errors = [[i, message] for i, message in batch.errors.items()]
    row = {"index": batch.index, "scores": batch.scores, "errors": errors, "seconds": batch.seconds}
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _read(path: Path) -> Iterator[Batch]:
    """The batches in a file, but for one that is not whole: its process was killed, or is writing it."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        row = json.loads(line)
        yield Batch(row["index"], row["scores"], dict(row["errors"]), row["seconds"])
