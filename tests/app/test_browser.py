"""The page in Chromium: uploads, a recording, downloads, and what the server lets through."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import soundfile
from sounds import encode, media, speech
from tiny import REPOSITORY

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra `test`")

WAIT = 240_000  # ms
UPLOAD = '[data-testid="stFileUploaderDropzone"]'
HOSTILE = "<img src=x onerror=alert(1)>.wav"


class Served(NamedTuple):
    url: str
    files: Path  # where the server keeps temporary ones


@pytest.fixture(scope="module")
def driver() -> Iterator[playwright.Playwright]:
    with playwright.sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def chromium(driver) -> str:
    """The system's Chromium, or Playwright's own."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not Path(found or driver.chromium.executable_path).is_file():
        pytest.skip("needs Chromium, which is not installed: `playwright install --with-deps chromium`")
    return found or driver.chromium.executable_path


@pytest.fixture(scope="module")
def served(chromium, runs, tmp_path_factory) -> Iterator[Served]:
    """`deepfake app` in a process of its own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    main = "import sys; from deepfake.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "app", "--run", str(runs), "--port", str(port)]
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    log = (folder.parent / "page.log").open("w")
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                assert process.poll() is None, Path(log.name).read_text()
                try:
                    urlopen(f"{url}/_stcore/health", timeout=5)
                    break
                except (URLError, OSError):
                    time.sleep(0.2)
            yield Served(url, folder)
        finally:
            process.terminate()
            process.wait(60)
            log.close()


@pytest.fixture(scope="module")
def page(served, driver, chromium, tmp_path_factory) -> Iterator[playwright.Page]:
    """The page in a browser whose microphone plays a file."""
    spoken = tmp_path_factory.mktemp("microphone") / "speech.wav"
    spoken.write_bytes(encode(speech(4.0, rate=48_000), rate=48_000, subtype="PCM_16"))
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    arguments = ["--no-sandbox", *fake, f"--use-file-for-fake-audio-capture={spoken}"]
    browser = driver.chromium.launch(executable_path=chromium, args=arguments)
    page = browser.new_page()
    page.set_default_timeout(WAIT)
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(served.url)
    page.wait_for_selector(UPLOAD)
    yield page
    browser.close()


dialogs: list[str] = []  # of a script in a file's name


def upload(page, name, data):
    page.locator("input[type=file]").first.set_input_files({"name": name, "mimeType": "audio/x", "buffer": data})
    page.get_by_role("heading", name=name, exact=True).wait_for()
    page.get_by_role("status").get_by_text("Spoofing detected").wait_for()
    assert not dialogs


@pytest.mark.parametrize("kind", ["flac", "mp3", "m4a", "wav"])
def test_an_upload_of_each_kind_has_a_verdict(page, tmp_path, kind):
    data = {
        "flac": lambda: encode(speech(), format="FLAC"),
        "mp3": lambda: encode(speech(), format="MP3"),
        "m4a": lambda: media(tmp_path, "mp4", "aac", 16_000, samples=speech()),
        "wav": lambda: encode(speech()),
    }[kind]()
    upload(page, HOSTILE if kind == "wav" else f"speech.{kind}", data)


def test_downloads_hold_what_they_say(page, served):
    upload(page, HOSTILE, encode(speech()))

    def download(label):
        button = page.get_by_role("button", name=label)
        button.wait_for()
        with page.expect_download() as done:
            button.click()
        return Path(done.value.path()).read_bytes()

    report = json.loads(download("Report as JSON"))
    assert report["verdict"] == "spoof" and report["file"]["name"] == HOSTILE and report["file"]["path"] is None
    assert download("Report as PDF").startswith(b"%PDF-")
    for label, has_audio in (("All evidence as ZIP", False), ("ZIP with the recording", True)):
        with zipfile.ZipFile(io.BytesIO(download(label))) as archive:
            assert archive.testzip() is None and {"manifest.json", "report.pdf"} <= {*archive.namelist()}
            assert json.loads(archive.read("report.json")) == report
            assert (f"audio/{HOSTILE}" in archive.namelist()) == has_audio
            assert not has_audio or archive.read(f"audio/{HOSTILE}") == encode(speech())
    assert [path for path in served.files.rglob("*") if path.is_file()] == []


def test_a_recording_of_the_microphone_is_taken_at_48_khz(page):
    page.get_by_text("The microphone", exact=True).click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2500)
    page.get_by_role("button", name="Stop recording").click()
    page.get_by_text("Live recording: FAKE").wait_for()
    button = page.get_by_role("button", name="ZIP with the recording")
    button.wait_for()
    with page.expect_download() as done:
        button.click()
    with zipfile.ZipFile(done.value.path()) as archive:
        assert json.loads(archive.read("report.json"))["parameters"]["recording"] is True
        sound = soundfile.info(io.BytesIO(archive.read("audio/browser capture.wav")))
    assert sound.samplerate == 48_000 and 1.5 < sound.duration < 5


def test_an_upload_without_the_token_is_refused(served):
    request = Request(f"{served.url}/_stcore/upload_file/a/b", data=b"x", method="PUT")
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=30)
    assert refused.value.code == 403
