"""The two pictures of the page in the README: `python experiments/page/screenshots.py --run RUN SPOOFED BONAFIDE`."""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).resolve().parent
MAIN = "import sys; from deepfake.cli import main; sys.exit(main())"
WAIT = 240_000  # ms
LARGEST = 150_000  # bytes


@contextmanager
def served(run: str) -> Iterator[tuple[Browser, str]]:
    """A browser, and the address of the page on a run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", MAIN, "app", "--run", run, "--port", str(port)])
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            yield browser, f"http://127.0.0.1:{port}"
            browser.close()
    finally:
        server.terminate()
        server.wait()


def picture(
    browser: Browser, url: str, file: Path, target: Path, *, size: tuple[int, int], until: str, scheme: str
) -> None:
    """The page with the verdict on a file, as far down as `size` goes, once it shows the words `until`."""
    width, height = size
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.set_default_timeout(WAIT)
    page.goto(url)
    page.wait_for_selector('[data-testid="stFileUploaderDropzone"]')
    page.locator("input[type=file]").first.set_input_files(file)
    page.get_by_text(until).wait_for()
    page.wait_for_timeout(1500)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
    print(target, target.stat().st_size)
    if target.stat().st_size > LARGEST:
        sys.exit(f"{target} is larger than {LARGEST} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spoofed", type=Path)
    parser.add_argument("bonafide", type=Path)
    parser.add_argument("--run", required=True)
    arguments = parser.parse_args()
    desktop = {"size": (1100, 1310), "until": "ZIP with the recording", "scheme": "light"}
    phone = {"size": (390, 1150), "until": "No spoofing detected", "scheme": "dark"}
    with served(arguments.run) as (browser, url):
        picture(browser, url, arguments.spoofed, FOLDER / "spoof.png", **desktop)
        picture(browser, url, arguments.bonafide, FOLDER / "phone.png", **phone)


if __name__ == "__main__":
    main()
