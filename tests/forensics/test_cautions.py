"""Each reason by a recording or a score that has exactly that fault, with real speech that has none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt
from sounds import measure
from torch import nn

from deepfake.detector import Detector
from deepfake.forensics.cautions import LIMITS, Reason, reasons, state
from deepfake.metrics.calibration import Calibration

RATE = 16000
VALUES = {"nonfinite_input": 0, "no_speech": 0.1, "too_short": 1.0, "silence_dominates": 0.6, "clipped": 0.001}
VALUES |= {"narrowband": 0.6, "low_snr": 10.0, "damaged": 0, "channels_cancel": 0.1, "integer_range": 10.0}
VALUES |= {"windows_disagree": 0.25, "outside_range": 0.0, "not_calibrated": 1}
VALUES |= {"domain_edge": 95, "outside_domain": 99, "outside_domain_judged": 99}
VALUES |= dict.fromkeys(("threshold_disagrees", "uncertain"), math.log10(2))


def detector(calibrated=True, threshold=0.0):
    stub = Detector.__new__(Detector)
    nn.Module.__init__(stub)
    stub.config = {"threshold": {"value": threshold, "source": "a test"}, "sample_rate": RATE}
    if calibrated:
        stub.set_calibration(Calibration(1.0, 0.0, -5.0, 5.0, 100, 100), "a test")
    return stub


def speech(seconds=3.0, noise=1e-3, pauses=0.3, seed=0, rate=RATE):
    """Noise in bursts of 0.2 s, with pauses in between that hold only the noise of the room."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    on = (np.arange(n) / rate % 0.2) > 0.2 * pauses
    return 0.1 * rng.standard_normal(n) * on + noise * rng.standard_normal(n)


def names(samples, rate=RATE, score=4.0, **keywords):
    return [r.name for r in reasons(measure(samples, rate), detector(), score, **keywords)]


def test_a_good_recording_gives_no_reason():
    assert names(speech()) == [] and state([]) == "reported"


@pytest.mark.parametrize(
    ("samples", "name"),
    [
        (speech(1.0), "too_short"),
        (np.zeros(48000), "no_speech"),
        (1e-2 * np.random.default_rng(0).standard_normal(48000), "no_speech"),
        (np.sin(np.arange(48000)), "no_speech"),
        (np.clip(speech(), -0.15, 0.15), "clipped"),
        (speech(noise=0.04), "low_snr"),
        (np.concatenate([speech(2.0), 1e-4 * speech(4.0)]), "silence_dominates"),
        (sosfiltfilt(butter(20, 3400, fs=RATE, output="sos"), speech()), "narrowband"),
    ],
)
def test_each_fault_is_named_with_its_value_and_limit(samples, name):
    found = {r.name: r for r in reasons(measure(samples, RATE), detector(), 4.0)}
    assert name in found
    reason = found[name]
    assert reason.limit == VALUES[name] and math.isfinite(reason.value) and reason.sentence.endswith(".")
    other_way = name in ("clipped", "silence_dominates")
    assert (reason.value > reason.limit) if other_way else (reason.value < reason.limit)


def test_a_fault_gives_no_other_reason():
    assert names(speech(1.0)) == ["too_short"]
    assert names(np.clip(speech(), -0.15, 0.15)) == ["clipped"]
    assert names(speech(noise=0.04)) == ["low_snr"]
    assert names(sosfiltfilt(butter(20, 3400, fs=RATE, output="sos"), speech())) == ["narrowband"]
    assert names(speech(rate=8000), rate=8000) == ["narrowband"]
    assert names(speech(rate=44100), rate=44100) == []


def test_net_speech_and_snr_of_a_made_recording():
    samples = speech(4.0, noise=0.01, pauses=0.25)
    found = measure(samples, RATE)
    assert found["speech_s"] == pytest.approx(3.0, abs=0.1)
    assert found["snr_db"] == pytest.approx(20.0, abs=1.5)
    louder = measure(5 * samples, RATE)
    assert louder["speech_s"] == found["speech_s"] and louder["snr_db"] == pytest.approx(found["snr_db"])
    silent = np.concatenate([np.zeros(16000), samples])
    assert measure(silent, RATE)["snr_db"] == pytest.approx(found["snr_db"], abs=1e-6)  # digital silence is no floor


def test_samples_that_are_not_finite_are_inconclusive():
    samples = speech()
    samples[7], samples[9] = np.nan, np.inf
    (reason,) = reasons(measure(samples, RATE), detector(), 4.0)
    assert reason.name == "nonfinite_input" and reason.value == 2 and state([reason]) == "inconclusive"


def test_windows_on_the_other_side():
    good = measure(speech(), RATE)
    assert not reasons(good, detector(), 4.0, windows=[4, 5, 3, -1])
    (reason,) = reasons(good, detector(), 4.0, windows=[4, 5, -3, -1, 4])
    assert reason.name == "windows_disagree" and reason.value == pytest.approx(0.4)
    assert not reasons(good, detector(), 4.0, windows=[])


@pytest.mark.parametrize(("score", "beyond"), [(4.0, 1.0), (-4.5, 2.5), (3.0, None), (2.9, None)])
def test_a_score_outside_the_calibrated_range(score, beyond):
    found = [r.value for r in reasons(measure(speech(), RATE), detector(), score, score_range=(-2.0, 3.0))]
    assert found == ([] if beyond is None else [pytest.approx(beyond)])


@pytest.mark.parametrize("sign", [1, -1])
def test_weak_evidence_is_uncertain(sign):
    good = measure(speech(), RATE)
    (reason,) = reasons(good, detector(), sign * math.log(1.99))
    assert reason.name == "uncertain" and reason.value == pytest.approx(math.log10(1.99))
    assert state([reason]) == "inconclusive"
    assert not reasons(good, detector(), sign * math.log(2.01))


def test_not_calibrated_is_a_caution_and_the_threshold_decides_what_is_uncertain():
    good = measure(speech(), RATE)
    found = reasons(good, detector(calibrated=False, threshold=1.0), 3.0)
    assert [r.name for r in found] == ["not_calibrated"] and state(found) == "reported_with_caution"
    found = reasons(good, detector(calibrated=False, threshold=1.0), 1.5)
    assert [r.name for r in found] == ["not_calibrated", "uncertain"] and state(found) == "inconclusive"


def test_a_threshold_against_the_likelihood_ratio():
    (reason,) = reasons(measure(speech(), RATE), detector(threshold=2.0), 1.5)
    assert reason.name == "threshold_disagrees" and "by the likelihood ratio human" in reason.sentence


def test_the_worst_reason_decides_and_every_limit_can_be_met():
    def one(name):
        return Reason(name, 0.0, 0.0, "")

    assert state([one("clipped"), one("no_speech")]) == "inconclusive" and state([one("clipped")]) != state([])
    assert {name: limit.value for name, limit in LIMITS.items()} == pytest.approx(VALUES)
    inconclusive = [name for name, limit in LIMITS.items() if limit.state == "inconclusive"]
    assert inconclusive == ["nonfinite_input", "no_speech", "outside_domain", "uncertain"]
    assert {limit.state for limit in LIMITS.values()} == {"inconclusive", "reported_with_caution"}


def test_real_speech_is_seldom_faulted(shared: Path):
    files = sorted((shared / "data" / "LA" / "ASVspoof2019_LA_dev").rglob("*.flac"))[:40]
    found = [names(*soundfile.read(path)) for path in files]
    assert len(files) == 40 and sum(map(bool, found)) <= 4
    samples, rate = soundfile.read(files[0])
    noisy = samples + samples.std() * np.random.default_rng(0).standard_normal(len(samples))
    assert {"low_snr", "no_speech"} & {*names(noisy, rate)}
