"""Faithfulness on a detector whose evidence is known, and on a small real one."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from small_detectors import Linear, noise, small, tone

from deepfake.datasets import spliced
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.explain.controls import Loudness, Random
from deepfake.explain.gradcam import GradCam
from deepfake.explain.integrated_gradients import IntegratedGradients
from deepfake.explain.occlusion import Occlusion
from deepfake.explain.saliency import Saliency
from deepfake.faithfulness import measure as faithfulness
from deepfake.faithfulness import report as faithfulness_report

PLANT = tone(16000, 3000, 0.4, 0.6)


class Upside:
    """Saliency with its sign turned."""

    def attribute(self, clip):
        map = Saliency().attribute(clip)
        return map._replace(method="upside", values=-map.values)


def corpus(folder, n=8, seconds=1.0):
    """Noise, and in every other clip a tone that the detector responds to."""
    utterances, segments = [], {}
    for i in range(n):
        clip = noise(seconds, seed=i)
        spoof = i % 2
        if spoof:
            clip = clip + 0.1 * PLANT[: len(clip)]
        path = folder / f"{i}.wav"
        soundfile.write(path, clip.numpy(), 16000, subtype="FLOAT")
        utterances.append(Utterance(str(i), str(path), 1 - spoof))
        segments[str(i)] = [(0.4, 0.6, "tone")] if spoof else []
    return utterances, segments


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    utterances, segments = corpus(tmp_path_factory.mktemp("corpus"))
    methods = {"right": Saliency(), "blind": Random(seed=5), "clip_only": Loudness(), "upside": Upside()}
    return faithfulness.measure(
        Linear(PLANT),
        utterances,
        methods,
        segments=segments,
        n_bootstrap=200,
        n_slow=4,
        steps=5,
        fillings=("noise", "silence"),
    )


def value(result, method, measure):
    return result["methods"][method]["measures"][measure]["value"]


def test_the_right_map_finds_the_splice_and_the_controls_do_not(measured):
    assert value(measured, "right", "localisation_auc_smooth") > 0.95
    assert value(measured, "right", "localisation_auc_pooled") > 0.8
    assert value(measured, "right", "pointing") == 1
    assert value(measured, "right", "pointing_chance") == pytest.approx(0.22, abs=0.02)
    assert value(measured, "upside", "localisation_auc_smooth") < 0.05
    assert 0.25 < value(measured, "random", "localisation_auc_smooth") < 0.75
    assert measured["methods"]["right"]["measures"]["localisation_auc"]["n"] == 4


@pytest.mark.parametrize("filling", ["noise", "silence"])
def test_only_the_right_order_deletes_and_inserts_better_than_random(measured, filling):
    name = f"deletion_{filling}_minus_random"
    right = measured["methods"]["right"]["measures"]
    assert right[name]["high"] < 0 < right[f"insertion_{filling}_minus_random"]["low"]
    assert right[f"margin_{filling}_minus_random"]["low"] > 0
    assert measured["methods"]["upside"]["measures"][name]["low"] > 0
    for other in ("blind", "random"):  # lucky or not
        assert right[name]["value"] < -2 * abs(value(measured, other, name))


def test_a_map_of_the_clip_alone_fails_the_sanity_check(measured):
    assert value(measured, "clip_only", "sanity_all") == pytest.approx(1)
    assert value(measured, "loudness", "sanity_all") == pytest.approx(1)
    assert any("sanity" in warning for warning in measured["methods"]["clip_only"]["warnings"])
    assert abs(value(measured, "right", "sanity_all")) < 0.3
    assert measured["methods"]["right"]["warnings"] == []
    assert measured["recommended"] == "right"


def test_infidelity_and_seams_of_the_right_map(measured):
    assert value(measured, "right", "infidelity") < 0.5 * value(measured, "random", "infidelity")
    of_fakes, by_chance = (value(measured, "right", f"seams_of_fakes{end}") for end in ("", "_time"))
    assert of_fakes > 2 * by_chance == pytest.approx(0.64, abs=0.01)
    assert 0 < value(measured, "loudness", "seams_of_bona_fide") < 0.6


def test_page_table_and_json(measured, tmp_path):
    faithfulness_report.write(tmp_path, measured, title="Tones <1>", provenance={"run": "linear"})
    assert json.loads((tmp_path / "faithfulness.json").read_text())["provenance"] == {"run": "linear"}
    html = (tmp_path / "report.html").read_text()
    assert "Recommended: right" in html and "Tones &lt;1&gt;" in html and "clip_only: Fails the sanity check" in html
    assert {p.stem for p in (tmp_path / "figures").glob("*.png")} == {"localisation", "deletion", "sanity"}
    console = Console(width=200, file=io.StringIO())
    with console.capture() as printed:
        console.print(faithfulness_report.table(measured))
    text = printed.get()
    for label in ("AUC, mean of 200 ms", "deletion, noise, minus random", "sanity: all layers", "Recommended: right"):
        assert label in text


def test_every_method_on_a_real_detector_without_known_stretches(tmp_path):
    utterances, _ = corpus(tmp_path, n=4, seconds=0.5)
    (tmp_path / "short.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 16000)
    utterances.append(Utterance("short", str(tmp_path / "short.wav"), 1))
    methods = {
        "saliency": Saliency(),
        "gradcam": GradCam(),
        "integrated_gradients": IntegratedGradients(steps=16),
        "occlusion": Occlusion(),
    }
    settings = {"n_bootstrap": 50, "n_slow": 1, "steps": 2, "fillings": ("reversed",)}
    found, again = (faithfulness.measure(small("cnn", "mel"), utterances, methods, **settings) for _ in range(2))
    for name in methods:
        measures = found["methods"][name]["measures"]
        assert not any(m.startswith("localisation") for m in measures)
        expected = {"deletion_reversed_minus_random", "infidelity", "max_sensitivity", "sanity_half", "seconds"}
        assert expected <= measures.keys()
        assert all(np.isfinite(m["value"]) and (m["n"] == 1 or m["low"] <= m["high"]) for m in measures.values())
        for measure in measures.keys() - {"seconds"}:
            assert measures[measure] == again["methods"][name]["measures"][measure]
    assert "completeness_error" in found["methods"]["integrated_gradients"]["measures"]
    assert len(found["notes"]) == 1 and "skipped" in found["notes"][0] and "first short)" in found["notes"][0]
    assert (found["n_bonafide"], found["n_spoof"]) == (2, 2)


def test_without_fillings_there_is_no_deletion_and_no_recommendation(tmp_path):
    utterances, segments = corpus(tmp_path, n=2)
    found = faithfulness.measure(
        Linear(PLANT), utterances, {"right": Saliency()}, segments=segments, fillings=(), n_slow=0
    )
    names = found["methods"]["right"]["measures"].keys()
    assert "localisation_auc" in names and not any(n.startswith(("deletion", "infid", "sanity")) for n in names)
    assert found["recommended"] is None and found["methods"]["right"]["warnings"] == []


def test_a_stretch_without_an_end_lasts_until_that_of_the_clip(tmp_path):
    utterances, segments = corpus(tmp_path, n=4)
    detector = Linear(PLANT)
    results = []
    for end in (math.inf, detector.n_samples / detector.sample_rate):
        known = segments | {"1": [(0.0, end, "tone")]}
        options = {"fillings": (), "n_slow": 0, "n_bootstrap": 20}
        results.append(faithfulness.measure(detector, utterances, {"right": Saliency()}, segments=known, **options))
    for name in ("pointing", "localisation_auc_pooled"):
        one, other = (value(result, "right", name) for result in results)
        assert one == other and one is not None


def test_what_cannot_be_measured_is_refused(tmp_path):
    utterances, _ = corpus(tmp_path, n=2)
    with pytest.raises(InputError, match="control"):
        faithfulness.measure(Linear(PLANT), utterances, {"random": Saliency()})
    with pytest.raises(InputError, match="fillings=tea"):
        faithfulness.measure(Linear(PLANT), utterances, {"a": Saliency()}, fillings=["tea"])
    with pytest.raises(InputError, match="none of the 0 files"):
        faithfulness.measure(Linear(PLANT), [], {"a": Saliency()})
    nowhere = [Utterance("x", str(tmp_path / "x.wav"), 1)]
    with pytest.raises(InputError, match="none of the 1 files"):
        faithfulness.measure(Linear(PLANT), nowhere, {"a": Saliency()})


def test_recommended_passes_every_check_and_localises_best():
    def method(auc, sanity, high, margin=0.5):
        return {
            "measures": {
                "localisation_auc_smooth": {"value": auc},
                "sanity_all": {"value": 0.0},
                "sanity_all_unsigned": {"value": sanity},
                "deletion_noise_minus_random": {"value": high - 1, "low": high - 2, "high": high},
                "deletion_silence_minus_random": {"value": -1, "low": -2, "high": -0.5},
                "margin_noise_minus_random": {"value": 1, "low": margin, "high": 2},
            }
        }

    given = {
        "good": method(0.7, 0.1, -0.1),
        "better": method(0.8, 0.2, -0.1),
        "insane": method(0.9, 0.4, -0.1),
        "by_chance": method(0.9, 0.0, 0.1),
        "in_one_piece": method(0.9, 0.0, -0.1, margin=-0.1),
    }
    assert faithfulness.recommended(given) == "better"
    assert faithfulness.recommended({k: given[k] for k in ("insane", "by_chance", "in_one_piece")}) is None


def test_real_splices_can_be_measured(shared):
    root = str(shared / "data" / "partial")
    utterances, segments = (read("eval", root=root) for read in (spliced.utterances, spliced.segments))
    torch.manual_seed(0)
    found = faithfulness.measure(
        small("cnn", "linear", "seconds=3"),
        utterances[:3],
        {"saliency": Saliency()},
        segments=segments,
        n_bootstrap=50,
        n_slow=0,
        steps=2,
        fillings=("noise",),
    )
    assert found["methods"]["saliency"]["measures"]["localisation_auc"]["n"] == 2
