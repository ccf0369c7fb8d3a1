"""The page without a browser: what is shown for good, broken and unusual recordings."""

from __future__ import annotations

import csv
import os
import shutil
import tomllib
from unittest.mock import Mock

import numpy as np
import pytest
from sounds import encode, speech
from streamlit.testing.v1 import AppTest
from tiny import REPOSITORY

from deepfake.app import speaker, verdict
from deepfake.app.server import OPTIONS
from deepfake.cli import main
from deepfake.commands.explain import Explainer
from deepfake.domain import Place
from deepfake.runs.compare import flat
from deepfake.speakers import check
from deepfake.speakers.embedding import Voice
from deepfake.speakers.profiles import Profile, Profiles

pytestmark = pytest.mark.usefixtures("undrawn")

OUTER = {"One recording", "Many files", "Model card"}


def page(runs, **limits):
    words = "".join(f", {name}={value}" for name, value in limits.items())
    code = f"from pathlib import Path\nfrom deepfake.app.page import page\npage(Path({str(runs)!r}){words})"
    return AppTest.from_string(code, default_timeout=300).run()


def given(at, name, data):
    at.file_uploader[0].upload(name, data)
    return at.run()


def shown(at):
    return "\n".join([e.value for kind in ("markdown", "error", "info", "warning", "caption") for e in at.get(kind)])


def html(at):
    return "\n".join(e.proto.body for e in at.get("html"))


def test_a_file_that_is_flagged_shows_the_reasons(runs):
    at = given(page(runs), "a *b* [c](d).wav", encode(speech()))
    assert not at.exception and "Spoofing detected" in html(at)
    assert "20 times more probable if the speech was machine" in shown(at)
    maps = {"Saliency", "Grad-CAM", "Time importance", "Regions"}
    assert {tab.label for tab in at.tabs} == OUTER | {"Summary", "Spectrogram", "Timeline", "Technical"} | maps
    assert html(at).count("<img") >= 9 and "This is being computed" not in shown(at)
    assert r"a \*b\* \[c\]\(d\)\.wav" in [heading.value for heading in at.subheader]
    assert [b.label for b in at.get("download_button")] == [
        *("Report as PDF", "Report as JSON", "All evidence as ZIP", "ZIP with the recording")
    ]


def test_the_speaker_stands_beside_the_verdict(runs, monkeypatch):
    monkeypatch.setattr(speaker, "installed", lambda: True)
    monkeypatch.setattr(check, "voice", lambda source: Voice(np.array([0.8, 0.6], dtype=np.float32), 2.0))
    for name, embedding in (("Zoë *x*", [1, 0]), ("Bob", [0, 1])):
        profile = Profile.new(name, np.array(embedding, dtype=np.float32), n_samples=3, speech_seconds=6.0)
        Profiles().add(profile)
    at = given(page(runs), "clip.wav", encode(speech()))
    assert not at.exception and "Speaker" in {tab.label for tab in at.tabs}
    assert r"matches Zoë \*x\*" in shown(at) and "no evidence against a clone" in shown(at)
    assert "not accepted as bona fide speech of Zoë" in html(at) and "0.800; a match above 0.7" in html(at)


def test_bona_fide_says_what_that_does_not_prove_and_stops(bonafide_runs):
    at = given(page(bonafide_runs), "clip.wav", encode(speech()))
    assert not at.exception
    assert "No spoofing detected" in html(at) and "does not prove" in html(at)
    assert "<img" not in html(at) and not at.get("download_button") and len(at.tabs) == 3


@pytest.mark.parametrize("name", ["text", "nan", "long", "empty"])
def test_what_cannot_be_used_is_one_sentence(runs, name):
    data = {
        "text": b"This is no audio.\n" * 40,
        "nan": encode(np.full(16_000, np.nan, np.float32), subtype="FLOAT"),
        "long": encode(np.tile(speech(), 60)),
        "empty": b"RIFF",
    }[name]
    at = given(page(runs, minutes=1), f"{name}.wav", data)
    assert not at.exception and "verdict" not in html(at).split("</style>")[-1]
    (error,) = at.error
    assert error.value.startswith(f"{name}\\.wav") and "the recording" not in error.value
    assert name != "long" or "longer than the 1 minutes" in error.value


def test_no_file_is_decoded_in_the_process_of_the_page(runs, monkeypatch):
    at = page(runs)  # whose detector has been loaded
    monkeypatch.setattr("deepfake.audio.decode._file", None)  # where this process would open one
    monkeypatch.setattr(speaker, "installed", lambda: True)
    monkeypatch.setattr(check, "voice", heard := Mock(return_value=Voice(np.array([1, 0], dtype=np.float32), 2.0)))
    Profiles().add(Profile.new("Bob", np.array([1, 0], dtype=np.float32), n_samples=3, speech_seconds=6.0))
    samples = speech(2.0)
    at = given(at, "clip.wav", encode(samples, subtype="FLOAT"))
    assert not at.exception and "Spoofing detected" in html(at) and "matches Bob" in shown(at)
    (array, rate), *_ = heard.call_args.args
    assert rate == 16_000 and np.array_equal(array, samples)


def test_a_process_that_ends_over_a_file_leaves_the_page_as_it_was(runs, monkeypatch):
    at = page(runs)
    with monkeypatch.context() as patched:
        patched.setattr("deepfake.decoding.decoder.Decoder._start", lambda *_: 2**22)  # nobody writes to the pipe
        at = given(at, "clip.wav", encode(speech()))
    (error,) = at.error
    assert error.value == r"The process that decodes clip\.wav ended; send it again, or as WAV\." and not at.exception
    at = given(at, "other.wav", encode(speech()))
    assert not at.exception and "Spoofing detected" in html(at)


def test_a_corpus_is_named_as_it_is():
    detector = Mock(
        config={"domain": {"source": "my_own*corpus", "n_dev": 20}, "threshold": {"source": "asvspoof2019_la"}}
    )
    detector.threshold = 0.5
    found = Mock(detector=detector, score=1.0, scored_seconds=1.0, seconds=2.0, scores=[1.0], timeline=None)
    found.domain = Place("in", 0.5, 40.0)
    rows = verdict._numbers(found, {"llr": {"log10_lr_spoof": None}, "p_fake": 0.25})
    assert rows["Score"] == "1; 0.5 or below is spoof (threshold: asvspoof2019_la)"
    unknown = "What the detector says of such recordings was not measured"
    assert rows["Domain"].endswith(f"nearer lie 40% of its 20 recordings (my_own*corpus). {unknown}")


def test_silence_is_inconclusive_with_its_reason_and_without_maps(runs):
    at = given(page(runs), "silence.flac", encode(np.zeros(16_000, np.float32), format="FLAC"))
    assert not at.exception and "Inconclusive" in html(at)
    assert "There is no speech in it" in at.warning[0].value
    assert {tab.label for tab in at.tabs} == OUTER | {"Summary", "Spectrogram", "Timeline", "Technical"}
    assert "No maps are shown" in shown(at)


def test_the_prior_changes_the_probability_and_nothing_is_assessed_again(runs, monkeypatch):
    at = given(page(runs), "clip.wav", encode(speech()))
    monkeypatch.setattr(Explainer, "assess", None)
    monkeypatch.setattr(Explainer, "explanation", None)
    at.slider[0].set_value(0.01).run()
    assert not at.exception and "prior of 1%" in html(at) and "16.9%, a calculation" in html(at)


def test_the_threshold_of_the_score_can_be_changed_and_says_where_it_comes_from(runs):
    at = given(page(runs), "clip.wav", encode(speech()))
    assert "Spoof at a score of **100** or below: a test." in shown(at)
    assert "100 or below is spoof (threshold: a test)" in html(at) and "Spoofing detected" in html(at)
    at.sidebar.selectbox[0].set_value("my own").run()
    at.sidebar.number_input[0].set_value(-50.0).run()
    assert not at.exception and "The detector's is 100: a test." in shown(at)
    assert "-50 or below is spoof (threshold: set on the page)" in html(at) and "Spoofing detected" not in html(at)
    assert "20 times more probable if the speech was machine" in shown(at)  # by the calibration, which is the same
    assert "By the threshold the speech is" in at.warning[0].value
    at.file_uploader[-1].set_value([("a.wav", encode(speech()), "audio/x")]).run()
    assert list(at.dataframe[0].value["verdict"]) == ["bonafide"] and "Spoof is a score of -50 or below" in shown(at)
    at.sidebar.selectbox[0].set_value("the detector's").run()
    assert "Spoofing detected" in html(at) and list(at.dataframe[0].value["verdict"]) == ["spoof"]


def test_a_live_recording_has_the_two_way_verdict(runs):
    at = page(runs)
    at.segmented_control[0].set_value("The microphone").run()
    at.audio_input[0].upload("x.wav", encode(speech(rate=48_000), rate=48_000)).run()
    assert not at.exception and "Live recording: FAKE" in html(at) and "browser capture" in shown(at)


def test_an_example_is_made_and_can_be_listened_to_before_the_verdict(runs):
    at = page(runs)
    at.toggle[0].set_value(True).run()
    at.segmented_control[0].set_value("An example").run()
    at.selectbox(key="example").set_value("A synthetic voice").run()
    assert not at.exception and 'class="verdict"' not in html(at) and at.get("audio")
    at.button[-1].click().run()
    assert not at.exception and 'class="verdict"' in html(at)


def test_many_files_give_the_rows_of_predict(runs, tmp_path, capsys):
    files = {"a.wav": encode(speech()), "b.flac": encode(speech(seed=1), format="FLAC"), "c.wav": b"no audio"}
    at = page(runs)
    at.file_uploader[-1].set_value([(name, data, "audio/x") for name, data in files.items()]).run()
    assert not at.exception and list(at.dataframe[0].value["file"]) == list(files)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    main(["predict", "--run", str(runs / "spoof"), "--format", "csv", "--device", "cpu", str(tmp_path)])
    expected = capsys.readouterr().out.replace(f"{tmp_path}/", "").splitlines()
    assert at.get("download_button")[-1] is not None
    listed = at.dataframe[0].value
    for line, (_, row) in zip(csv.DictReader(expected), listed.iterrows(), strict=True):
        assert line["file"] == row["file"] and bool(line["error"]) == (line["file"] == "c.wav")
        if not line["error"]:
            assert (line["verdict"], float(line["score"])) == (row["verdict"], pytest.approx(row["score"], abs=1e-6))


def test_runs_below_a_folder_the_newest_first_and_none(runs, bonafide_runs, tmp_path):
    assert "no detector below" in page(tmp_path).error[0].value.replace("\\", "") and "deepfake fetch aasist" in shown(
        page(tmp_path)
    )
    for i, source in enumerate((runs / "spoof", bonafide_runs / "bonafide")):
        copy = tmp_path / source.name
        shutil.copytree(source, copy)
        os.utime(copy / "detector.pt", (1e9 + i, 1e9 + i))
    at = page(tmp_path)
    assert [o.split()[0] for o in at.sidebar.selectbox[0].options] == ["bonafide", "spoof"]
    (tmp_path / "bonafide" / "detector.pt").write_bytes(b"damaged")
    at = page(tmp_path)
    assert not at.exception and "cannot be used" in at.error[0].value


def test_what_platforms_give_streamlit_is_what_the_command_does():
    config = tomllib.loads((REPOSITORY / "experiments/deploy/page/config.toml").read_text())
    assert flat(config) == {name: value for name, value in OPTIONS.items() if name != "server.address"}
