"""The domain against independent computations; stored and loaded; what lies outside has no verdict unless asked."""

from __future__ import annotations

import copy
import csv
import io
import json

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import stft
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from small_detectors import PAIRS, small
from tiny import compose, tiny_run, write_audio

from deepfake import run
from deepfake.cli import main
from deepfake.datasets.utterance import Utterance
from deepfake.detector import Detector, Windows
from deepfake.domain import Described, Domain, Gaussians, band_levels, is_domain, shrunk_covariance
from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.forensics.assess import assess
from deepfake.forensics.cautions import measured
from deepfake.forensics.report import Explanation, report
from deepfake.forensics.verify import verify
from deepfake.runs.environment import environment
from deepfake.scores.domain import describe, learn_domain, learn_domain_of
from deepfake.training.weights import init_from

pytestmark = pytest.mark.usefixtures("undrawn")


def described(n, dimensions=12, shift=0.0, seed=0):
    """Correlated numbers, of two classes that lie apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    mixing = np.random.default_rng(9).normal(size=(dimensions, dimensions))
    embedding = rng.normal(size=(n, dimensions)) @ mixing + 3.0 * labels[:, None] + shift
    return Described(embedding, rng.normal(size=(n, 64)) + shift, labels, rng.normal(size=n))


@pytest.mark.parametrize(("n", "dimensions"), [(300, 5), (30, 50), (2, 3), (40, 1)])
def test_the_shrunk_covariance_is_that_of_ledoit_and_wolf(n, dimensions):
    x = np.random.default_rng(n).normal(size=(n, dimensions)) @ np.diag(np.linspace(0.1, 2, dimensions))
    expected = LedoitWolf(assume_centered=True).fit(x).covariance_
    np.testing.assert_allclose(shrunk_covariance(x), expected, rtol=1e-9, atol=1e-12)


def test_the_distance_is_mahalanobis_from_the_nearer_class():
    train, others = described(200), described(20, seed=1, shift=0.7)
    found = Gaussians.fit(train.embedding, train.labels)(torch.from_numpy(others.embedding))
    deviation = train.embedding.std(axis=0)
    of_class = []
    for label in (0, 1):
        x = train.embedding[train.labels == label] / deviation
        precision = np.linalg.inv(LedoitWolf().fit(x).covariance_)
        of_class.append([mahalanobis(other / deviation, x.mean(axis=0), precision) for other in others.embedding])
    np.testing.assert_allclose(found.numpy(), np.min(of_class, axis=0), rtol=1e-3)


@pytest.mark.parametrize(("rate", "n_samples"), [(16000, 16000), (8000, 3333)])
def test_levels_are_those_of_another_short_time_fourier_transform(rate, n_samples):
    waveform = np.random.default_rng(0).normal(size=n_samples).cumsum().astype(np.float32)
    size = round(0.032 * rate)
    spectrum = stft(waveform.astype(float), rate, "hann", size, size // 2, boundary=None, padded=False)[2]  # type: ignore[arg-type]
    power = (np.abs(spectrum[1:]) ** 2).reshape(64, -1, spectrum.shape[1]).mean(axis=1)  # [64, L]
    expected = np.log(power / power.mean() + 1e-10).mean(axis=1)
    found = band_levels(torch.from_numpy(np.stack([waveform, 0.01 * waveform])), rate)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-3)
    np.testing.assert_allclose(found[1].numpy(), expected, atol=2e-3)  # whatever the gain


def test_silence_and_a_clip_shorter_than_a_window_have_finite_levels():
    assert band_levels(torch.zeros(1, 16000), 16000).isfinite().all()
    assert band_levels(torch.ones(1, 10), 16000).shape == (1, 64)


def test_one_in_twenty_of_dev_lies_beyond_the_edge_and_one_in_a_hundred_outside():
    train, dev = described(400), described(200, seed=1)
    domain, own = Domain.fit(train, dev, 16000)
    distances = np.maximum(
        domain.embedding(torch.from_numpy(dev.embedding)).numpy(),
        domain.spectrum(torch.from_numpy(dev.spectrum)).numpy(),
    )
    np.testing.assert_allclose(own, distances, rtol=1e-5)
    states = [domain.place(float(distance)).state for distance in distances]
    assert [states.count(state) for state in ("in", "edge", "outside")] == [190, 8, 2]
    assert domain.place(float(np.sort(distances)[100])).percentile == pytest.approx(50, abs=0.5)
    assert domain.place(1e9).percentile == 100 and domain.place(0.0).percentile == 0
    far = described(50, seed=2, shift=20.0)
    assert (domain.embedding(torch.from_numpy(far.embedding)) > 3).all()


def test_clips_that_served_no_training_are_held_against_those_of_the_other_folds():
    clips = described(100)
    folds = [np.arange(100)[i::4] for i in range(4)]
    domain, own = Domain.cross_fit(clips, folds, 16000)
    held_out = np.zeros((2, 100))
    for fold in folds:
        rest = np.setdiff1d(np.arange(100), fold)
        for row, x in zip(held_out, (clips.embedding, clips.spectrum), strict=True):
            row[fold] = Gaussians.fit(x[rest], clips.labels[rest])(torch.from_numpy(x[fold])).numpy()
    units = np.percentile(held_out, 95, axis=1)
    np.testing.assert_allclose(own, (held_out.T / units).max(axis=1), rtol=1e-6)
    expected = np.percentile(own, np.arange(101))
    np.testing.assert_allclose(domain.percentiles.numpy(), expected, rtol=1e-4)
    of_all = Gaussians.fit(clips.embedding, clips.labels)(torch.from_numpy(clips.embedding)) / units[0]
    torch.testing.assert_close(domain.embedding(torch.from_numpy(clips.embedding)), of_all.float(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("model", "features"), PAIRS)
def test_every_network_gives_the_embedding_that_its_logits_are_made_of(model, features):
    detector = small(model, features)
    waveform = 0.1 * torch.randn(3, detector.n_samples, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, embedding = detector.logits_and_embedding(waveform)
        expected = detector.model.embed(detector.features(waveform))
        assert torch.equal(logits, detector.logits(waveform))
    expected = expected.mean(dim=1) if detector.locates else expected
    assert embedding.shape == (3, expected.shape[1])
    torch.testing.assert_close(embedding, expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noises and buzzes of the kind that `tiny.write_audio` makes, 48 of each."""
    path = tmp_path_factory.mktemp("sounds")
    for i in range(96):
        write_audio(path / f"{i:02}.wav", spoof=i % 2 == 1, seed=i)
    return path


def utterances(folder, first=0):
    """48 of them, half of each class."""
    numbers = range(first, first + 48)
    return [Utterance(id=f"{i}", path=str(folder / f"{i:02}.wav"), label=1 - i % 2) for i in numbers]


@pytest.fixture(scope="module")
def knowing(folder):
    """A detector that knows these sounds."""
    detector = small("cnn", "linear")
    learn_domain(detector, "a test", utterances(folder), utterances(folder, 48))
    return detector


def tone(seconds=1.3):
    """Bursts of a tone in a little noise."""
    t = np.arange(round(seconds * 16000)) / 16000
    floor = 1e-3 * np.random.default_rng(0).standard_normal(len(t))
    return (0.3 * np.sin(2 * np.pi * 1000 * t) * (t % 0.2 > 0.06) + floor).astype(np.float32), 16000


def test_a_detector_keeps_its_domain(knowing, tmp_path):
    knowing.save(tmp_path / "detector.pt")
    loaded = Detector.load(tmp_path)
    assert loaded.config["domain"] == {
        **{"source": "a test", "n_train": 48, "n_dev": 48},
        **{"embedding": [4 * 2 * 5, 40], "spectrum": [64, 47]},
        "misjudged": knowing.config["domain"]["misjudged"],
    }
    one, other = assess(knowing, tone()), assess(loaded, tone())
    assert one.domain == other.domain and one.domain is not None and one.domain.state == "outside"
    assert loaded.sha256 == knowing.sha256
    fresh = small("cnn", "linear")
    init_from(fresh, tmp_path)  # takes the weights, without the domain of another training
    assert fresh.domain is None and "domain" not in fresh.config


def test_what_was_misjudged_is_counted_by_state_among_held_out_clips(folder):
    detector = small("cnn", "linear")
    held_out = utterances(folder, 48)
    found = describe(detector, held_out)
    detector.set_threshold(float(np.median(found.scores)), "a test")
    learn_domain(detector, "a test", utterances(folder), held_out)
    assert detector.domain is not None
    expected = {"in": [0, 0], "edge": [0, 0], "outside": [0, 0]}
    for u in sorted(held_out, key=lambda u: u.label):
        clip = torch.from_numpy(soundfile.read(u.path, dtype="float32")[0])[None, : detector.n_samples]
        with torch.inference_mode():
            logits, distance = detector.judged(clip)
        counted = expected[detector.domain.place(distance.item()).state]
        counted[0] += (detector.score(logits).item() > detector.threshold) != u.label
        counted[1] += 1
    assert detector.config["domain"]["misjudged"] == expected
    assert 0 < sum(wrong for wrong, _ in expected.values()) < 48 and expected["in"][1] > 40


@pytest.mark.parametrize(
    ("state", "counted", "sentence"),
    [
        ("in", [0, 50], "The detector misjudged 0 of the 50 held-out recordings in its domain (95 %: 0% to 7%)"),
        (
            "edge",
            [5, 10],
            "The detector misjudged 5 of the 10 held-out recordings at the edge of its domain (95 %: 19% to 81%)",
        ),
        ("outside", [0, 0], "What the detector says of such recordings was not measured"),
    ],
)
def test_the_rate_of_misjudgement_is_stated_with_its_interval(state, counted, sentence):
    known = {"misjudged": {"in": [1, 2], "edge": [1, 2], "outside": [1, 2]} | {state: counted}}
    assert measured(known, state) == sentence
    assert measured({}, state) == "What the detector says of such recordings was not measured"
    assert "outside in other ways" in measured({"misjudged": {"outside": [1, 2]}}, "outside")


def test_a_detector_without_a_domain_scores_the_same_and_says_that_it_knows_none(knowing, tmp_path):
    without = copy.deepcopy(knowing)
    without.domain = None
    del without.config["domain"]
    without.save(tmp_path / "detector.pt")
    found = assess(Detector.load(tmp_path), tone())
    assert found.domain is None and found.scores == assess(knowing, tone()).scores
    assert not {"domain_edge", "outside_domain"} & {reason.name for reason in found.reasons}


def test_the_place_of_a_recording_is_that_of_its_median_window(knowing):
    windows = Windows(knowing, "x")
    samples = torch.from_numpy(tone(2.2)[0])
    windows.take(samples)
    windows.finish()
    expected = []
    for start in (*range(0, 35200 - 8000, 4000), 35200 - 8000):
        clip = samples[None, start : start + 8000]
        with torch.inference_mode():
            expected.append(knowing.domain(clip, knowing.logits_and_embedding(clip)[1]).item())
    assert windows.distances == pytest.approx(expected, rel=1e-5)
    assert windows.place is not None and windows.place.distance == pytest.approx(np.median(expected), rel=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"source": 1},
        {"n_dev": 0},
        {"spectrum": [64]},
        {"embedding": [10**7, 3]},
        *(
            {"misjudged": {"in": [1, 2], "edge": [0, 0], "outside": pair}}
            for pair in ([2, 1], [-1, 1], [0.0, 1], [0], 3)
        ),
        {"misjudged": {"in": [1, 2]}},
        {"misjudged": [1, 2]},
    ],
)
def test_settings_of_a_domain_are_checked(knowing, change):
    assert is_domain(knowing.config["domain"])
    with pytest.raises(InputError, match="domain="):
        Detector({**knowing.config, "domain": {**knowing.config["domain"], **change}})


def test_too_few_utterances_give_no_domain(folder):
    detector = small("cnn", "linear")
    learn_domain(detector, "a test", utterances(folder)[:30], utterances(folder))
    learn_domain_of(detector, "a test", utterances(folder)[:30])
    assert detector.domain is None and "domain" not in detector.config
    learn_domain_of(detector, "a test", utterances(folder))
    assert detector.config["domain"]["n_dev"] == 48


def predicted(capsys, *arguments, form="json"):
    capsys.readouterr()
    assert main(["predict", "--device", "cpu", "--format", form, *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_what_lies_outside_is_inconclusive_unless_a_verdict_is_asked_for(knowing, folder, tmp_path, capsys):
    detector = copy.deepcopy(knowing)
    detector.set_threshold(100.0, "a test")  # far from every score
    detector.save(tmp_path / "detector.pt")
    far = tmp_path / "far.wav"
    soundfile.write(far, *tone())
    near, far = json.loads(predicted(capsys, "--run", tmp_path, folder / "60.wav", far))
    assert near["domain"] == "in" and 0 < near["domain_percentile"] < 95
    counted = detector.config["domain"]["misjudged"]
    assert [near["domain_misjudged"], near["domain_n"]] == counted["in"]
    assert [far["domain_misjudged"], far["domain_n"]] == counted["outside"]
    assert "outside_domain" not in near["cautions"]
    assert (far["domain"], far["domain_percentile"], far["verdict"]) == ("outside", 100.0, "inconclusive")
    assert "outside_domain" in far["cautions"]
    asked = json.loads(predicted(capsys, "--run", tmp_path, "--judge-outside", far["file"]))
    assert asked[0] == far | {
        "verdict": "spoof",
        "cautions": ["outside_domain_judged" if name == "outside_domain" else name for name in far["cautions"]],
    }
    (row,) = csv.DictReader(io.StringIO(predicted(capsys, "--run", tmp_path, far["file"], form="csv")))
    assert (row["domain"], row["domain_percentile"]) == ("outside", "100.0")


@pytest.mark.parametrize("judge", [False, True])
def test_a_report_states_the_domain_and_is_verified(knowing, tmp_path, judge):
    knowing.save(tmp_path / "detector.pt")
    soundfile.write(tmp_path / "far.wav", *tone())
    detector = Detector.load(tmp_path)
    found = assess(detector, tmp_path / "far.wav", judge_outside=judge)
    explanation = Explanation(Clip(detector, found.clip.clip), {}, [], None)
    how = {"run": tmp_path, "environment": environment(["x"], torch.device("cpu"), None)}
    content = report(found, explanation, parameters={"judge_outside": judge}, **how)
    assert found.domain is not None
    known = {"source": "a test", "n_dev": 48, "measured": measured(detector.config["domain"], "outside")}
    assert content["domain"] == found.domain._asdict() | known
    assert "outside the speech" in " ".join(reason["sentence"] for reason in content["reasons"])
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    assert verify(path, tmp_path / "far.wav") == []
    for change, part in [
        ({"domain": None}, "domain"),
        ({"domain": {**content["domain"], "distance": 0.5}}, "distance"),
        ({"domain": {**content["domain"], "state": "in"}}, "domain"),
        ({"domain": {**content["domain"], "measured": "Nothing was misjudged"}}, "domain"),
        ({"reasons": [r for r in content["reasons"] if not r["name"].startswith("outside")]}, "lacks the reason"),
    ]:
        path.write_text(json.dumps(content | change))
        assert any(part in sentence for sentence in verify(path, tmp_path / "far.wav")), change


def test_training_and_calibration_store_it(tiny_la, tmp_path, monkeypatch):
    monkeypatch.setattr("deepfake.domain.FEWEST", 4)
    run.train(tiny_run(tiny_la, tmp_path / "run", "trainer.max_epochs=1"))
    config = Detector.load(tmp_path / "run").config["domain"]
    assert (config["source"], config["n_train"], config["n_dev"]) == (
        "asvspoof2019_la, partitions train and dev",
        12,
        12,
    )
    given = ("calibrate=true", f"run={tmp_path}/run", "bootstrap.n=0", "num_workers=0", "device=cpu")
    run.evaluate(compose(*given, config="evaluate"))
    assert Detector.load(tmp_path / "run").config["domain"] == config
    run.evaluate(compose(*given, "partition=eval", config="evaluate"))
    assert Detector.load(tmp_path / "run").config["domain"]["source"] == "asvspoof2019_la, partition eval"
