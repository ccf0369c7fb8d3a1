"""A web server on this machine that answers ranges, as object stores do."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class RangeServer(ThreadingHTTPServer):
    """A folder at `address`.

    Attributes:
        asked: Each request so far, as `GET train-0.tar bytes=512-1023`.
        refusals: For a file, or `FILE bytes=512-1023`, the statuses of its next answers; 0 is none.
        ranges: Whether ranges are answered with ranges.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.ranges = folder, True
        self.asked: list[str] = []
        self.refusals: dict[str, list[int]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def counts(self) -> Counter[str]:
        """Number of requests by file, and forget them."""
        found = Counter(one.split()[1] for one in self.asked)
        self.asked.clear()
        return found


class Handler(SimpleHTTPRequestHandler):
    """Answers of the server."""

    protocol_version = "HTTP/1.1"  # connections stay open
    server: RangeServer

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        name, asked = self.path.lstrip("/"), self.headers.get("Range", "")
        self.server.asked.append(f"{self.command} {name} {asked}".strip())
        path = self.server.folder / name
        if refusals := self.server.refusals.get(name) or self.server.refusals.get(f"{name} {asked}"):
            self._send(refusals.pop(0), b"")
        elif not path.is_file():
            self._send(404, b"")
        elif (range_ := re.fullmatch(r"bytes=(\d+)-(\d+)", asked)) and self.server.ranges:
            data = path.read_bytes()[int(range_[1]) : int(range_[2]) + 1]
            self._send(206 if data else 416, data)
        else:
            changed = self.date_time_string(int(path.stat().st_mtime))
            self._send(200, path.read_bytes(), body=body, **{"Last-Modified": changed})

    def _send(self, status: int, data: bytes, *, body: bool = True, **headers: str) -> None:
        if status == 0:
            time.sleep(0.5)
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def served(folder: Path) -> Iterator[RangeServer]:
    """Serve a folder for as long as the block lasts."""
    with RangeServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
