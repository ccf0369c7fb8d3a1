"""The PDF report: what is on which page, of full, empty and hostile reports."""

import copy
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.colors import to_rgba
from paper import pages, picture, sizes

from deepfake.errors import InputError
from deepfake.figures.a4 import Pages
from deepfake.forensics import pdf, schema
from deepfake.forensics.statement import LIMITS, SCALE

REPORT = {
    "schema": schema.VERSION,
    "verdict": "spoof",
    "state": "reported_with_caution",
    "score": -2.81,
    "llr": {"calibrated": True, "log10_lr_spoof": 1.42, "capped": True},
    "p_fake": 0.963,
    "prior": 0.5,
    "threshold": {"value": -0.757, "source": "EER on dev", "dev": {"n_bonafide": 50, "fpr": 0.02, "fnr": 0.04}},
    "reasons": [{"name": "low_snr", "value": 4.1, "limit": 10.0, "sentence": "The speech lies only 4.1 dB above."}],
    "quality": {
        "nonfinite_samples": 0,
        "speech_s": 2.1,
        "snr_db": 4.1,
        "silence_share": 0.1,
        "clipped_share": 0.0,
        "top_hz": None,
    },
    "words": {
        "sentence": "This score is about 26 times more probable if ... than if ...",
        "strength": "moderate support",
        "supports": "spoof",
        "grade": "high",
        "confidence": 0.96,
        "graded": "Confidence: high (0.96).",
        "places": "Mostly at 0.27 to 0.90 s.",
        "limits": list(LIMITS),
        "scale_id": SCALE.scale_id,
        "scale_version": SCALE.version,
        "scale_source": SCALE.source,
        "scale_convention": SCALE.convention,
        "scale": SCALE.rows(),
    },
    "file": {
        "name": "кто-то 录音 café.flac",
        "path": "/a/" + "folder/" * 40,
        "bytes": 99,
        "sha256": "0123456789abcdef" * 4,
        "seconds": 3.0,
        "sample_rate": 16000,
        "channels": 1,
        "format": "FLAC",
        "subtype": "PCM_16",
        "n_frames": None,
    },
    "recording": {"seconds": 3.0, "scored_seconds": 3.0, "n_windows": 1, "sha256": "cd" * 32},
    "domain": {
        "state": "edge",
        "distance": 1.2,
        "percentile": 96.5,
        "source": "a corpus, dev",
        "n_dev": 200,
        "measured": "The detector misjudged 1 of the 8 held-out recordings",
    },
    "heard": {"start_s": 0.0, "seconds": 3.0, "n_samples": 48000, "sample_rate": 16000, "score": -2.81},
    "heard_sha256": "fedcba9876543210" * 4,
    "detector": {
        "path": "/run/detector.pt",
        "sha256": "ab" * 32,
        "content_sha256": "56" * 32,
        "model": "deepfake.models.lcnn.LCNN",
        "features": "deepfake.features.lfcc.LFCC",
        "config_sha256": "12" * 32,
        "run_config_sha256": None,
        "calibration": {"weight": 1.03, "offset": None},
        "calibration_sha256": "34" * 32,
        "calibration_set": "some corpus",
    },
    "branches": None,
    "methods": {
        "saliency": {"unit": "nats per 100 % of the cell's amplitude"},
        "my_own": {"steps": 32, "completeness_error": 0.004},
    },
    "regions_by": "my_own",
    "regions": [{"start_s": 0.27, "end_s": 0.9, "low_hz": 500.0, "high_hz": 4000.0, "strength": 0.71}],
    "coverage": 0.503,
    "speaker": None,
    "parameters": {"threshold": 0.6},
    "environment": {"command": ["explain.py", "input=a b.wav"], "packages": {"torch": "2.11.0"}},
    "finished": "2026-01-01T00:00:00+00:00",
}
NAMES = (
    "waveform_highlight",
    "timeline",
    "time_importance",
    "mel",
    "mel_saliency_overlay",
    "mel_my_own_overlay",
    "radar",
)


@pytest.fixture(scope="module")
def pictures():
    return {name: picture(800 + i, 300) for i, name in enumerate(NAMES)}  # each another file


def made(tmp_path, report, pictures):
    """The file's bytes and the text of its pages."""
    schema.check(report)
    path = tmp_path / "report.pdf"
    pdf.write_pdf(path, report, pictures, title="Report")
    data = path.read_bytes()
    assert data.startswith(b"%PDF") and data.rstrip().endswith(b"%%EOF")
    return data, pages(data)


def test_full_report(tmp_path, pictures):
    data, (first, over_time, maps, limits, technical) = made(tmp_path, REPORT, pictures)
    for text in ("SPOOF", "State: reported with caution", "about 26 times", "26.3 for spoof", "Confidence: high"):
        assert text in first, text
    for row in SCALE.rows():
        assert row["range"] in first and row["words"] in first
    assert "▶ 10 to 100" in first and first.count("▶") == 2  # the row and the note
    assert "-0.757 (EER on dev)" in first and "fpr 0.02" in first and "prior probability of spoof of 0.5" in first
    assert "0123456789abcdef" * 4 in first and "fedcba9876543210" * 4 in first and "кто-то" in first
    assert "Over time" in over_time and "Maps" in maps and [len(found) for found in sizes(data)] == [0, 3, 3, 1, 0]
    assert "Saliency over the spectrogram, in nats per 100 % of" in maps
    assert "My own over the spectrogram, in nats." in maps
    for text in ("0.27", "4000", "50.3% of the clip", "low snr", "4.1", "Disclaimer"):
        assert text in limits, text
    assert " ".join(LIMITS[0].split()[:8]) in limits
    for text in ("completeness error 0.004", "explain.py 'input=a b.wav'", "torch 2.11.0", "2026-01-01", "ab" * 32):
        assert text in technical, text
    for number, page in enumerate((first, over_time, maps, limits, technical), start=1):
        assert "SHA-256 0123456789abcdef…" in page and page.endswith(f"page {number} of 5")


@pytest.mark.parametrize(
    ("verdict", "state", "banner", "colour"),
    [
        ("spoof", "reported", "SPOOF", pdf.DARK_SPOOF),
        ("bonafide", "reported", "BONA FIDE", pdf.BONAFIDE),
        ("inconclusive", "inconclusive", "INCONCLUSIVE", pdf.GREY),
    ],
)
def test_banner(tmp_path, monkeypatch, pictures, verdict, state, banner, colour):
    fields = []
    original = Pages.banner
    monkeypatch.setattr(
        Pages, "banner", lambda self, *a, colour: (fields.append(colour), original(self, *a, colour=colour))
    )
    _, (page, *_) = made(tmp_path, {**REPORT, "verdict": verdict, "state": state}, pictures)
    assert page.startswith(f"Report {banner} State:") and fields == [colour]
    assert ("not proof that the speech is genuine" in page) == (banner == "BONA FIDE")


def test_white_text_on_the_banner_can_be_read():
    for colour in (pdf.DARK_SPOOF, pdf.BONAFIDE, pdf.GREY):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgba(colour)[:3]]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2, level AA


@pytest.mark.parametrize(
    ("log10", "capped", "words"),
    [(1.42, True, "26.3 for spoof"), (-2.0, False, "100 for bona fide"), (0.0, False, "1 for spoof"),
     (400.0, True, "10^400.0 for spoof"), (None, None, None)],
)  # fmt: skip
def test_ratio(log10, capped, words):
    found = pdf._ratio({"log10_lr_spoof": log10, "capped": capped})
    assert found is None if words is None else found.startswith(words) and ("calibration set" in found) == capped


@pytest.mark.parametrize(("state", "n_maps"), [("inconclusive", 1), ("reported", 3)])
def test_maps_are_hidden_only_where_the_result_is_inconclusive(tmp_path, pictures, state, n_maps):
    data, found = made(tmp_path, {**REPORT, "state": state}, pictures)
    assert (pdf.MAPS_HIDDEN[:20] in found[2]) == (n_maps == 1) and len(sizes(data)[2]) == n_maps


def test_a_report_without_reasons_or_regions(tmp_path, pictures):
    words = " ".join(made(tmp_path, {**REPORT, "reasons": [], "regions": []}, pictures)[1])
    assert "None of the checks gave one." in words and "No region was found." in words


def test_a_report_without_calibration(tmp_path, pictures):
    bare = {"calibrated": False, "log10_lr_spoof": None, "capped": None}
    report = {**REPORT, "llr": bare, "prior": None, "words": {**REPORT["words"], "strength": None}}
    (page, *_) = made(tmp_path, report, pictures)[1]
    assert "uncalibrated: a figure between 0 and 1" in page and "▶" not in page and "10 to 100" in page
    assert page.count("Likelihood ratio") == 1  # the heading of the scale, but no row


def test_a_hostile_report(tmp_path, pictures):
    report = copy.deepcopy(REPORT)
    report["file"]["name"] = "x$y^2_{a}<b>\u202e\n" + "很长" * 150 + "ö" * 400
    report["file"]["path"] = "/" + "a" * 3000
    report["reasons"] = [{**REPORT["reasons"][0], "name": f"r{i}", "sentence": "word " * 60} for i in range(40)]
    report["regions"] = [{**REPORT["regions"][0], "strength": 1e300 * i} for i in range(200)]
    report["words"]["sentence"] = "More probable. " * 400
    report["words"]["limits"] = ["x" * 2000, "", "y"]
    report["detector"]["calibration"] = {"deep": {"er": {"and": {"deeper": ["y" * 900] * 3}}}}
    words = " ".join(made(tmp_path, report, pictures)[1])
    assert "140 more are in report.json" in words and "<b>[U+202E][U+000A]" in words
    assert "is the code of a character" in words and words.count("probable.") == 400


def test_the_same_bytes_in_another_process(tmp_path):
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]; import test_pdf as t; from pathlib import Path;"
        "t.pdf.write_pdf(Path(sys.argv[1]), t.REPORT, dict.fromkeys(t.NAMES, t.picture(80, 30)), title='Report')"
    )
    folder, path = Path(__file__).parent, tmp_path / "other.pdf"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "7", "TZ": "UTC+7"}
    subprocess.run([sys.executable, "-c", code, path, folder, folder.parent], env=environment, check=True)
    pdf.write_pdf(tmp_path / "own.pdf", REPORT, dict.fromkeys(NAMES, picture(80, 30)), title="Report")
    assert path.read_bytes() == (tmp_path / "own.pdf").read_bytes()


def test_a_file_that_is_not_a_picture(tmp_path, pictures):
    for wrong in (io.BytesIO(b"no"), tmp_path / "none.png"):
        with pytest.raises(InputError, match="picture mel "):
            pdf.write_pdf(tmp_path / "r.pdf", REPORT, {**pictures, "mel": wrong}, title="Report")
    assert not (tmp_path / "r.pdf").exists()
