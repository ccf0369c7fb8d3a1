"""From a file that is given to the verdict on the page: `python experiments/page/timing.py --run RUN FILE`."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from screenshots import WAIT, served

from deepfake.audio import load
from deepfake.detector import Detector, Windows

TIMES = 10


def network(run: str, file: Path) -> float:
    """Seconds that the network alone takes for all windows of the file: the median of `TIMES`."""
    detector = Detector.load(run)
    waveform, taken = load(file, sample_rate=detector.sample_rate), []
    for _ in range(TIMES):
        start = time.perf_counter()
        windows = Windows(detector, file.name)
        windows.take(waveform)
        windows.finish()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--run", required=True)
    arguments = parser.parse_args()
    alone, data, taken = network(arguments.run, arguments.file), arguments.file.read_bytes(), []
    with served(arguments.run) as (browser, url):
        for _ in range(TIMES):  # a visitor each, for whom nothing is kept
            page = browser.new_context().new_page()
            page.set_default_timeout(WAIT)
            page.goto(url)
            page.wait_for_selector('[data-testid="stFileUploaderDropzone"]')
            file = {"name": arguments.file.name, "mimeType": "audio/x", "buffer": data}
            start = time.perf_counter()
            page.locator("input[type=file]").first.set_input_files(file)
            page.wait_for_selector(".verdict")
            taken.append(time.perf_counter() - start)
            page.wait_for_selector('[data-testid="stStatusWidget"]', state="detached")
            page.close()
    print(
        f"network alone {alone:.3f} s; upload to verdict {statistics.median(taken):.2f} s, at most {max(taken):.2f} s"
    )


if __name__ == "__main__":
    main()
