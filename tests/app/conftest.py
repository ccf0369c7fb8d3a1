"""The page on a small detector, calibrated so that every verdict can be had."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason='needs pip install "deepfake[app]"')

from small_detectors import small

from deepfake.metrics.calibration import Calibration


def calibrated(path: Path, *, threshold: float, offset: float) -> Path:
    """A small detector whose scores, all near 0, have one verdict."""
    detector = small("cnn", "mel")
    detector.set_threshold(threshold, "a test")
    detector.set_calibration(Calibration(1.0, offset, -3.0, 3.0, 100, 100), "a test")
    detector.save(path / "detector.pt")
    return path.parent


@pytest.fixture(autouse=True)
def nobody_is_enrolled(tmp_path, monkeypatch):
    """Whoever is enrolled on the machine of the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("DEEPFAKE_SPEAKER_KEY", raising=False)


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A folder with one run, whose detector calls everything spoof."""
    return calibrated(tmp_path_factory.mktemp("runs") / "spoof", threshold=100.0, offset=-100.0)


@pytest.fixture(scope="session")
def bonafide_runs(tmp_path_factory) -> Path:
    """A folder with one run, whose detector calls everything bona fide."""
    return calibrated(tmp_path_factory.mktemp("runs") / "bonafide", threshold=-100.0, offset=100.0)
