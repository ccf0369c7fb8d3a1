"""What `deepfake serve` does: refuse what is not safe, listen, and answer until it is told to end."""

from __future__ import annotations

import ipaddress
import socket
import sys
import uuid
from asyncio import Transport
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from uvicorn import Config, Server
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.supervisors import Multiprocess

from deepfake.errors import InputError
from deepfake.serve import tls
from deepfake.serve.app import application
from deepfake.serve.keys import Keys
from deepfake.serve.logs import LOGGING
from deepfake.serve.private import sweep
from deepfake.serve.problems import MEDIA_TYPE, Problem
from deepfake.serve.service import Settings

DRAIN_SECONDS = 300  # what runs when the server is told to end may take as long

MESSAGE_BYTES = 1 << 20  # of a WebSocket
START_SECONDS = 120  # a worker answers its parent only after it has imported torch


def serve(
    settings: Settings, *, host: str, port: int, secure: bool = False, workers: int = 1, insecure: bool = False
) -> None:
    """Serve a run until SIGTERM or SIGINT; what runs then is finished.

    Args:
        settings: What is served.
        host: Address to listen at.
        port: Port; 0 for a free one, which is printed.
        secure: Whether to use TLS, with a certificate that is made and kept.
        workers: Processes; they share nothing but the port.
        insecure: Whether others than this machine may connect without a key or TLS.

    Raises:
        InputError: It would be open to others, or the run, the key file or the address cannot be used.
    """
    if workers < 1:
        raise InputError(f"workers={workers}: at least 1 was expected")
    if not (_is_loopback(host) or settings.key_file or secure or insecure):
        raise InputError(
            f"host={host}: others could use the server without a key; give --key-file or --tls, or say --insecure"
        )
    if workers > 1:  # faults are told here, and not by each worker
        settings.detector()
        _ = settings.key_file and Keys.read(settings.key_file)
    sweep()
    certificate = tls.kept(host) if secure else None
    files: dict[str, Path] = {}
    if certificate:
        files = {"ssl_certfile": certificate.certificate, "ssl_keyfile": certificate.key}
        print(f"certificate: {certificate.certificate}, SHA-256 {certificate.fingerprint}", file=sys.stderr)
    config = Config(
        partial(application, settings),
        factory=True,
        http=Protocol,
        workers=workers,
        log_config=LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=START_SECONDS,
        **files,  # type: ignore[arg-type]
    )
    with _listening(host, port) as listening:
        name = f"[{host}]" if ":" in host else host
        print(f"http{'s' if secure else ''}://{name}:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
        with suppress(KeyboardInterrupt):  # with which uvicorn repeats the signal that ended it
            if workers > 1:
                Workers(config, sockets=[listening]).run()
            else:
                Server(config).run(sockets=[listening])


class Workers(Multiprocess):
    """The parent of several workers, which starts another one as soon as one was killed.

    It asks each worker whether it lives through a pipe, of which uvicorn leaves the worker's end open on this side too:
    if the worker is killed before it answers, nobody notices until the time for an answer is over. Closed here, it
    shows at once.
    """

    def keep_subprocess_alive(self) -> None:
        """Called twice a second."""
        for process in self.processes:
            process.child_conn.close()  # the worker has its own since it was started
        with suppress(EOFError, OSError):  # of a worker that ends now: the next call starts another
            super().keep_subprocess_alive()


class Protocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """HTTP as uvicorn speaks it, but what is no HTTP is answered with a problem too."""

    transport: Transport

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read any further, and close the connection.

        Args:
            msg: What uvicorn would say.
        """
        content = Problem("bad-request", msg).body(request_id := uuid.uuid4().hex)
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(content)}\r\n"
        head += f"X-Request-ID: {request_id}\r\nConnection: close\r\n\r\n"
        self.transport.write(head.encode() + content)
        self.transport.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    """A socket bound to an address.

    Raises:
        InputError: It cannot be.
    """
    with ExitStack() as opened:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            bound = opened.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except (OSError, OverflowError) as error:
            raise InputError(f"host={host} port={port}: an address to listen at was expected ({error})") from error
        opened.pop_all()
    bound.set_inheritable(True)
    return bound
