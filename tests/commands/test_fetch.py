"""`deepfake fetch librispeech`, against a server of this machine."""

from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from torchaudio.datasets import librispeech as torchaudio_librispeech

from deepfake.cli import main
from deepfake.commands import fetch
from deepfake.datasets.librispeech import SUBSETS, utterances


def packed(*entries: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    """A compressed archive of files with these contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            member = tarfile.TarInfo(entry[0])
            member.size = len(entry[1])
            tar.addfile(member, io.BytesIO(entry[1]))
    return buffer.getvalue()


SOUND = hashlib.shake_256(b"sound").digest(200_000)  # does not shrink
CORPUS = packed(
    ("LibriSpeech/SPEAKERS.TXT", b"61 | M\n"),
    ("LibriSpeech/test-clean/61/70968/61-70968-0000.flac", SOUND),
    ("LibriSpeech/test-clean/61/70968/61-70968-0001.flac", SOUND[::-1]),
)


class Server(ThreadingHTTPServer):
    """Serves one content, in parts where asked; cuts the first answer off after some bytes."""

    content, cut_after, ranges = CORPUS, None, True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        content = self.server.content
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.server.cut_after])
        self.server.cut_after = None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setattr(fetch, "SOURCE", f"http://127.0.0.1:{serving.server_port}/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        publish(serving, monkeypatch, CORPUS)
        yield serving
        serving.shutdown()
        thread.join()


def publish(server, monkeypatch, content):
    server.content = content
    monkeypatch.setitem(fetch.PARTS, "test-clean", (len(content), hashlib.sha256(content).hexdigest()))


def run(folder):
    return main(["fetch", "librispeech", "--output", str(folder)])


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


FETCHED = ["LibriSpeech/SPEAKERS.TXT"]
FETCHED += [f"LibriSpeech/test-clean/61/70968/61-70968-000{n}.flac" for n in (0, 1)]


def test_a_part_is_fetched_and_read(server, tmp_path, capsys):
    assert run(tmp_path) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"
    assert files(tmp_path) == FETCHED and (tmp_path / FETCHED[1]).read_bytes() == SOUND
    assert [u.speaker for u in utterances("eval", root=str(tmp_path))] == ["61", "61"]
    assert run(tmp_path) == 0 and len(server.asked) == 1


def test_it_goes_on_where_it_was_cut_off(server, tmp_path, capsys):
    server.cut_after = 100_000
    assert run(tmp_path) == 1
    error = capsys.readouterr().err
    assert f"the connection ended after 100,000 of {len(CORPUS):,} bytes): run this again to go on" in error
    assert error.count("\n") == 1 and files(tmp_path) == ["test-clean.tar.gz.part"]
    assert run(tmp_path) == 0 and server.asked == [None, "bytes=100000-"] and files(tmp_path) == FETCHED


def test_a_server_that_cannot_go_on_begins_anew(server, tmp_path):
    server.cut_after, server.ranges = 100_000, False
    assert (run(tmp_path), run(tmp_path)) == (1, 0) and files(tmp_path) == FETCHED


@pytest.mark.parametrize("name", ["test-clean.tar.gz", "test-clean.tar.gz.part"])
def test_a_whole_file_that_is_there_is_verified_and_used(server, tmp_path, name):
    (tmp_path / name).write_bytes(CORPUS)
    assert run(tmp_path) == 0 and files(tmp_path) == FETCHED
    assert server.asked == ([f"bytes={len(CORPUS)}-"] if name.endswith("part") else [])


def test_what_is_not_the_published_file_is_removed(server, tmp_path, capsys):
    server.content = CORPUS[:-1] + bytes([CORPUS[-1] ^ 1])
    assert run(tmp_path) == 1 and files(tmp_path) == []
    assert "is not the published file: its SHA-256 is" in capsys.readouterr().err
    server.content = CORPUS + b"more"
    assert run(tmp_path) == 1 and files(tmp_path) == []
    assert f"larger than {len(CORPUS):,} bytes" in capsys.readouterr().err


def test_offline_is_one_sentence(tmp_path, monkeypatch, capsys):
    with socket.socket() as closed:  # nobody listens there
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(fetch, "SOURCE", f"http://127.0.0.1:{closed.getsockname()[1]}/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert run(tmp_path) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: http://127.0.0.1") and error.count("\n") == 1
    assert f"without a connection, download it elsewhere and save it as {tmp_path}/test-clean.tar.gz first" in error
    assert files(tmp_path) == []


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


HOSTILE = {
    "a path upwards": (("../outside", b"x"), "cannot be unpacked"),
    "an absolute path": (("/tmp/../../outside", b"x"), "cannot be unpacked"),
    "a link": (link("LibriSpeech/test-clean", "/etc"), "plain files and folders were expected"),
    "a hard link": (link("LibriSpeech/a", "/etc/passwd", tarfile.LNKTYPE), "plain files and folders were expected"),
    "a device": (link("LibriSpeech/a", "", tarfile.CHRTYPE), "plain files and folders were expected"),
    "a bomb": (("LibriSpeech/zeros", bytes(2_000_000)), "at most that was expected"),
    "another corpus": (("Other/a", b"x"), "holds no folder LibriSpeech/test-clean"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_is_not_trusted_even_when_verified(server, tmp_path, monkeypatch, capsys, name):
    entry, message = HOSTILE[name]
    publish(server, monkeypatch, packed(("LibriSpeech/README", b"x"), entry))
    assert run(tmp_path / "inside") == 1
    assert message in (error := capsys.readouterr().err) and error.count("\n") == 1
    assert files(tmp_path) == ["inside/test-clean.tar.gz"]


def test_a_broken_archive_leaves_nothing_unpacked(server, tmp_path, monkeypatch, capsys):
    publish(server, monkeypatch, CORPUS[:150_000])
    assert run(tmp_path) == 1 and files(tmp_path) == ["test-clean.tar.gz"]
    assert "delete it and fetch it again" in capsys.readouterr().err


def test_other_requests_are_refused(tmp_path, monkeypatch, capsys):
    assert main(["fetch", "librispeech", "--part", "test", "--output", str(tmp_path)]) == 1
    assert "part=test: one of dev-clean, dev-other, test-clean" in capsys.readouterr().err
    monkeypatch.setitem(fetch.PARTS, "test-clean", (10**18, ""))
    assert run(tmp_path) == 1
    assert "2500000000.0 GB of free space was expected" in capsys.readouterr().err


def test_the_checksums_are_those_of_torchaudio():
    theirs = {url.split("/")[-1].removesuffix(".tar.gz"): s for url, s in torchaudio_librispeech._CHECKSUMS.items()}
    assert {part: digest for part, (_, digest) in fetch.PARTS.items()} == theirs
    assert {*fetch.PARTS} == {name for names in SUBSETS.values() for name in names}
